"""Triangles, joint sets, sizes and materials."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gvf.data.gltf import read_gltf
from gvf.data.gltf_geometry import mesh_size, read_mesh, triangulate
from gvf.data.gltf_material import mean_linear_color, read_image, read_material, transform_uvs
from gvf.errors import ClipError
from tests.data.gltf_files import TRIANGLE, GltfFile


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
        ({"indices": ([0, 1, 3], "SCALAR", "u2")}, "vertex index 3, but 3 vertices"),
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


def test_materials_of_both_models(tmp_path: Path) -> None:
    file = GltfFile()
    texture = file.image([[[255, 0, 0]]])
    info = {"index": texture, "texCoord": 1}
    metallic = {"baseColorFactor": [0.1, 0.2, 0.3, 0.4], "baseColorTexture": info}
    glossy = {"diffuseFactor": [0.5, 0.6, 0.7, 0.8], "diffuseTexture": {"index": texture}}
    file.entry("materials", name="first", alphaMode="MASK", alphaCutoff=0.25, pbrMetallicRoughness=metallic)
    file.entry(
        "materials",
        doubleSided=True,
        emissiveFactor=[0.5, 0.25, 0.1],
        pbrMetallicRoughness=metallic,
        extensions={
            "KHR_materials_pbrSpecularGlossiness": glossy,
            "KHR_materials_emissive_strength": {"emissiveStrength": 3},
        },
    )
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    first, second, default = (read_material(document, index) for index in (0, 1, -1))
    assert (first.material.name, first.material.base_color) == ("first", (0.1, 0.2, 0.3, 0.4))
    assert (first.material.alpha_mode, first.material.alpha_cutoff, first.material.double_sided) == (
        "MASK",
        0.25,
        False,
    )
    assert first.texture is not None
    assert first.texture.uv_set == 1
    assert second.material.base_color == (0.5, 0.6, 0.7, 0.8)
    assert second.material.double_sided
    np.testing.assert_allclose(second.material.emissive, [1.0, 0.75, 0.3])
    assert default.material.base_color == (1, 1, 1, 1)
    assert default.texture is None
    assert read_image(document, 0).tolist() == [[[255, 0, 0, 255]]]


def test_texture_transform_rotates_with_v_downwards(tmp_path: Path) -> None:
    """The extension turns texture coordinates counter-clockwise as seen with v downwards: (1, 0) goes to (0, -1)."""
    file = GltfFile()
    transform = {"offset": [10, 20], "rotation": math.pi / 2, "scale": [2, 3], "texCoord": 2}
    info = {"index": file.image([[[1, 2, 3]]]), "extensions": {"KHR_texture_transform": transform}}
    file.entry("materials", pbrMetallicRoughness={"baseColorTexture": info})
    use = read_material(read_gltf(file.glb(tmp_path / "a.glb")), 0).texture
    assert use is not None
    assert use.uv_set == 2
    moved = transform_uvs(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), use.transform)
    np.testing.assert_allclose(moved, [[10, 20], [10, 18], [13, 20]], atol=1e-12)


def test_undecodable_and_unsupported_textures_are_refused(tmp_path: Path) -> None:
    file = GltfFile()
    broken = file.entry("images", bufferView=file.view(b"no picture"), mimeType="image/png")
    file.entry("textures", extensions={"KHR_texture_basisu": {"source": broken}})
    file.entry("materials", pbrMetallicRoughness={"baseColorTexture": {"index": 0}})
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    with pytest.raises(ClipError, match="cannot be decoded"):
        read_image(document, broken)
    with pytest.raises(ClipError, match="no image in a format that is read"):
        read_material(document, 0)


def test_unknown_wrap_modes_are_refused(tmp_path: Path) -> None:
    file = GltfFile()
    texture = file.image([[[1, 2, 3]]])
    file.json["textures"][texture]["sampler"] = file.entry("samplers", wrapS=33071, wrapT=7)
    file.entry("materials", pbrMetallicRoughness={"baseColorTexture": {"index": texture}})
    with pytest.raises(ClipError, match="has wrapT 7, must be one of 10497, 33071, 33648"):
        read_material(read_gltf(file.glb(tmp_path / "a.glb")), 0)


def test_mean_color_is_taken_in_linear_light() -> None:
    image = np.array([[[0, 255, 188, 9], [255, 255, 188, 9]]], np.uint8)
    np.testing.assert_allclose(mean_linear_color(image), [0.5, 1.0, 0.5029], atol=1e-4)
