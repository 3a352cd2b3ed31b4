"""Active voxels against dense point sampling, a linear programme, and cases by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from gvf.geometry.voxels import active_voxels, voxel_centers


def soup(seed: int, count: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Random triangles: centres in the box, corners within `spread`."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-0.45, 0.45, (count, 1, 3)) + rng.uniform(-spread, spread, (count, 3, 3))
    return np.clip(corners, -0.499, 0.499).reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


def as_set(voxels: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, voxels.tolist()))


@pytest.mark.parametrize(("spread", "resolution"), [(0.02, 32), (0.2, 16), (0.6, 8)])
def test_every_sampled_surface_point_is_inside_and_few_voxels_lack_one(spread: float, resolution: int) -> None:
    vertices, faces = soup(0, 30, spread)
    found = as_set(active_voxels(vertices, faces, resolution))
    rng = np.random.default_rng(1)
    weights = rng.dirichlet((0.6, 0.6, 0.6), 20_000)
    points = (weights @ vertices[faces]).reshape(-1, 3)
    indices = np.floor((points + 0.5) * resolution).astype(int)
    keys = np.unique(np.ravel_multi_index(indices.T, (resolution,) * 3))
    sampled = as_set(np.stack(np.unravel_index(keys, (resolution,) * 3), axis=1))
    assert sampled <= found
    assert len(sampled) >= 0.97 * len(found)  # what sampling misses are voxels with a sliver of a triangle


def test_agrees_with_a_linear_programme() -> None:
    """A triangle and a box touch where barycentric weights exist whose point is in the box: solved by HiGHS."""
    vertices, faces = soup(2, 6, 0.25)
    resolution = 6
    found = as_set(active_voxels(vertices, faces, resolution))
    grid = np.stack(np.meshgrid(*[np.arange(resolution)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    expected = set()
    for triangle in (vertices[faces] + 0.5) * resolution:
        near = np.all((grid + 1 >= triangle.min(axis=0)) & (grid <= triangle.max(axis=0)), axis=1)
        for voxel in grid[near]:
            limits = np.r_[triangle.T, -triangle.T], np.r_[voxel + 1, -voxel]
            if linprog(np.zeros(3), *limits, A_eq=np.ones((1, 3)), b_eq=[1.0], bounds=(0, 1)).status == 0:
                expected.add(tuple(voxel.tolist()))
    assert found == expected


def test_by_hand() -> None:
    # A horizontal square through the middle of the second of four layers covers that layer's inner 2 x 2 voxels.
    square = np.array([[-0.2, -0.2, -0.1], [0.2, -0.2, -0.1], [0.2, 0.2, -0.1], [-0.2, 0.2, -0.1]])
    voxels = active_voxels(square, np.array([[0, 1, 2], [0, 2, 3]]), 4)
    np.testing.assert_array_equal(voxels, [[1, 1, 1], [1, 2, 1], [2, 1, 1], [2, 2, 1]])
    assert voxels.dtype == np.int32
    # On the border between two layers it touches both.
    square[:, 2] = 0.0
    assert {v[2] for v in as_set(active_voxels(square, np.array([[0, 1, 2]]), 4))} == {1, 2}


def test_vertices_outside_are_clamped_and_points_count() -> None:
    far = np.array([[0.7, 0.7, 0.7], [0.7, 0.7, 0.7], [0.7, 0.7, 0.7]])
    np.testing.assert_array_equal(active_voxels(far, np.array([[0, 1, 2]]), 16), [[15, 15, 15]])


def test_a_large_triangle_is_split_into_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = soup(3, 20, 0.5)
    whole = active_voxels(vertices, faces, 16)
    monkeypatch.setattr("gvf.geometry.voxels._PAIRS_AT_ONCE", 100)
    np.testing.assert_array_equal(active_voxels(vertices, faces, 16), whole)


def test_no_triangles_touch_nothing() -> None:
    assert active_voxels(np.zeros((3, 3)), np.zeros((0, 3), int), 8).shape == (0, 3)


def test_centers() -> None:
    np.testing.assert_allclose(voxel_centers(np.array([[0, 31, 63]]), 64), [[-63 / 128, -1 / 128, 63 / 128]])
