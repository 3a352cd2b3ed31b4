"""The motion of a whole video: in one piece or in segments (D.1), as the best of several candidates."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gvf.errors import StageError, UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera
from gvf.pipelines.candidate_fit import Fit, fit_of
from gvf.pipelines.frames import as_rgba
from gvf.pipelines.generator_index import Sampling
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.pipelines.motion_memory import MotionLoad, batch_that_fits
from gvf.pipelines.segments import as_canonical, split_frames
from gvf.progress import Progress, Step


@dataclass(frozen=True)
class MotionSettings:
    """How a motion is generated.

    seed: of the noise; candidate c of each segment has the noise of seed + c. sampling: fields of `Sampling` that differ from the
    generator's, such as steps=10. segment_frames: most frames generated at once, at least 2; by default those of the training
    clips. candidates: motions generated of each segment, of which the one that fits the video best is kept.
    """

    seed: int = 0
    sampling: Mapping[str, Any] = field(default_factory=dict)
    segment_frames: int | None = None
    candidates: int = 1

    def __post_init__(self) -> None:
        if self.segment_frames is not None and self.segment_frames < 2:
            raise UserError(
                f"segment_frames: is {self.segment_frames}; segments share a frame, so it must be at least 2."
            )
        if self.candidates < 1:
            raise UserError(f"candidates: is {self.candidates}, must be at least 1.")


@dataclass(frozen=True)
class Candidate:
    """One generated motion of a segment. fit: to the video; None where there was nothing to choose from."""

    seed: int
    nfe: int
    fit: Fit | None


@dataclass(frozen=True)
class Segment:
    """Frames [start, stop) that were generated at once, the candidates for them, and which was kept."""

    start: int
    stop: int
    candidates: tuple[Candidate, ...]
    chosen: int


@dataclass(frozen=True)
class Motion:
    """Moving Gaussians [T, N] on the CPU, and how they were made. nfe: network calls in all; seconds: of wall time."""

    gaussians: Gaussians
    segments: tuple[Segment, ...]
    sampling: Sampling
    nfe: int
    seconds: float


def generate_motion(
    generator: MotionGenerator,
    frames: Tensor,
    canonical: Gaussians,
    camera: OrbitCamera,
    settings: MotionSettings | None = None,
    progress: Progress | None = None,
) -> Motion:
    """Generate the motion of canonical Gaussians [N] in a video of any number of frames.

    frames: as in `MotionGenerator.motion`. camera: of these frames; only a choice among candidates looks at it. A segment starts
    from the Gaussians of its predecessor's last frame. Raises UserError for frames and settings that cannot be used, and where
    the machine lacks the memory, before anything is computed.
    """
    began = time.monotonic()
    settings, progress = settings or MotionSettings(), progress or Progress()
    sampling = generator.index.sampling.with_changes(dict(settings.sampling))
    frames = as_rgba(frames)
    parts = split_frames(len(frames), _segment_frames(generator, settings))
    at_once = demand_memory(generator, len(frames), canonical.num_gaussians, settings)
    segments = []
    result = canonical.map(lambda values: torch.empty((len(frames), *values.shape), dtype=torch.float32, device="cpu"))
    noises = [torch.Generator().manual_seed(settings.seed + index) for index in range(settings.candidates)]
    canonical = canonical.to(generator.device)
    with progress.step("motion", sum(map(len, parts)) * settings.candidates, "frames") as step:
        for part in parts:
            made = _Piece(generator, frames[part.start : part.stop], camera, sampling, at_once, step)
            varied, candidates, chosen = made.best(canonical, settings.seed, noises)
            first = 0 if part.start == 0 else 1  # a shared frame stays as the segment before made it
            _store(result, varied[first:], part.start + first)
            canonical = as_canonical(varied[len(part) - 1])
            segments.append(Segment(part.start, part.stop, tuple(candidates), chosen))
    nfe = sum(candidate.nfe for segment in segments for candidate in segment.candidates)
    return Motion(result, tuple(segments), sampling, nfe, time.monotonic() - began)


def demand_memory(generator: MotionGenerator, num_frames: int, num_gaussians: int, settings: MotionSettings) -> int:
    """Return how many candidates of a segment to generate at once. Nothing is computed, so it can be asked early.

    Raises UserError that names a smaller setting when the machine lacks the memory, or when settings cannot be used.
    """
    longest = max(map(len, split_frames(num_frames, _segment_frames(generator, settings))))
    sampling = generator.index.sampling.with_changes(dict(settings.sampling))
    return batch_that_fits(generator, MotionLoad(num_frames, longest, num_gaussians), settings.candidates, sampling)


def _segment_frames(generator: MotionGenerator, settings: MotionSettings) -> int:
    return settings.segment_frames or generator.index.training.frames


@dataclass(frozen=True)
class _Piece:
    """One segment to be generated. frames: [T, S, S, 4]. at_once: candidates sampled in one batch."""

    generator: MotionGenerator
    frames: Tensor
    camera: OrbitCamera
    sampling: Sampling
    at_once: int
    step: Step

    def best(
        self, canonical: Gaussians, seed: int, noises: Sequence[torch.Generator]
    ) -> tuple[Gaussians, list[Candidate], int]:
        """Return the Gaussians [T, N] that fit the frames best, all candidates, and the index of the best one.

        noises: one generator of noise per candidate.
        """
        generator, num_frames = self.generator, len(self.frames)
        tokens, handles = generator.tokens(self.frames), generator.handles(canonical)
        best: Gaussians | None = None
        candidates: list[Candidate] = []
        chosen = 0
        for start in range(0, len(noises), self.at_once):
            batch = noises[start : start + self.at_once]
            noise = [generator.noise(num_frames, source) for source in batch]
            count = len(batch)
            report = _Report(self.step, count * num_frames)
            made = generator.generate_with(
                [handles] * count, [tokens] * count, [canonical] * count, noise, self.sampling, report
            )
            report.finish()
            for variation, nfe in zip(made.fields, made.nfe):
                if not variation.isfinite().all():
                    raise StageError(
                        "the motion is not finite. Use another seed or solver, or check the generator's weights."
                    )
                varied = canonical.vary(variation)
                fit = fit_of(varied, self.frames, self.camera) if len(noises) > 1 else None
                candidates.append(Candidate(seed + len(candidates), nfe, fit))
                if best is None or _error(candidates[-1]) < _error(candidates[chosen]):
                    best, chosen = varied, len(candidates) - 1
        assert best is not None
        return best, candidates, chosen


class _Report:
    """Turns the solver's times into units of a step."""

    def __init__(self, step: Step, total: int) -> None:
        self.step, self.total, self.done = step, total, 0

    def __call__(self, times: Tensor) -> None:
        """Report times [B], which run from 1 to almost 0."""
        self._advance_to(int(self.total * (1.0 - times.mean().item())))

    def finish(self) -> None:
        """Report what is left."""
        self._advance_to(self.total)

    def _advance_to(self, done: int) -> None:
        if done > self.done:
            self.step.advance(done - self.done)
            self.done = done


def _error(candidate: Candidate) -> float:
    return 0.0 if candidate.fit is None else candidate.fit.error


def _store(target: Gaussians, source: Gaussians, start: int) -> None:
    """Copy Gaussians [T, N] into frames [start, start + T) of others."""
    for values, moments in ((getattr(target, name), getattr(source, name)) for name in TENSORS):
        values[start : start + len(moments)] = moments


TENSORS = ("means", "colors", "raw_scales", "raw_quats", "raw_opacities")
