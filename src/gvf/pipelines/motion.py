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
from gvf.pipelines.segments import Part, SegmentsFrom, as_canonical, fade_in, split_video
from gvf.progress import Progress, Step

LARGEST_SEED = 2**62
LONGEST = 3  # times the training length; see docs/long-videos.md


@dataclass(frozen=True)
class MotionSettings:
    """How a motion is generated.

    seed: of the noise; candidate c has the noise of seed + c. sampling: fields of `Sampling` that differ from the generator's,
    such as steps=10. segment_frames: most frames generated at once, at least 2; by default LONGEST times the training length.
    segments_from: what the segments of a longer video start from: the `last` Gaussians of the segment before (D.1), or the
    `first` frame's canonical Gaussians, so that errors do not add up. shared_noise: share of the noise's variance that is the
    same in all frames. candidates: motions generated of each segment; the one that fits the video best is kept.
    """

    seed: int = 0
    sampling: Mapping[str, Any] = field(default_factory=dict)
    segment_frames: int | None = None
    segments_from: SegmentsFrom = "last"
    shared_noise: float = 0.0
    candidates: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= LARGEST_SEED:
            raise UserError(f"seed: is {self.seed}, must be from 0 to {LARGEST_SEED}.")
        if self.segment_frames is not None and self.segment_frames < 2:
            raise UserError(
                f"segment_frames: is {self.segment_frames}; segments share a frame, so it must be at least 2."
            )
        if self.segments_from not in ("first", "last"):
            raise UserError(f"segments_from: is {self.segments_from!r}, must be 'first' or 'last'.")
        if not 0.0 <= self.shared_noise <= 1.0:
            raise UserError(f"shared_noise: is {self.shared_noise}, must be from 0 to 1.")
        if self.candidates < 1:
            raise UserError(f"candidates: is {self.candidates}, must be at least 1.")


@dataclass(frozen=True)
class Candidate:
    """One generated motion of a segment. fit: to the video; None for a single one that is not refined."""

    seed: int
    nfe: int
    fit: Fit | None


@dataclass(frozen=True)
class Segment:
    """Frames [start, stop) that were generated at once, the candidates for them, and which was kept.

    refined: fit of the chosen candidate after its refinement; None without refinement.
    """

    start: int
    stop: int
    candidates: tuple[Candidate, ...]
    chosen: int
    refined: Fit | None


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

    frames: as in `MotionGenerator.motion`. camera: of these frames. Raises UserError
    for frames and settings that cannot be used, and where the machine lacks the memory, before anything is computed.
    """
    began = time.monotonic()
    settings, progress = settings or MotionSettings(), progress or Progress()
    sampling = generator.index.sampling.with_changes(dict(settings.sampling))
    frames = as_rgba(frames)
    parts = _split(generator, len(frames), settings)
    at_once = demand_memory(generator, len(frames), canonical.num_gaussians, settings)
    result = canonical.map(lambda values: torch.empty((len(frames), *values.shape), dtype=torch.float32, device="cpu"))
    noises = [_noise(generator, len(frames), settings, candidate) for candidate in range(settings.candidates)]
    canonical = canonical.to(generator.device)
    segments = []
    passes = settings.candidates + (sampling.refinement_steps > 0)
    with progress.step("motion", sum(len(part.seen) for part in parts) * passes, "frames") as step:
        for part in parts:
            seen = list(part.seen)
            chained = settings.segments_from == "last" and part.start > 0
            noise = [values[seen] for values in noises]
            piece = _Piece(generator, frames[seen], noise, camera, sampling, at_once, chained, step)
            varied, candidates, chosen = piece.best(canonical, settings.seed)
            refined = fit_of(varied, piece.frames, camera) if sampling.refinement_steps else None
            fade_in(result, varied[len(seen) - (part.stop - part.start) :], part.start, part.overlap)
            segments.append(Segment(part.start, part.stop, tuple(candidates), chosen, refined))
            if settings.segments_from == "last":
                canonical = as_canonical(varied[len(seen) - 1])
    nfe = sum(candidate.nfe for segment in segments for candidate in segment.candidates)
    return Motion(result, tuple(segments), sampling, nfe, time.monotonic() - began)


def demand_memory(generator: MotionGenerator, num_frames: int, num_gaussians: int, settings: MotionSettings) -> int:
    """Return how many candidates of a segment to generate at once. Nothing is computed, so it can be asked early.

    Raises UserError that names a smaller setting when the machine lacks the memory, or when settings cannot be used.
    """
    longest = max(len(part.seen) for part in _split(generator, num_frames, settings))
    sampling = generator.index.sampling.with_changes(dict(settings.sampling))
    return batch_that_fits(generator, MotionLoad(num_frames, longest, num_gaussians), settings.candidates, sampling)


def _split(generator: MotionGenerator, num_frames: int, settings: MotionSettings) -> list[Part]:
    most = settings.segment_frames or LONGEST * generator.index.training.frames
    return split_video(num_frames, most, settings.segments_from)


def _noise(generator: MotionGenerator, num_frames: int, settings: MotionSettings, candidate: int) -> Tensor:
    """Return a candidate's noise [T, L, C] of the whole video: a frame has the same in all segments that see it."""
    source = torch.Generator().manual_seed(settings.seed + candidate)
    own = generator.noise(num_frames, source)
    common = generator.noise(1, source)
    return (1.0 - settings.shared_noise) ** 0.5 * own + settings.shared_noise**0.5 * common


@dataclass(frozen=True)
class _Piece:
    """One segment to be generated. frames: [T, S, S, 4]. noises: [T, L, C] of each candidate. at_once: candidates in a batch.

    chained: the segment continues another one. Its field must be 0 in the frame that both have (Eq. 1), so what it is there is
    taken off: otherwise these remainders add up (120 frames of held-out clips: error of the positions 0.93 for 1.36).
    """

    generator: MotionGenerator
    frames: Tensor
    noises: Sequence[Tensor]
    camera: OrbitCamera
    sampling: Sampling
    at_once: int
    chained: bool
    step: Step

    def best(self, canonical: Gaussians, seed: int) -> tuple[Gaussians, list[Candidate], int]:
        """Return the Gaussians [T, N] that fit the frames best, all candidates, and the index of the best one."""
        generator = self.generator
        handles = generator.handles(canonical)
        video = generator.video(self.frames, canonical, handles, self.camera)
        best: Gaussians | None = None
        best_latents: Tensor | None = None
        candidates: list[Candidate] = []
        chosen = 0
        for start in range(0, len(self.noises), self.at_once):
            noise = self.noises[start : start + self.at_once]
            count = len(noise)
            report = _Report(self.step, count * len(self.frames))
            made = generator.generate_with(
                [handles] * count, [video] * count, [canonical] * count, noise, self.sampling, report
            )
            report.finish()
            for variation, latents, nfe in zip(made.fields, made.latents, made.nfe):
                varied = self._varied(canonical, variation)
                compared = len(self.noises) > 1 or self.sampling.refinement_steps
                fit = fit_of(varied, self.frames, self.camera) if compared else None
                candidates.append(Candidate(seed + len(candidates), nfe, fit))
                if best is None or _error(candidates[-1]) < _error(candidates[chosen]):
                    best, best_latents, chosen = varied, latents, len(candidates) - 1
        assert best is not None, "there is at least one candidate"
        assert best_latents is not None, "each candidate has latents"
        if self.sampling.refinement_steps:
            best = self._refined(canonical, best_latents)
        return best, candidates, chosen

    def _refined(self, canonical: Gaussians, latents: Tensor) -> Gaussians:
        """Return the Gaussians [T, N] of latents [T, L, C], fitted to the frames."""
        steps, report = self.sampling.refinement_steps, _Report(self.step, len(self.frames))
        refinement = self.generator.refinement(canonical, self.frames, self.camera.viewmat, self.camera.K)
        refined = refinement.run(latents, steps, lambda done: report.advance_to(done / steps), self.chained)
        return self._varied(canonical, self.generator.decode(refined, canonical))

    def _varied(self, canonical: Gaussians, variation: Tensor) -> Gaussians:
        """Return the Gaussians [T, N] of a variation field [T, N, 14]. Raises StageError when it is not finite."""
        if not variation.isfinite().all():
            raise StageError("the motion is not finite. Use another seed or solver, or check the generator's weights.")
        return canonical.vary(variation - variation[:1] if self.chained else variation)


class _Report:
    """Turns the solver's times, or a share of the work, into units of a step."""

    def __init__(self, step: Step, total: int) -> None:
        self.step, self.total, self.done = step, total, 0

    def __call__(self, times: Tensor) -> None:
        """Report times [B], which run from 1 to almost 0."""
        self.advance_to(1.0 - times.mean().item())

    def finish(self) -> None:
        """Report what is left."""
        self.advance_to(1.0)

    def advance_to(self, share: float) -> None:
        """Report the share of the work that is done, which never shrinks."""
        if (done := int(self.total * share)) > self.done:
            self.step.advance(done - self.done)
            self.done = done


def _error(candidate: Candidate) -> float:
    return 0.0 if candidate.fit is None else candidate.fit.error
