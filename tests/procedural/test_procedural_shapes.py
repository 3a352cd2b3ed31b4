"""Primitive shapes are closed, wind outwards, enclose the volumes that the formulas give, and have usable uvs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gvf.procedural.mechanisms import gear
from gvf.procedural.shapes import (
    Shape,
    cone,
    cylinder,
    extrude,
    eyeball,
    lathe,
    merge,
    rounded_box,
    smooth_normals,
    sphere,
    torus,
    tube,
)

CURVE = np.column_stack([0.3 * np.sin(np.linspace(0, 3, 12)), np.linspace(0, 1, 12), 0.2 * np.linspace(0, 1, 12) ** 2])

SHAPES = {
    "sphere": sphere(0.7),
    "ellipsoid": sphere(1.0).scaled(0.3, 1.0, 2.0),
    "cylinder": cylinder(0.4, 1.0),
    "frustum": cylinder(0.5, 1.0, top_radius=0.2),
    "cone": cone(0.5, 1.0),
    "torus": torus(1.0, 0.3),
    "capsule": tube([(0.0, 0.0, 0.0), (1.0, 0.0, 0.0)], [0.2, 0.2]),
    "bent tube": tube(CURVE, np.linspace(0.1, 0.05, 12)),
    "flat tube": tube(CURVE, np.column_stack([np.full(12, 0.1), np.full(12, 0.02)])),
    "box": rounded_box((1.0, 0.6, 0.4), 0.05),
    "plate": extrude([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)], 0.2),
    "gear": gear(9, 0.5, 0.1),
    "turned": rounded_box((1.0, 0.6, 0.4), 0.1)
    .turned("x", 0.4)
    .turned("y", 1.0)
    .turned("z", -2.0)
    .moved(3.0, 0.0, 0.0),
}


def volume(shape: Shape) -> float:
    corners = shape.positions[shape.triangles]
    return float(np.sum(np.linalg.det(corners)) / 6.0)


@pytest.mark.parametrize("name", SHAPES)
def test_closed_and_wound_outwards(name: str) -> None:
    shape = SHAPES[name]
    assert volume(shape) > 0.0
    _, place = np.unique(np.round(shape.positions, 6), axis=0, return_inverse=True)
    corners = place.reshape(-1)[shape.triangles]
    edges = Counter((int(t[i]), int(t[(i + 1) % 3])) for t in corners for i in range(3) if t[i] != t[(i + 1) % 3])
    assert all(edges[end, start] == count for (start, end), count in edges.items()), "an edge with one side only"


@pytest.mark.parametrize("name", SHAPES)
def test_normals_agree_with_the_faces(name: str) -> None:
    shape = SHAPES[name]
    corners = shape.positions[shape.triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    along = np.einsum("fc,fkc->fk", faces, shape.normals[shape.triangles])
    assert (along > 0.0).mean() > 0.99
    np.testing.assert_allclose(np.linalg.norm(shape.normals, axis=1), 1.0, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (sphere(0.7, 40, 60), 4.0 / 3.0 * np.pi * 0.7**3),
        (sphere(1.0, 40, 60).scaled(0.3, 1.0, 2.0), 4.0 / 3.0 * np.pi * 0.6),
        (cone(0.5, 1.0, 80), np.pi * 0.25 / 3.0),
        (torus(1.0, 0.3, 80, 40), 2.0 * np.pi**2 * 0.09),
        (rounded_box((1.0, 0.6, 0.4), 1e-4), 0.24),
        (extrude([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)], 0.2), 0.4),
        (lathe([(0.0, 1.0), (0.5, 1.0), (0.5, 0.0), (0.0, 0.0)], 200), np.pi * 0.25),
    ],
)
def test_volumes(shape: Shape, expected: float) -> None:
    assert volume(shape) == pytest.approx(expected, rel=0.01)  # the inscribed polygons lose up to 1 %


def test_smooth_normals_of_a_sphere_are_radial_across_its_seam() -> None:
    ball = sphere(0.5, 30, 40)
    radial = ball.positions / np.linalg.norm(ball.positions, axis=1, keepdims=True)
    np.testing.assert_allclose(smooth_normals(ball.positions, ball.triangles), radial, atol=0.02)


def test_scaled_normals_are_those_of_the_ellipsoid() -> None:
    shape = sphere(1.0, 40, 60).scaled(0.5, 1.0, 2.0)
    gradient = shape.positions / np.array([0.5, 1.0, 2.0]) ** 2
    gradient /= np.linalg.norm(gradient, axis=1, keepdims=True)
    np.testing.assert_allclose(shape.normals, gradient, atol=0.03)  # facets are coarse beside the poles


def test_the_middle_of_a_texture_faces_forwards_and_is_not_mirrored() -> None:
    ball = sphere(1.0, 16, 32)
    front = ball.positions[np.argmin(np.abs(ball.uvs - 0.5).sum(axis=1))]
    np.testing.assert_allclose(front, [0.0, 0.0, 1.0], atol=1e-9)
    right = ball.positions[np.argmin(np.abs(ball.uvs - [0.6, 0.5]).sum(axis=1))]
    top = ball.positions[np.argmin(np.abs(ball.uvs - [0.5, 0.1]).sum(axis=1))]
    assert right[0] > 0.3  # the viewer in front, at +z, has +x at their right
    assert top[1] > 0.8


def test_paint_is_stored_as_linear_light_and_blends_along_an_axis() -> None:
    box = rounded_box((1.0, 1.0, 1.0), 0.1).painted((0.5, 0.0, 1.0))
    np.testing.assert_allclose(box.colors, np.tile([0.21404, 0.0, 1.0, 1.0], (len(box.colors), 1)), atol=1e-5)
    blend = box.painted((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), axis=2)
    np.testing.assert_allclose(blend.colors[:, 0], box.positions[:, 2] + 0.5, atol=1e-9)


def test_merge_keeps_every_part() -> None:
    eye = eyeball(0.1)
    both = merge([eye.moved(-1.0, 0.0, 0.0), eye.moved(1.0, 0.0, 0.0)])
    assert len(both.triangles) == 2 * len(eye.triangles)
    assert volume(both) == pytest.approx(2.0 * volume(eye))
    assert both.triangles.max() == len(both.positions) - 1
