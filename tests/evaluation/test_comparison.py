"""Scores of an asset against the true animation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gvf.errors import UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.similarity import Similarity
from gvf.metrics.displacement import relative_error, relative_errors
from gvf.metrics.lpips import METRICS as LPIPS
from gvf.progress import Progress
from gvf_evaluation.comparison import ASSET, Candidate, Comparison, compare, in_unit_of
from gvf_evaluation.true_motion import Pose, TrueMotion, read_true_motion
from tests.data.gltf.gltf_files import GltfFile, cube_mesh

SIZE = 48
TIMES = np.array([0.0, 1.0, 2.0])


@pytest.fixture(scope="module")
def walking_cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube of side 1, at rest 5 units above the ground: it slides by 1 along x in 2 s, or falls from 7 to 6 in 1 s."""
    file = GltfFile()
    node = file.node(mesh=cube_mesh(file), translation=[0, 5, 0])
    for name, end, first, last in (("slide", 2.0, [0, 5, 0], [1, 5, 0]), ("fall", 1.0, [0, 7, 0], [0, 6, 0])):
        clip = file.animation(name)
        file.channel(clip, node, "translation", [0.0, end], [first, last])
    return file.glb(tmp_path_factory.mktemp("compare") / "cube.glb")


@pytest.fixture(scope="module")
def truth(walking_cube: Path) -> TrueMotion:
    return read_true_motion(walking_cube, "slide", TIMES, False, None)


def _on_surface(points: torch.Tensor, spacing: float) -> Gaussians:
    """Return white-grey Gaussians [N] at points."""
    count = len(points)
    return Gaussians.from_rendered(
        points,
        torch.full((count, 3), 0.8),
        torch.full((count, 3), spacing),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(count, -1),
        torch.full((count,), 0.9),
    )


def _score(truth: TrueMotion, moving: Gaussians, canonical: Gaussians, **more: float) -> Comparison:
    candidate = Candidate(moving, canonical, 0.1, True, **more)
    return compare(candidate, truth, SIZE, 2, torch.device("cpu"), Progress())


@pytest.fixture(scope="module")
def canonical(truth: TrueMotion) -> Gaussians:
    return _on_surface(truth.points[0, ::16], 0.012)


def _moved(canonical: Gaussians, displacements: torch.Tensor) -> Gaussians:
    repeated = canonical.map(lambda values: values.expand(len(displacements), *values.shape))
    return replace(repeated, means=repeated.means + displacements)


SLIDE = torch.tensor([[[0.0, 0.0, 0.0]], [[0.25, 0.0, 0.0]], [[0.5, 0.0, 0.0]]])  # in the unit of a box 2 wide


@pytest.fixture(scope="module")
def perfect(truth: TrueMotion, canonical: Gaussians) -> Comparison:
    return _score(truth, _moved(canonical, SLIDE), canonical)


def test_a_perfect_asset_closes_the_gap(perfect: Comparison) -> None:
    assert perfect.gap_closed == pytest.approx(1.0, abs=1e-3)
    assert perfect.means[ASSET]["displacement_error"] == pytest.approx(0.0, abs=1e-5)
    assert perfect.means["interpolated"]["displacement_error"] == pytest.approx(0.0, abs=1e-6)
    assert perfect.means[ASSET]["chamfer"] == pytest.approx(perfect.means["interpolated"]["chamfer"], abs=1e-6)
    assert perfect.means["static"]["displacement_error"] == pytest.approx(1.0)
    assert perfect.means["static"]["chamfer"] > 3 * perfect.means[ASSET]["chamfer"]
    assert perfect.means[ASSET]["ssim"] > perfect.means["static"]["ssim"]
    assert perfect.over_time[ASSET]["psnr"].shape == (3,)


def test_a_static_asset_closes_nothing_and_half_the_way_is_half_wrong(truth: TrueMotion, canonical: Gaussians) -> None:
    still = _score(truth, _moved(canonical, 0.0 * SLIDE), canonical)
    assert still.gap_closed == 0.0
    assert still.means[ASSET] == pytest.approx(still.means["static"])
    half = _score(truth, _moved(canonical, 0.5 * SLIDE), canonical)
    assert half.means[ASSET]["displacement_error"] == pytest.approx(0.5, abs=1e-4)
    # Displacements of 0, 0.25 and 0.5 along x: half of them over their RMS over all frames and three axes.
    expected = 0.5 * np.array([0.0, 0.25, 0.5]) / np.sqrt((0.25**2 + 0.5**2) / 3)
    np.testing.assert_allclose(half.over_time[ASSET]["displacement_error"], expected, atol=1e-4)
    assert 0.0 < half.gap_closed < 1.0


def test_metrics_without_their_weights_are_named_with_the_reason(perfect: Comparison) -> None:
    facts = perfect.facts()
    for metric in LPIPS:
        assert metric.name in facts["absent"] or metric.name in facts["methods"][ASSET]["mean"]
    assert len(facts["methods"][ASSET]["frames"]["psnr"]) == 3
    assert facts["gap_closed"] == pytest.approx(1.0, abs=1e-3)


def test_an_asset_in_its_own_unit_gets_the_same_scores(
    truth: TrueMotion, canonical: Gaussians, perfect: Comparison
) -> None:
    """The cube's rest pose is centred and 1 wide, the clip's box is 2 wide: object points are 2 x larger and elsewhere."""
    own = Similarity(1.0, (0.0, 5.0, 0.0), "y")
    corner = own.invert(truth.to_file.apply(np.array([[-0.5, -0.25, -0.25]])))
    np.testing.assert_allclose(corner, [[-0.5, -0.5, -0.5]], atol=1e-9)

    def in_own_unit(gaussians: Gaussians) -> Gaussians:
        points = own.invert(truth.to_file.apply(gaussians.means.numpy()))
        scales = gaussians.activation.raw_scales(gaussians.scales * 2.0)
        return replace(gaussians, means=torch.from_numpy(points).float(), raw_scales=scales)

    moving = in_own_unit(_moved(canonical, SLIDE))
    candidate = in_unit_of(truth.to_file, Candidate(moving, in_own_unit(canonical), 0.1, True), own)
    assert candidate.scale == pytest.approx(0.5)
    again = compare(candidate, truth, SIZE, 2, torch.device("cpu"), Progress())
    for name, value in perfect.means[ASSET].items():
        assert again.means[ASSET][name] == pytest.approx(value, rel=1e-3, abs=1e-5), name


def test_canonical_gaussians_of_another_pose_are_moved_from_there(walking_cube: Path) -> None:
    """The fall begins 2 units above the rest pose, and its box is 2 high."""
    from_rest = read_true_motion(walking_cube, "fall", np.array([0.0, 1.0]), False, Pose(None))
    for frame, height in ((0, 1.0), (1, 0.5)):
        np.testing.assert_allclose((from_rest.points[frame] - from_rest.canonical_points)[:, 2], height, atol=1e-6)
    from_start = read_true_motion(walking_cube, "slide", TIMES, False, Pose("fall"))
    np.testing.assert_allclose((from_start.points[0] - from_start.canonical_points)[:, 2], -1.0, atol=1e-6)
    own = read_true_motion(walking_cube, "fall", np.array([0.0, 1.0]), False, None)
    assert torch.equal(own.points[0], own.canonical_points)


def test_frames_are_compared_at_their_times_or_evenly(walking_cube: Path) -> None:
    assert read_true_motion(walking_cube, "slide", np.array([0.0, 0.5]), False, None).times.tolist() == [0.0, 0.5]
    assert read_true_motion(walking_cube, "slide", np.array([0.0, 0.5]), True, None).times.tolist() == [0.0, 2.0]
    long = read_true_motion(walking_cube, "slide", np.array([0.0, 1.0, 2.01]), False, None)
    assert long.times.tolist() == [0.0, 1.0, 2.0]
    part = read_true_motion(walking_cube, "slide", np.array([0.5, 1.0]), False, None)
    assert part.times.tolist() == [0.5, 1.0]
    with pytest.raises(UserError, match=r"last frame is at 3 s, 'slide' ends at 2 s.*--times even"):
        read_true_motion(walking_cube, "slide", np.array([0.0, 1.0, 2.0, 3.0]), False, None)
    with pytest.raises(UserError, match=r"Choose one with --clip: slide, fall"):
        read_true_motion(walking_cube, None, TIMES, False, None)


def test_relative_errors_of_frames_make_up_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    found, true = (torch.randn(4, 5, 3, generator=generator) for _ in range(2))
    assert relative_error(0.0 * true, true) == pytest.approx(1.0)
    assert relative_error(1.3 * true, true) == pytest.approx(0.3, abs=1e-6)
    whole = relative_errors(found, true).square().mean().sqrt().item()
    assert whole == pytest.approx(relative_error(found, true), rel=1e-6)
