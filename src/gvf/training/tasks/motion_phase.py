"""The first steps of stage 2, which learn only the motion: many cheap steps before the complete ones.

Without images, nothing of a clip changes between steps: D_GS is not trained yet, so the canonical Gaussians of stage 1
and the way the mesh moves them are computed once per clip. What is left of a step is the variation VAE.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gvf.config.train_vae_joint import MotionPhaseConfig, VariationLossConfig
from gvf.geometry.displacement import displacement_field, rms_displacement
from gvf.geometry.farthest_points import farthest_points
from gvf.losses.variation import motion_loss
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.variation.joint_vae import JointVAE
from gvf.training.batches import Draw
from gvf.training.randomness import derive_seed
from gvf.training.tasks.canonical_batch import ReadFeatures

KEPT_GAUSSIANS = 1024  # of each clip, drawn once

ReadPoints = Callable[[str], Tensor]
"""Takes a clip's id; returns its surface points over time, as `gvf.data.clips.load_points` does."""


@dataclass(frozen=True)
class MotionBatch:
    """A batch of B clips in F drawn frames each, without images.

    frames: [B, F], indices of the drawn frames. points: [B, N, 3] and displacements: [B, F, N, 3] of some mesh points,
    object units. motion: [B], RMS displacement of each clip. num_frames: T of the clips.
    """

    frames: Tensor
    points: Tensor
    displacements: Tensor
    motion: Tensor
    num_frames: int


@dataclass(frozen=True)
class MovedGaussians:
    """Some canonical Gaussians of a clip and how the mesh moves them.

    activated: [S, 14], activated values. displacements: [T, S, 3], interpolated in every frame (Eq. 4).
    """

    activated: Tensor
    displacements: Tensor


class MotionPhase:
    """Batches and loss of the steps that learn only the motion.

    clips: ids of the training clips. build: returns the networks with stage 1's weights; they are built once, beside
    those that are trained, so that the canonical Gaussians are the same in a run that was resumed.
    """

    def __init__(
        self,
        config: MotionPhaseConfig,
        weights: VariationLossConfig,
        clips: Sequence[str],
        read_features: ReadFeatures,
        read_points: ReadPoints,
        build: Callable[[], JointVAE],
    ) -> None:
        self._config, self._weights, self._clips = config, weights, clips
        self._read_features, self._read_points, self._build = read_features, read_points, build
        self._stage_1: JointVAE | None = None
        self._moved: dict[str, MovedGaussians] = {}

    def is_over(self, step: int) -> bool:
        """Return whether an optimiser step comes after this phase."""
        return step > self._config.steps

    def load(self, draw: Draw) -> MotionBatch:
        """Load some frames and mesh points of each drawn clip, without repetition."""
        tracks = [self._read_points(self._clips[index]) for index in draw.indices]
        frames = [draw_frames(track, self._config.frames_per_clip, draw.generator) for track in tracks]
        seen = [torch.randperm(track.shape[1], generator=draw.generator)[: self._config.points] for track in tracks]
        fields = [displacement_field(track)[drawn][:, rows] for track, drawn, rows in zip(tracks, frames, seen)]
        return MotionBatch(
            torch.stack(frames),
            torch.stack([track[0, rows] for track, rows in zip(tracks, seen)]),
            torch.stack(fields),
            torch.stack([rms_displacement(track) for track in tracks]),
            num_frames=len(tracks[0]),
        )

    def loss(self, model: JointVAE, batch: MotionBatch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode, sample and decode; return the motion loss and its terms."""
        variation, clips = model.variation, [self._clips[index] for index in draw.indices]
        moved = [self._moved_gaussians(clip, batch.points.device) for clip in clips]
        gaussians = torch.stack([item.activated for item in moved])
        targets = torch.stack([item.displacements[drawn] for item, drawn in zip(moved, batch.frames)])
        means, size = gaussians[..., :3], variation.config.num_latents
        queries = torch.stack([farthest_points(item, size, generator=draw.generator) for item in means])
        posterior = variation.encode(_rows(means, queries), _rows(targets, queries), batch.points, batch.displacements)
        context = variation.decode_context(posterior.sample(draw.generator))
        guided = torch.randint(
            KEPT_GAUSSIANS, (len(clips), self._config.guided_gaussians), generator=draw.generator
        ).to(means.device)
        predicted = variation.decode_queries(context, _rows(gaussians, guided))[..., :3]
        with torch.autocast(means.device.type, enabled=False):
            return motion_loss(
                predicted, _rows(targets, guided), posterior, batch.num_frames, batch.motion, self._weights
            )

    def clear(self) -> None:
        """Free what is kept of the clips and of stage 1; the complete steps need neither."""
        self._stage_1, self._moved = None, {}

    def _moved_gaussians(self, clip: str, device: torch.device) -> MovedGaussians:
        """Return a fixed draw of the clip's Gaussians, computed at its first use."""
        if clip not in self._moved:
            self._moved[clip] = self._compute(clip, device)
        return self._moved[clip]

    @torch.no_grad()
    def _compute(self, clip: str, device: torch.device) -> MovedGaussians:
        """Compute the clip's mean canonical Gaussians and move them; draw some of them as a function of its id."""
        if self._stage_1 is None:
            with torch.random.fork_rng(devices=[]):  # initial weights are drawn, in the middle of a step
                self._stage_1 = self._build().to(device).eval()
        features, track = self._read_features(clip), self._read_points(clip).to(device)
        with torch.autocast(device.type, enabled=False):
            voxels = VoxelBatch.pack([features["voxels"].to(device)])
            canonical = self._stage_1.canonical(features["voxel_features"].to(device).float(), voxels)
            motion = self._stage_1.motion(canonical, torch.cat([track[:1], track]).unsqueeze(0))
            generator = torch.Generator().manual_seed(derive_seed("gaussians", clip))
            rows = torch.randint(canonical.valid.shape[1], (KEPT_GAUSSIANS,), generator=generator).to(device)
            return MovedGaussians(
                canonical.gaussians.to_activated14()[0, rows], motion.interpolated[0, :, rows].clone()
            )


def draw_frames(track: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw frames of a clip [T, N, 3] without repetition: indices [min(count, T)]."""
    return torch.randperm(len(track), generator=generator)[:count]


def _rows(values: Tensor, rows: Tensor) -> Tensor:
    """Return some rows of each clip's values. values: [B, N, C] or [B, F, N, C]; rows: [B, M]."""
    index = rows.view(len(rows), *(1,) * (values.dim() - 3), -1, 1)
    return values.gather(-2, index.expand(*values.shape[:-2], -1, values.shape[-1]))
