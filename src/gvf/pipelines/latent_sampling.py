"""Latents of variation fields, sampled by the diffusion transformer (Sec. 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gvf.data.latents import LatentStatistics
from gvf.diffusion.dpm_solver import DpmSolver, Solution, Tolerances
from gvf.diffusion.guidance import guided
from gvf.diffusion.schedule import NoiseSchedule
from gvf.models.variation.dit import VariationDiT, VideoCondition
from gvf.pipelines.generator_index import Sampling
from gvf.pipelines.handles import Handles


def sample_latents(
    dit: VariationDiT,
    schedule: NoiseSchedule,
    statistics: LatentStatistics,
    handles: Sequence[Handles],
    video: VideoCondition,
    noise: Tensor,
    sampling: Sampling,
    report: Callable[[Tensor], None] | None = None,
) -> Solution:
    """Return latents [B, T, L, C] of B videos, ready for the decoder, without gradients.

    handles: of each clip. video: its aligned features are not normalised. noise: [B, T, L, C], standard normal.
    report: called after each step with the solver's times [B], which run from 1 to almost 0.
    """
    positions = torch.stack([handle.positions for handle in handles])
    static = statistics.normalize_static(torch.stack([handle.static for handle in handles]))
    if video.aligned is not None:
        video = replace(video, aligned=statistics.normalize_aligned(video.aligned))

    def prediction(seen: VideoCondition, static_tokens: Tensor):  # type: ignore[no-untyped-def]
        conditions = dit.prepare_conditions(seen, static_tokens, positions)
        return lambda noised, timesteps: dit.denoise(noised, timesteps, conditions)

    nothing = video.map(torch.zeros_like)
    with torch.no_grad():
        velocity = guided(
            prediction(video, static),
            prediction(nothing, static),
            prediction(nothing, torch.zeros_like(static)),
            static_scale=sampling.static_guidance,
            video_scale=sampling.video_guidance,
        )
        solver = DpmSolver(schedule, velocity)
        if sampling.solver == "multistep":
            solution = solver.sample_multistep(noise, sampling.steps, report)
        else:
            tolerances = Tolerances(
                sampling.absolute_tolerance, sampling.relative_tolerance, sampling.first_step, sampling.safety
            )
            solution = solver.sample_adaptive(noise, tolerances, report)
        return solution._replace(sample=statistics.denormalize(solution.sample))
