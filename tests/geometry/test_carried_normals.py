"""Normals carried along by deformations whose effect on them is known."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from gvf.geometry.carried_normals import CarriedNormals
from tests.data.gltf.gltf_files import CUBE, CUBE_FACES

RNG = np.random.default_rng(3)
NORMALS = RNG.normal(size=(8, 3))
NORMALS /= np.linalg.norm(NORMALS, axis=1, keepdims=True)


def test_rotation_and_scaling_are_exact() -> None:
    carried = CarriedNormals(NORMALS, CUBE, CUBE_FACES)
    np.testing.assert_allclose(carried.at(CUBE), NORMALS, atol=1e-12)
    turn = Rotation.random(random_state=5).as_matrix()
    np.testing.assert_allclose(carried.at(3.0 * CUBE @ turn.T + 7.0), NORMALS @ turn.T, atol=1e-9)


def test_a_flat_surface_follows_any_affine_map() -> None:
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    carried = CarriedNormals(np.tile([0.0, 0.0, 1.0], (4, 1)), square, faces)
    shear = np.array([[2.0, 1.0, 0.3], [0.0, 0.5, -0.2], [0.4, 0.1, 1.0]])
    expected = np.linalg.inv(shear).T @ [0.0, 0.0, 1.0]
    np.testing.assert_allclose(carried.at(square @ shear.T)[0], expected / np.linalg.norm(expected), atol=1e-12)


def test_a_cylinder_that_bends_from_a_plane() -> None:
    """A finely divided plane rolled up: its normals point away from the axis."""
    angles, heights = np.meshgrid(np.linspace(0, np.pi, 60), np.linspace(0, 1, 5), indexing="ij")
    flat = np.stack([angles, heights, np.zeros_like(angles)], axis=-1).reshape(-1, 3)
    a, h = flat[:, 0], flat[:, 1]
    rolled = np.stack([-np.cos(a), h, np.sin(a)], axis=1)
    index = np.arange(300).reshape(60, 5)
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], axis=-1).reshape(-1, 4)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    found = CarriedNormals(np.tile([0.0, 0.0, 1.0], (300, 1)), flat, faces).at(rolled)
    inner = (a > 0.1) & (a < 3.0)
    np.testing.assert_allclose(found[inner], (rolled * (1, 0, 1))[inner], atol=0.02)


def test_seams_stay_closed_and_lost_triangles_do_no_harm() -> None:
    """Two triangles that share an edge whose vertices are doubled, as at a seam of textures; a third one has no area."""
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [5, 5, 5]], float)
    faces = np.array([[0, 1, 2], [3, 4, 5], [6, 6, 6]])
    carried = CarriedNormals(np.tile([0.0, 0.0, 2.0], (7, 1)), points, faces)
    folded = points.copy()
    folded[4, 2] = 1.0
    found = carried.at(folded)
    np.testing.assert_array_equal(found[[1, 2]], found[[3, 5]])
    np.testing.assert_allclose(found[6], [0, 0, 1])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0)
