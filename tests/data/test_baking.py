"""Whole clips, computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gvf.data.baking import GltfModel, bake_clip, clip_times, load_model, scene_size
from gvf.data.gltf import read_gltf
from gvf.data.mesh import AnimatedMesh
from gvf.errors import ClipError
from tests.data.gltf_files import TRIANGLE, GltfFile, skinned_strip, sliding_triangle


def _model(file: GltfFile, folder: Path) -> GltfModel:
    return load_model(read_gltf(file.glb(folder / "a.glb")))


def _bake(file: GltfFile, folder: Path, num_frames: int = 3) -> AnimatedMesh:
    model = _model(file, folder)
    animation = model.animation(0)
    return bake_clip(model, animation, clip_times(animation, num_frames))


def test_a_moving_parent_carries_a_scaled_child(tmp_path: Path) -> None:
    file = GltfFile()
    child = file.node(root=False, mesh=file.triangle_mesh(), scale=[2, 2, 2])
    parent = file.node(children=[child])
    file.animation()
    file.channel(0, parent, "translation", [1, 3], [[0, 0, 0], [0, 4, 0]])
    mesh = _bake(file, tmp_path)
    assert mesh.times.tolist() == [1, 2, 3]
    assert mesh.faces.tolist() == [[0, 1, 2]]
    assert mesh.vertices.dtype == np.float32
    for frame, height in enumerate((0, 2, 4)):
        np.testing.assert_allclose(mesh.vertices[frame], TRIANGLE * 2 + [0, height, 0], atol=1e-6)


def test_a_skin_blends_joints_and_ignores_its_own_node(tmp_path: Path) -> None:
    """At the end joint 1 has turned by 90 degrees about (0, 1): (0, 2) goes to (-1, 1), half of that is (-0.5, 1.5)."""
    mesh = _bake(skinned_strip(), tmp_path)
    rest = [[0, 0, 0], [1, 0, 0], [0, 2, 0], [1, 2, 0]]
    np.testing.assert_allclose(mesh.vertices[0], rest, atol=1e-6)
    np.testing.assert_allclose(mesh.vertices[2], [[0, 0, 0], [1, 0, 0], [-0.5, 1.5, 0], [0.0, 2.0, 0]], atol=1e-6)
    # Half way in time is 45 degrees: (0, 2) goes to (-sin 45, 1 + cos 45), and the blend is half way there.
    sine = np.sqrt(0.5)
    np.testing.assert_allclose(mesh.vertices[1, 2], [-sine / 2, (3 + sine) / 2, 0], atol=1e-6)


def test_joint_weights_are_scaled_to_one_and_none_follow_the_first_joint(tmp_path: Path) -> None:
    file = skinned_strip()
    attributes = file.json["meshes"][0]["primitives"][0]["attributes"]
    attributes["WEIGHTS_0"] = file.accessor([[0, 0, 0, 0], [4, 0, 0, 0], [0, 9, 0, 0], [0, 0.1, 0, 0]], "VEC4")
    mesh = _bake(file, tmp_path)
    np.testing.assert_allclose(mesh.vertices[2], [[0, 0, 0], [1, 0, 0], [-1, 1, 0], [-1, 2, 0]], atol=1e-6)


def test_a_second_set_of_joints_counts(tmp_path: Path) -> None:
    """All weight in the second set, on joint 1."""
    file = skinned_strip()
    attributes = file.json["meshes"][0]["primitives"][0]["attributes"]
    attributes["WEIGHTS_0"] = file.accessor(np.zeros((4, 4)), "VEC4")
    attributes["JOINTS_1"] = file.accessor([[1, 0, 0, 0]] * 4, "VEC4", "u2")
    attributes["WEIGHTS_1"] = file.accessor([[1, 0, 0, 0]] * 4, "VEC4")
    mesh = _bake(file, tmp_path)
    np.testing.assert_allclose(mesh.vertices[2], [[1, 1, 0], [1, 2, 0], [-1, 1, 0], [-1, 2, 0]], atol=1e-6)


def test_morph_targets_add_up_by_weight_before_the_node_moves_them(tmp_path: Path) -> None:
    file = GltfFile()
    up, right = np.full((3, 3), [0, 1, 0]), np.full((3, 3), [1, 0, 0])
    node = file.node(mesh=file.triangle_mesh(targets=[up, right]), scale=[1, 10, 1])
    file.animation()
    file.channel(0, node, "weights", [0, 1], [[0, 1], [1, 0.5]])
    mesh = _bake(file, tmp_path)
    for frame, (a, b) in enumerate(((0, 1), (0.5, 0.75), (1, 0.5))):
        np.testing.assert_allclose(mesh.vertices[frame], TRIANGLE * [1, 10, 1] + [b, 10 * a, 0], atol=1e-5)


@pytest.mark.parametrize("holder", ["node", "mesh"])
def test_still_morph_weights_come_from_the_node_or_else_the_mesh(tmp_path: Path, holder: str) -> None:
    file = GltfFile()
    mesh_index = file.triangle_mesh(targets=[np.full((3, 3), [0, 0, 1])])
    node = file.node(mesh=mesh_index)
    file.json["meshes"][0]["weights"] = [0.5] if holder == "mesh" else [9]
    if holder == "node":
        file.json["nodes"][0]["weights"] = [0.5]
    file.animation()
    file.channel(0, node, "translation", [0, 1], [[0, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(_bake(file, tmp_path).vertices[0], TRIANGLE + np.array([0, 0, 0.5]), atol=1e-6)


def test_morph_targets_come_before_the_skin(tmp_path: Path) -> None:
    file = skinned_strip()
    lift = np.zeros((4, 3), np.float32)
    lift[2] = [0, 1, 0]
    file.json["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": file.accessor(lift, "VEC3")}]
    file.json["meshes"][0]["weights"] = [1]
    # (0, 3) turned about (0, 1) is (-2, 1); half way from (0, 3) is (-1, 2).
    np.testing.assert_allclose(_bake(file, tmp_path).vertices[2, 2], [-1, 2, 0], atol=1e-6)


def test_a_mesh_shown_twice_is_there_twice(tmp_path: Path) -> None:
    file = GltfFile()
    mesh = file.triangle_mesh()
    file.node(mesh=mesh, translation=[5, 0, 0])
    moving = file.node(mesh=mesh)
    file.node()
    file.animation()
    file.channel(0, moving, "translation", [0, 1], [[0, 0, 0], [0, 0, 1]], "STEP")
    baked = _bake(file, tmp_path)
    assert baked.faces.tolist() == [[0, 1, 2], [3, 4, 5]]
    np.testing.assert_allclose(baked.vertices[:, :3], np.tile(TRIANGLE + np.array([5, 0, 0]), (3, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(baked.vertices[:, 3, 2], [0, 0, 1], atol=1e-6)


def test_surface_of_a_model(tmp_path: Path) -> None:
    """Two primitives: one textured from its second set of coordinates, one with vertex colours and no material."""
    file = sliding_triangle()
    uvs = file.accessor([[0, 0], [1, 0], [0, 1]], "VEC2")
    red, blue = [[[255, 0, 0]]], [[[0, 0, 255]], [[0, 0, 255]]]
    file.image(red)
    info = {"index": file.image(blue), "texCoord": 1}
    file.entry("materials", name="unused")
    file.entry(
        "materials",
        pbrMetallicRoughness={"baseColorTexture": info},
        emissiveFactor=[1, 1, 0.5],
        emissiveTexture={"index": 0},
    )
    file.json["textures"][info["index"]]["sampler"] = file.entry("samplers", wrapS=33071, wrapT=33648)
    attributes = file.json["meshes"][0]["primitives"][0]["attributes"]
    colored = {**attributes, "COLOR_0": file.accessor([[0, 1, 0]] * 3, "VEC3")}
    attributes["TEXCOORD_1"] = uvs
    file.json["meshes"][0]["primitives"][0]["material"] = 1
    file.json["meshes"][0]["primitives"].append({"attributes": colored})
    mesh = _bake(file, tmp_path)
    assert mesh.face_materials.tolist() == [0, 1]
    assert [material.texture for material in mesh.materials] == [0, -1]
    assert [material.wrap for material in mesh.materials] == [
        ("CLAMP_TO_EDGE", "MIRRORED_REPEAT"),
        ("REPEAT", "REPEAT"),
    ]
    assert mesh.materials[0].emissive == (1.0, 1.0, 0.5)
    assert [material.emissive_texture for material in mesh.materials] == [1, -1]
    assert [texture.shape for texture in mesh.textures] == [(2, 1, 4), (1, 1, 4)]
    assert mesh.uvs.tolist() == [[0, 0], [1, 0], [0, 1], [0, 0], [0, 0], [0, 0]]
    assert mesh.colors[0].tolist() == [1, 1, 1, 1]
    assert mesh.colors[5].tolist() == [0, 1, 0, 1]


def test_a_mesh_of_ten_million_triangles_is_refused_unread(tmp_path: Path) -> None:
    file = sliding_triangle()
    file.json["accessors"][0] = {"count": 30_000_000, "type": "VEC3", "componentType": 5126}
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    with pytest.raises(ClipError, match="has 10000000 triangles and 30000000 vertices, at most 1000") as caught:
        load_model(document, max_triangles=1000)
    assert caught.value.reason == "size"


def test_size_counts_every_showing_of_a_mesh(tmp_path: Path) -> None:
    file = sliding_triangle()
    file.node(mesh=0)
    model = _model(file, tmp_path)
    assert scene_size(model.document, model.tree) == (6, 2)
    with pytest.raises(ClipError, match="at most 1"):
        load_model(model.document, max_triangles=1)


def test_vertices_beyond_float_range_are_refused(tmp_path: Path) -> None:
    file = sliding_triangle()
    file.json["nodes"][0]["scale"] = [1e300, 1, 1]
    with pytest.raises(ClipError, match="'slide' has a NaN or infinite vertex"):
        _bake(file, tmp_path)


def test_joints_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    file = skinned_strip()
    attributes = file.json["meshes"][0]["primitives"][0]["attributes"]
    attributes["JOINTS_0"] = file.accessor([[0, 5, 200, 0]] * 4, "VEC4", "u1")
    with pytest.raises(ClipError, match="uses joint 5 of 2"):
        _model(file, tmp_path)


def test_kaykit_characters_bake_inside_their_bounds(shared: Path) -> None:
    model = load_model(read_gltf(shared / "data" / "kaykit" / "Mage.glb"))
    animation = model.animation(model.document.animation_names.index("Walking_A"))
    mesh = bake_clip(model, animation, clip_times(animation, 8)).normalized()
    assert mesh.vertices.shape == (8, 5279, 3)
    assert len(mesh.textures) == 1
    assert np.ptp(mesh.vertices, axis=(0, 1)).max() == pytest.approx(1.0, abs=1e-6)
    # A walk is a loop: its last frame is its first.
    np.testing.assert_allclose(mesh.vertices[7], mesh.vertices[0], atol=5e-3)
