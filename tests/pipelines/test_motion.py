"""Motions of whole videos: segments composed by hand, candidates, and what is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gvf.errors import StageError, UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera
from gvf.pipelines import motion_memory
from gvf.pipelines.candidate_fit import fit_of
from gvf.pipelines.generator_index import Sampling
from gvf.pipelines.handles import Handles
from gvf.pipelines.motion import MotionSettings, demand_memory, generate_motion
from gvf.pipelines.motion_generator import Generated, MotionGenerator
from gvf.pipelines.segments import as_canonical, split_video
from gvf.progress import Progress, Step
from gvf.rendering.splats import draw_views
from tests.pipelines.small_generator import FRAMES, IMAGE_SIZE, canonical_gaussians, small_generator

CAMERA = OrbitCamera(0.0, 0.0, 2.0, 49.1)
Field = Callable[[Tensor, Tensor], Tensor]


class KnownMotion(MotionGenerator):
    """A generator whose field is a given function of the segment's frames [0, T) and of a candidate's noise."""

    def __init__(self, field: Field) -> None:
        small = small_generator()
        super().__init__(small.index, small.vae, small.dit)
        self.field = field
        self.batches: list[int] = []
        self.seen: list[Gaussians] = []

    def generate_with(
        self,
        handles: Sequence[Handles],
        tokens: Sequence[Tensor],
        canonicals: Sequence[Gaussians],
        noise: Sequence[Tensor],
        sampling: Sampling,
        report: Any = None,
    ) -> Generated:
        self.batches.append(len(noise))
        self.seen.append(canonicals[0])
        count = canonicals[0].num_gaussians
        fields = [
            self.field(torch.arange(len(drawn)), drawn)[:, None].expand(-1, count, -1).contiguous() for drawn in noise
        ]
        return Generated(fields, list(noise), [5] * len(noise), 5)


def steady(frames: Tensor, noise: Tensor) -> Tensor:
    """Return a field [T, 14]: a shift along x, larger x scales, a change of the quaternion and of the opacity per frame."""
    field = torch.zeros(len(frames), 14)
    field[:, 0], field[:, 3], field[:, 7], field[:, 13] = 0.01 * frames, 0.1 * frames, 0.2 * frames, -0.05 * frames
    return field


def blobs() -> Gaussians:
    """Return three visible Gaussians [3]."""
    means = torch.tensor([[-0.2, 0.0, 0.1], [0.15, 0.1, -0.1], [0.0, -0.1, 0.25]])
    colors = torch.tensor([[1.5, -1.0, 0.2], [0.0, 1.2, -1.0], [-1.0, 0.0, 1.4]])
    quats = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.8, 0.6, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]])
    scales = torch.tensor([[0.08, 0.05, 0.06]]).expand(3, -1)
    return Gaussians.from_rendered(means, colors, scales, quats, torch.full((3,), 0.95))


def frames_of(gaussians: Gaussians) -> Tensor:
    """Return the RGBA frames [T, S, S, 4] that the camera sees of moving Gaussians."""
    viewmat, K = (torch.from_numpy(values).float()[None] for values in (CAMERA.viewmat, CAMERA.K))
    views = draw_views(gaussians, viewmat, K, IMAGE_SIZE, background=0.0)
    alpha = views.alpha[:, 0, ..., None]
    return (torch.cat([views.rgb[:, 0] / alpha.clamp(min=1e-6), alpha], -1).clamp(0, 1) * 255).round().byte()


def still(num_frames: int) -> Tensor:
    return torch.full((num_frames, IMAGE_SIZE, IMAGE_SIZE, 4), 255, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("num_frames", "most", "seen"),
    [
        (1, 8, ["0"]),
        (8, 8, ["01234567"]),
        (9, 8, ["01234", "45678"]),
        (11, 5, ["0123", "3456", "6789a"]),
        (4, 2, ["01", "12", "23"]),
    ],
)
def test_segments_from_the_last_frame_share_it(num_frames: int, most: int, seen: list[str]) -> None:
    parts = split_video(num_frames, most, "last")
    assert ["".join(f"{index:x}" for index in part.seen) for part in parts] == seen
    written = [index for part in parts for index in range(part.start, part.stop)]
    assert written == list(range(num_frames))
    assert all(part.seen[-(part.stop - part.start) :] == tuple(range(part.start, part.stop)) for part in parts)


@pytest.mark.parametrize(
    ("num_frames", "most", "seen"),
    [
        (8, 8, ["01234567"]),
        (9, 8, ["01234", "045678"]),
        (9, 6, ["01234", "045678"]),
        (6, 4, ["012", "0345"]),
        (4, 2, ["01", "02", "03"]),
    ],
)
def test_segments_from_the_first_frame_see_it_and_overlap(num_frames: int, most: int, seen: list[str]) -> None:
    parts = split_video(num_frames, most, "first")
    assert ["".join(map(str, part.seen)) for part in parts] == seen
    assert all(len(part.seen) <= most for part in parts)
    assert (parts[0].start, parts[-1].stop) == (0, num_frames)
    assert all(before.stop - after.start == after.overlap for before, after in pairwise(parts))


def test_a_video_in_one_piece_moves_as_the_generator_says() -> None:
    generator, canonical = small_generator(), canonical_gaussians(9, 0)
    frames = still(FRAMES)
    frames[1, 10:30, 20:50] = 0
    motion = generate_motion(generator, frames, canonical, CAMERA, MotionSettings(seed=3))
    expected = generator.motion(frames, canonical, seed=3)
    for name, values in vars(motion.gaussians).items():
        if isinstance(values, Tensor):
            assert torch.equal(values, getattr(expected.gaussians, name).expand_as(values)), name
    assert [(segment.start, segment.stop) for segment in motion.segments] == [(0, FRAMES)]
    assert motion.segments[0].candidates[0].fit is None
    assert (motion.nfe, motion.sampling) == (expected.nfe, generator.index.sampling)


def test_segments_from_the_last_frame_are_composed() -> None:
    """7 frames in segments of 3: the last frame of each is what the next one starts from."""
    generator, canonical = KnownMotion(steady), blobs()
    settings = MotionSettings(segment_frames=3)
    motion = generate_motion(generator, still(7), canonical, CAMERA, settings)
    assert [(segment.start, segment.stop) for segment in motion.segments] == [(0, 3), (3, 5), (5, 7)]
    assert (motion.nfe, generator.batches) == (15, [1, 1, 1])
    found, steps = motion.gaussians, np.arange(7.0)
    np.testing.assert_allclose(
        found.means - canonical.means,
        np.stack([0.01 * steps, 0 * steps, 0 * steps], 1)[:, None].repeat(3, 1),
        atol=1e-6,
    )
    np.testing.assert_allclose(
        found.raw_scales[:, :, 0] - canonical.raw_scales[:, 0], 0.1 * steps[:, None].repeat(3, 1), atol=1e-5
    )
    np.testing.assert_allclose(
        found.raw_opacities - canonical.raw_opacities, -0.05 * steps[:, None].repeat(3, 1), atol=1e-5
    )
    quats = canonical.quats.double().numpy()
    for start in (0, 2, 4):
        for step in range(3):
            turned = quats + step * np.array([0.0, 0.2, 0.0, 0.0])  # channel 7 of a variation: the quaternion's x
            turned /= np.linalg.norm(turned, axis=1, keepdims=True)
            np.testing.assert_allclose(found.quats[start + step], turned, atol=1e-6)
        quats = turned
    for index, seen in enumerate(generator.seen):
        torch.testing.assert_close(seen.to_activated14(), found[2 * index].to_activated14())


def test_what_a_later_segment_does_in_the_shared_frame_is_taken_off() -> None:
    def offset(frames: Tensor, noise: Tensor) -> Tensor:
        field = torch.zeros(len(frames), 14)
        field[:, 1] = 0.3 + 0.01 * frames
        return field

    settings = MotionSettings(segment_frames=3, segments_from="last")
    motion = generate_motion(KnownMotion(offset), still(5), blobs(), CAMERA, settings)
    moved = (motion.gaussians.means - blobs().means)[:, 0, 1]
    torch.testing.assert_close(moved, torch.tensor([0.30, 0.31, 0.32, 0.33, 0.34]))


def test_a_frame_that_becomes_canonical_looks_the_same_and_has_unit_quaternions() -> None:
    canonical = blobs()
    varied = canonical.vary(steady(torch.arange(5), torch.empty(0))[:, None].expand(-1, 3, -1))[4]
    again = as_canonical(varied)
    torch.testing.assert_close(again.to_activated14(), varied.to_activated14())
    lengths = (again.raw_quats + torch.tensor([1.0, 0, 0, 0])).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones(3))
    assert ((varied.raw_quats + torch.tensor([1.0, 0, 0, 0])).norm(dim=-1) > 1.1).all()


def by_noise(frames: Tensor, noise: Tensor) -> Tensor:
    """Return a shift [T, 14] along x and z whose speed is the candidate's first noise value."""
    field = torch.zeros(len(frames), 14)
    field[:, 0] = 0.05 * noise[0, 0, 0] * frames
    field[:, 2] = -0.05 * noise[0, 0, 1] * frames
    return field


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_the_candidate_that_fits_the_video_best_is_kept(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, canonical, seed = KnownMotion(by_noise), blobs(), 40
    monkeypatch.setattr("gvf.pipelines.motion.demand_memory", lambda *arguments: at_once)
    for wanted in (0, 2, 3):
        noise = generator.noise(FRAMES, torch.Generator().manual_seed(seed + wanted))
        truth = canonical.vary(by_noise(torch.arange(FRAMES), noise)[:, None].expand(-1, 3, -1))
        settings = MotionSettings(seed=seed, candidates=4)
        motion = generate_motion(generator, frames_of(truth), canonical, CAMERA, settings)
        (segment,) = motion.segments
        fits = [candidate.fit for candidate in segment.candidates if candidate.fit is not None]
        assert [candidate.seed for candidate in segment.candidates] == [40, 41, 42, 43]
        assert (segment.chosen, len(fits), motion.nfe) == (wanted, 4, 20)
        assert fits[wanted].error == min(fit.error for fit in fits) < 0.05
        torch.testing.assert_close(motion.gaussians.means, truth.means)
    assert generator.batches[: 4 // at_once] == [at_once] * (4 // at_once)


def test_each_segment_chooses_among_its_own_candidates() -> None:
    """A frame has the same noise in both segments that see it; the second one starts where the first one's choice ends."""
    generator, canonical = KnownMotion(by_noise), blobs()
    noises = [generator.noise(5, torch.Generator().manual_seed(seed)) for seed in range(3)]
    start = canonical.vary(by_noise(torch.arange(3), noises[2][:3])[:, None].expand(-1, 3, -1))
    rest = as_canonical(start[2]).vary(by_noise(torch.arange(3), noises[1][2:])[:, None].expand(-1, 3, -1))
    truth = torch.cat([frames_of(start), frames_of(rest)[1:]])
    settings = MotionSettings(segment_frames=3, segments_from="last", candidates=3)
    motion = generate_motion(generator, truth, canonical, CAMERA, settings)
    assert [segment.chosen for segment in motion.segments] == [2, 1]
    torch.testing.assert_close(motion.gaussians.means[2:], rest.means)


def by_own_noise(frames: Tensor, noise: Tensor) -> Tensor:
    """Return a shift [T, 14] along x by each frame's own noise; it depends on nothing else but the first frame's."""
    field = torch.zeros(len(frames), 14)
    field[:, 0] = noise[:, 0, 0] + 10.0 * noise[0, 0, 1] * (len(frames) - 4)
    return field


def test_segments_from_the_first_frame_fade_into_each_other() -> None:
    """9 frames, at most 6 at once: 0-4 and 0, 4-8, of which frame 4 is the mean of both."""
    generator, canonical = KnownMotion(by_own_noise), blobs()
    settings = MotionSettings(segment_frames=6, segments_from="first")
    motion = generate_motion(generator, still(9), canonical, CAMERA, settings)
    assert [(segment.start, segment.stop) for segment in motion.segments] == [(0, 5), (4, 9)]
    noise = generator.noise(9, torch.Generator().manual_seed(0))
    shift = (motion.gaussians.means - canonical.means)[:, 0, 0]
    first, second = noise[:, 0, 0] + 10.0 * noise[0, 0, 1], noise[:, 0, 0] + 20.0 * noise[0, 0, 1]
    torch.testing.assert_close(shift[:4], first[:4])
    torch.testing.assert_close(shift[5:], second[5:])
    torch.testing.assert_close(shift[4], (first[4] + second[4]) / 2)
    assert all(torch.equal(seen.means, canonical.means) for seen in generator.seen)


@pytest.mark.parametrize("share", [0.0, 0.36, 1.0])
def test_frames_share_a_part_of_the_noise(share: float) -> None:
    generator = KnownMotion(lambda frames, noise: torch.zeros(len(frames), 14))
    drawn: list[Tensor] = []
    generator.field = lambda frames, noise: drawn.append(noise) or torch.zeros(len(frames), 14)  # type: ignore[func-returns-value]
    settings = MotionSettings(shared_noise=share, segment_frames=40)
    generate_motion(generator, still(40), blobs(), CAMERA, settings)
    (noise,) = drawn
    values = noise.flatten(1)
    assert abs(values.var(0).mean().item() - (1.0 - share)) < 0.05, "around what is common"
    source = torch.Generator().manual_seed(0)
    own, common = generator.noise(40, source), generator.noise(1, source)
    torch.testing.assert_close(noise, (1.0 - share) ** 0.5 * own + share**0.5 * common)


def test_fit_is_perfect_for_the_same_object_and_falls_with_distance() -> None:
    canonical = blobs()
    moving = canonical.vary(steady(torch.arange(3), torch.empty(0))[:, None].expand(-1, 3, -1))
    frames = frames_of(moving)
    exact = fit_of(moving, frames, CAMERA)
    assert exact.error < 0.01
    assert exact.iou > 0.99
    assert exact.psnr > 38.0
    previous = exact
    for shift in (0.02, 0.06, 0.2):
        aside = fit_of(moving.vary(torch.tensor([shift, *[0.0] * 13]).expand(3, 3, -1)), frames, CAMERA)
        assert aside.error > previous.error
        assert aside.iou < previous.iou
        assert aside.psnr < previous.psnr
        previous = aside
    nothing = fit_of(moving, torch.zeros_like(frames), CAMERA)
    assert nothing.iou == 0.0
    assert np.isnan(nothing.psnr)
    gone = moving.vary(torch.tensor([9.0, *[0.0] * 13]).expand(3, 3, -1))
    assert fit_of(gone, torch.zeros_like(frames), CAMERA).error == 0.0


class Recorder(Progress):
    """Keeps the totals of steps and what was reported to them."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int | None, Step]] = []

    def step(self, name: str, total: int | None = None, unit: str = "") -> Any:
        from contextlib import nullcontext

        step = Counter()
        self.steps.append((name, total, step))
        return nullcontext(step)


class Counter(Step):
    def __init__(self) -> None:
        self.counts: list[int] = []

    def advance(self, count: int = 1) -> None:
        self.counts.append(count)


def test_progress_reaches_its_total_in_small_steps() -> None:
    progress = Recorder()
    settings = MotionSettings(segment_frames=4, candidates=2, sampling={"steps": 6})
    motion = generate_motion(small_generator(), still(7), canonical_gaussians(9, 0), CAMERA, settings, progress)
    ((name, total, step),) = progress.steps
    assert (name, total) == ("motion", 2 * 8)
    assert isinstance(step, Counter)
    assert sum(step.counts) == 2 * 8
    assert len(step.counts) >= 6
    assert motion.sampling.steps == 6
    assert motion.nfe == 2 * 2 * 6


def test_a_refined_motion_is_that_of_the_best_candidate_fitted_to_the_frames() -> None:
    generator, canonical, progress = small_generator(), blobs(), Recorder()
    with torch.no_grad():  # so that what it generates stays in view
        generator.vae.variation.to_outputs.weight.mul_(0.05)
        generator.vae.variation.to_outputs.bias.zero_()
    frames = frames_of(canonical.vary(steady(torch.arange(7), torch.empty(0))[:, None].expand(-1, 3, -1)))
    settings = MotionSettings(candidates=2, segment_frames=4, segments_from="last")
    plain = generate_motion(generator, frames, canonical, CAMERA, settings)
    with_steps = replace(settings, sampling={"refinement_steps": 5})
    refined = generate_motion(generator, frames, canonical, CAMERA, with_steps, progress)
    assert [segment.chosen for segment in refined.segments][:1] == [segment.chosen for segment in plain.segments][:1]
    assert fit_of(refined.gaussians, frames, CAMERA).error < fit_of(plain.gaussians, frames, CAMERA).error
    first = refined.segments[0]
    before, after = first.candidates[first.chosen].fit, first.refined
    assert before is not None
    assert after is not None
    assert after.error < before.error
    assert after.iou == pytest.approx(fit_of(refined.gaussians[: first.stop], frames[: first.stop], CAMERA).iou)
    assert [segment.refined for segment in plain.segments] == [None] * len(plain.segments)
    ((name, total, step),) = progress.steps
    assert isinstance(step, Counter)
    assert (name, total, sum(step.counts)) == ("motion", 3 * 8, 3 * 8)
    assert refined.sampling.refinement_steps == 5

    short = generator.motion(frames[:FRAMES], canonical, seed=1, refinement_steps=5)
    again = generate_motion(
        generator, frames[:FRAMES], canonical, CAMERA, MotionSettings(seed=1, sampling={"refinement_steps": 5})
    )
    torch.testing.assert_close(short.gaussians.means, again.gaussians.means)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"segment_frames": 1}, "segment_frames: is 1; segments share a frame"),
        ({"seed": -1}, "seed: is -1, must be from 0 to"),
        ({"seed": 2**80}, "seed: is .*, must be from 0 to"),
        ({"candidates": 0}, "candidates: is 0, must be at least 1"),
        ({"segments_from": "middle"}, "segments_from: is 'middle', must be 'first' or 'last'"),
        ({"shared_noise": 1.5}, r"shared_noise: is 1\.5, must be from 0 to 1"),
        ({"sampling": {"steps": 0}}, "sampling settings: steps: is 0, but must be at least 1"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate_motion(small_generator(), still(2), blobs(), CAMERA, MotionSettings(**settings))


def test_a_field_that_is_not_finite_is_an_error() -> None:
    generator = KnownMotion(lambda frames, noise: torch.full((len(frames), 14), torch.nan))
    with pytest.raises(StageError, match="the motion is not finite"):
        generate_motion(generator, still(2), blobs(), CAMERA)


def test_memory_can_be_demanded_before_there_are_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = small_generator()
    assert demand_memory(generator, 40, 100, MotionSettings(candidates=3)) == 3
    monkeypatch.setattr(motion_memory, "free_bytes", lambda device: 1000)
    with pytest.raises(UserError, match="40 frames of 100 Gaussians, in segments of 9, need"):
        demand_memory(generator, 40, 100, MotionSettings())
    with pytest.raises(UserError, match="in segments of 5"):
        demand_memory(generator, 40, 100, MotionSettings(segment_frames=5))
