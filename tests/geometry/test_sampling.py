"""Points on moving surfaces."""

from __future__ import annotations

import numpy as np
import pytest

from gvf.geometry.sampling import motion_amount, sample_surface, triangle_areas

# Two triangles of areas 0.5 and 4.5, one of none, and one more vertex that no face uses.
VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 5], [3, 0, 5], [0, 3, 5], [9, 9, 9]], np.float32)
FACES = np.array([[0, 1, 2], [3, 4, 5], [1, 1, 2]], np.int32)


def test_areas_by_hand() -> None:
    np.testing.assert_allclose(triangle_areas(VERTICES, FACES), [0.5, 4.5, 0.0])


def test_points_are_uniform_by_area() -> None:
    samples = sample_surface(VERTICES, FACES, 20_000, np.random.default_rng(0))
    counts = np.bincount(samples.faces, minlength=3)
    np.testing.assert_allclose(counts, [2000, 18000, 0], atol=1)  # stratified: exact but for one boundary
    assert (samples.barycentric >= 0).all()
    np.testing.assert_allclose(samples.barycentric.sum(axis=1), 1.0)
    points = samples.positions(VERTICES, FACES)[samples.faces == 1]
    # Uniform in the triangle x, y >= 0, x + y <= 3: mean 1 each, and a quarter of the points within x + y <= 1.5.
    np.testing.assert_allclose(points[:, :2].mean(axis=0), [1, 1], atol=0.02)
    assert np.mean(points[:, :2].sum(axis=1) <= 1.5) == pytest.approx(0.25, abs=0.02)


def test_points_keep_their_place_on_a_moving_surface() -> None:
    samples = sample_surface(VERTICES, FACES, 50, np.random.default_rng(0))
    turn = np.array([[0, -2, 0], [2, 0, 0], [0, 0, 2]], np.float32)
    moving = np.stack([VERTICES, VERTICES @ turn.T + np.float32([1, 2, 3])])
    points = samples.positions(moving, FACES)
    assert points.shape == (2, 50, 3)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points[1], points[0] @ turn.T + [1, 2, 3], atol=1e-5)


def test_the_generator_decides() -> None:
    first, same, other = (sample_surface(VERTICES, FACES, 9, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.barycentric, same.barycentric)
    assert not np.array_equal(first.barycentric, other.barycentric)


def test_a_surface_without_area_is_refused() -> None:
    with pytest.raises(ValueError, match="no area"):
        sample_surface(VERTICES, FACES[2:], 9, np.random.default_rng(0))


def test_motion_is_how_far_one_in_a_hundred_points_travels() -> None:
    points = np.zeros((3, 1000, 3))
    points[1, :9], points[2, :9] = (
        [0, 3, 4],
        [0, -3, -4],
    )  # 9 points go 5 from where they start to either side, 10 in all
    assert motion_amount(points) == 0.0
    points[1, 9] = [0, 0, 2]
    assert motion_amount(points) == 2.0  # the tenth
    points[:, 10:, 0] += np.array([0.0, 1.0, 3.0])[:, None]  # the others drift by 3
    assert motion_amount(points) == 3.0
    assert motion_amount(points[:1]) == 0.0
    assert motion_amount(points[:, :1]) == 10.0  # of fewer than a hundred points, the one that moves most
    assert motion_amount(points[:, 8:11]) == 10.0


def test_motion_does_not_depend_on_which_frame_comes_first() -> None:
    points = np.random.default_rng(0).normal(size=(5, 300, 3))
    assert motion_amount(points) == motion_amount(np.roll(points, 2, axis=0)) == motion_amount(points[::-1])


def test_a_waving_hand_moves_and_a_breathing_body_does_not() -> None:
    """A hand of 2 % of the surface that swings by 0.57 beside a body that rises by 0.007: their mean is below 0.02."""
    points = np.zeros((2, 1000, 3))
    points[1, :, 2] = 0.007
    assert motion_amount(points) == pytest.approx(0.007)
    points[1, :20, 0] = 0.57
    assert np.linalg.norm(points[1], axis=-1).mean() < 0.02
    assert motion_amount(points) == pytest.approx(np.hypot(0.57, 0.007))
