"""Variation fields for canonical Gaussians: from a video by diffusion (Sec. 3.3, A.3), or from the true mesh motion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gvf.config.sample import SampleConfig
from gvf.data.latents import LatentStatistics
from gvf.diffusion.dpm_solver import DpmSolver, Solution, Tolerances
from gvf.diffusion.guidance import guided
from gvf.diffusion.schedule import NoiseSchedule
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.farthest_points import farthest_points
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.variation.dit import VariationDiT
from gvf.models.variation.joint_vae import Canonical, JointVAE


@dataclass(frozen=True)
class Handles:
    """What the diffusion transformer knows of canonical Gaussians.

    positions: [L, 3] of the latents, static: [S, 14] activated values; both farthest-sampled from the first Gaussian on,
    so that training, encoding and inference choose alike.
    """

    positions: Tensor
    static: Tensor


def choose_handles(gaussians: Gaussians, num_latents: int, num_static: int) -> Handles:
    """Choose the latents' positions and the static condition among the Gaussians, by farthest point sampling.

    gaussians: [N, ...] of one clip. Where N is less than either number, Gaussians are repeated in the order in which
    they were sampled, so that batches keep their shape.
    """
    values = gaussians.to_activated14()
    means = values[:, :3]
    return Handles(means[farthest_points(means, num_latents)], values[farthest_points(means, num_static)])


@torch.no_grad()
def canonical_from_features(vae: JointVAE, features: Tensor, voxels: Tensor) -> Canonical:
    """G_1 of one clip: features [M, F] of its active voxels [M, 3]."""
    return vae.canonical(features.float(), VoxelBatch.pack([voxels]))


@torch.no_grad()
def sample_latents(
    dit: VariationDiT,
    schedule: NoiseSchedule,
    statistics: LatentStatistics,
    handles: list[Handles],
    video_tokens: Tensor,
    noise: Tensor,
    config: SampleConfig,
) -> Solution:
    """Latents [B, T, L, C] of B videos, ready for the decoder.

    handles: one a clip. video_tokens: [B, T, K, D]. noise: [B, T, L, C], standard normal.
    """
    positions = torch.stack([handle.positions for handle in handles])
    static = statistics.normalize_static(torch.stack([handle.static for handle in handles]))

    def prediction(tokens: Tensor, static_tokens: Tensor):  # type: ignore[no-untyped-def]
        conditions = dit.prepare_conditions(tokens, static_tokens, positions)
        return lambda noised, timesteps: dit.denoise(noised, timesteps, conditions)

    nothing = torch.zeros_like(video_tokens)
    velocity = guided(
        prediction(video_tokens, static),
        prediction(nothing, static),
        prediction(nothing, torch.zeros_like(static)),
        static_scale=config.static_guidance,
        video_scale=config.video_guidance,
    )
    solver = DpmSolver(schedule, velocity)
    if config.solver == "multistep":
        solution = solver.sample_multistep(noise, config.steps)
    else:
        tolerances = Tolerances(config.absolute_tolerance, config.relative_tolerance, config.first_step, config.safety)
        solution = solver.sample_adaptive(noise, tolerances)
    return solution._replace(sample=statistics.denormalize(solution.sample))


@torch.no_grad()
def reconstruct(vae: JointVAE, canonical: Canonical, points: Tensor) -> tuple[Tensor, Tensor]:
    """The VAE's reconstruction of a true motion: points [T, N, 3] of one clip, the canonical frame first.

    Returns the variation field [T, G, 14] and the interpolated displacements [T, G, 3] of the Gaussians (Eq. 4).
    """
    motion = vae.motion(canonical, torch.cat([points[:1], points]).unsqueeze(0))
    posterior = vae.encode(canonical, motion)
    return vae.decode(canonical, posterior.mean)[0], motion.interpolated[0]
