"""Triangles, joint sets and sizes of meshes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gvf.data.gltf.document import read_gltf
from gvf.data.gltf.geometry import mesh_size, read_mesh, triangulate
from gvf.errors import ClipError
from tests.data.gltf.gltf_files import TRIANGLE, GltfFile


def test_lists_strips_and_fans_by_the_specification() -> None:
    corners = np.array([4, 5, 6, 7, 8])
    assert triangulate(corners, 4).tolist() == [[4, 5, 6]]
    assert triangulate(corners, 5).tolist() == [[4, 5, 6], [5, 7, 6], [6, 7, 8]]
    assert triangulate(corners, 6).tolist() == [[5, 6, 4], [6, 7, 4], [7, 8, 4]]
    assert triangulate(corners[:2], 5).shape == (0, 3)


def test_strips_and_fans_keep_one_orientation() -> None:
    """A flat strip and a flat fan, both counter-clockwise: all normals must point the same way."""
    strip = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0, 2], [1, 2]], float)
    fan = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [-1, 1]], float)
    for points, mode in ((strip, 5), (fan, 6)):
        a, b, c = np.moveaxis(points[triangulate(np.arange(len(points)), mode)], 1, 0)
        assert (((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) > 0).all()


@pytest.mark.parametrize(("mode", "triangles"), [(0, 0), (1, 0), (3, 0), (4, 2), (5, 4), (6, 4)])
def test_size_is_known_without_the_arrays(tmp_path: Path, mode: int, triangles: int) -> None:
    file = GltfFile()
    positions = file.entry("accessors", count=10**9, type="VEC3", componentType=5126)
    indices = file.entry("accessors", count=6, type="SCALAR", componentType=5125)
    mesh = file.entry("meshes", primitives=[{"attributes": {"POSITION": positions}, "indices": indices, "mode": mode}])
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    assert mesh_size(document, mesh) == ((10**9 if triangles else 0), triangles)


def test_joint_sets_are_joined_and_a_target_without_positions_moves_nothing(tmp_path: Path) -> None:
    file = GltfFile()
    attributes = {
        f"{name}_{i}": file.accessor([[4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3]] * 3, "VEC4", kind)
        for i in range(2)
        for name, kind in (("JOINTS", "u1"), ("WEIGHTS", "f4"))
    }
    mesh = file.triangle_mesh(attributes=attributes)
    file.json["meshes"][mesh]["primitives"][0]["targets"] = [{"NORMAL": 0}]
    (primitive,) = read_mesh(read_gltf(file.glb(tmp_path / "a.glb")), mesh).primitives
    assert primitive.joints is not None
    assert primitive.joint_weights is not None
    assert primitive.joints[0].tolist() == primitive.joint_weights[0].tolist() == list(range(8))
    assert primitive.targets.tolist() == np.zeros((1, 3, 3)).tolist()


def test_vertex_colors_of_either_width_and_type(tmp_path: Path) -> None:
    file = GltfFile()
    rgb = file.accessor([[0, 51, 255]] * 3, "VEC3", "u1", normalized=True)
    rgba = file.accessor([[0.1, 0.2, 0.3, 0.4]] * 3, "VEC4")
    meshes = [file.triangle_mesh(attributes={"COLOR_0": accessor}) for accessor in (rgb, rgba)]
    meshes.append(file.triangle_mesh())
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    colors = [read_mesh(document, mesh).primitives[0].colors[0] for mesh in meshes]
    np.testing.assert_allclose(colors, [[0, 0.2, 1, 1], [0.1, 0.2, 0.3, 0.4], [1, 1, 1, 1]], atol=1e-6)


@pytest.mark.parametrize(
    ("primitive", "words"),
    [
        ({"indices": ([0, 1, 3], "SCALAR", "u2")}, "vertex index 3, but only 3 vertices"),
        ({"indices": ([0, 1, 2], "SCALAR", "i2")}, "unsigned integers"),
        ({"attributes": {"COLOR_0": ([[1, 1, 1]], "VEC3")}}, "COLOR_0 has 1 entries for 3"),
        ({"attributes": {"JOINTS_0": ([[0] * 4] * 3, "VEC4", "u1")}}, "WEIGHTS_0 is missing"),
        ({"mode": 7}, "mode 7"),
        ({"material": 0}, "material is 0"),
    ],
)
def test_broken_primitives_are_refused(tmp_path: Path, primitive: dict[str, Any], words: str) -> None:
    file = GltfFile()
    stored: dict[str, Any] = {}
    for name, value in primitive.items():
        if name == "attributes":
            stored[name] = {key: file.accessor(*data) for key, data in value.items()}
        else:
            stored[name] = file.accessor(*value) if isinstance(value, tuple) else value
    mesh = file.triangle_mesh(**stored)
    with pytest.raises(ClipError, match=words):
        read_mesh(read_gltf(file.glb(tmp_path / "a.glb")), mesh)


def test_a_nan_position_is_refused(tmp_path: Path) -> None:
    file = GltfFile()
    mesh = file.triangle_mesh(np.where(TRIANGLE == 1, np.nan, TRIANGLE))
    with pytest.raises(ClipError, match="NaN or infinite"):
        read_mesh(read_gltf(file.glb(tmp_path / "a.glb")), mesh)
