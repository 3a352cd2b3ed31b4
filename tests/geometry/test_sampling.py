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


def test_motion_is_the_mean_of_the_largest_distances() -> None:
    points = np.zeros((3, 2, 3))
    points[1, 0], points[2, 0] = [0, 3, 4], [1, 0, 0]  # goes 5 away and comes back to 1
    assert motion_amount(points) == 2.5
    assert motion_amount(points[:1]) == 0.0
