"""Visibility of points against a wall by hand and a sphere's horizon."""

import numpy as np

from gvf.rendering.visibility import visible_points

WALL = np.array([[-1.0, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]]), np.array([[0, 1, 2], [0, 2, 3]])


def test_a_wall_hides_what_is_behind_it() -> None:
    points = np.array([[0, -0.5, 0], [0, 0.05, 0], [0, 0.5, 0], [0, 0.5, 3.0]])
    eyes = np.array([[0.0, -2, 0], [0, 2, 0]])
    seen = visible_points(*WALL, np.ones(2, bool), points, eyes, tolerance=0.1)
    np.testing.assert_array_equal(seen, [[True, True, False, True], [False, True, True, True]])


def test_points_of_a_sphere_are_seen_up_to_the_horizon() -> None:
    polar, azimuth = np.meshgrid(np.linspace(0, np.pi, 65), np.linspace(0, 2 * np.pi, 129))
    unit = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=-1)
    index = np.arange(polar.size).reshape(polar.shape)
    a, b, c, d = (x.ravel() for x in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    normals = np.random.default_rng(0).normal(size=(500, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    eye = np.array([[0.0, -2.0, 0.0]])
    faces = np.r_[np.c_[a, b, c], np.c_[a, c, d]]
    double_sided = np.ones(len(faces), bool)
    seen = visible_points(0.4 * unit.reshape(-1, 3), faces, double_sided, 0.4 * normals, eye, tolerance=0.01)[0]
    height = normals @ eye[0] / 2 - 0.4 / 2  # above the horizon plane of a sphere of radius r: n.e/d > r/d
    clear = np.abs(height) > 0.1
    np.testing.assert_array_equal(seen[clear], height[clear] > 0)


def test_the_back_of_a_single_sided_face_hides_nothing() -> None:
    """The wall's front, where it is counter-clockwise, looks towards -y; behind it stand more walls of either kind."""
    points, eyes = np.array([[0.0, 0.5, 0], [0, -0.5, 0]]), np.array([[0.0, -2, 0], [0, 2, 0]])
    seen = visible_points(*WALL, np.zeros(2, bool), points, eyes, tolerance=0.1)
    np.testing.assert_array_equal(seen, [[False, True], [True, True]])
    corners, faces = WALL
    stack = (
        np.concatenate([corners + np.array([0, y, 0]) for y in (0.0, 0.1, 0.2)]),
        np.concatenate([faces, faces + 4, faces + 8]),
    )
    seen = visible_points(*stack, np.zeros(6, bool), points, eyes, tolerance=0.05)
    np.testing.assert_array_equal(seen[1], [True, True])
    last_double = np.arange(6) < 2  # the one farthest from the second eye
    seen = visible_points(*stack, last_double, points, eyes, tolerance=0.05)
    np.testing.assert_array_equal(seen, [[False, True], [True, False]])
