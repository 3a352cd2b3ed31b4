"""Baked clips agree with vertices computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gvf.data.curation.mesh_hash import mesh_sha256
from gvf.data.gltf.baking import (
    GltfModel,
    bake_clip,
    bake_rest,
    clip_times,
    load_model,
    posed_normals,
    rest_vertices,
    scene_size,
)
from gvf.data.gltf.document import read_gltf
from gvf.data.mesh import AnimatedMesh
from gvf.errors import ClipError
from tests.data.gltf.gltf_files import CUBE, CUBE_FACES, TRIANGLE, GltfFile, cube_mesh, skinned_strip, sliding_triangle


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
    assert mesh.vertices.dtype == np.float64
    assert mesh.normalized().vertices.dtype == np.float32
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


def test_joint_weights_are_normalised_and_vertices_without_weights_follow_the_first_joint(tmp_path: Path) -> None:
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
def test_unanimated_morph_weights_come_from_the_node_or_else_the_mesh(tmp_path: Path, holder: str) -> None:
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


def test_a_mesh_used_by_two_nodes_is_baked_twice(tmp_path: Path) -> None:
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


def test_size_counts_every_instance_of_a_mesh(tmp_path: Path) -> None:
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
    with pytest.raises(ClipError, match="rest pose has a NaN or infinite vertex"):
        rest_vertices(_model(file, tmp_path))


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


def _normalized_cube(moved: float) -> np.ndarray:
    """A cube of side 1, at 0 and then `moved` along x, in the normalized frame."""
    frames = np.stack([CUBE.astype(np.float64), CUBE + np.array([moved, 0, 0])])
    turned = np.stack([frames[..., 0], -frames[..., 2], frames[..., 1]], axis=-1)
    return (turned - np.array([moved / 2, 0, 0])) / (1 + moved)


def _slide(file: GltfFile, node: int, keys: Any) -> None:
    file.animation("slide")
    file.channel(0, node, "translation", [0, 1], keys)


def _far_by_parent(file: GltfFile, offset: float) -> None:
    node = file.node(root=False, mesh=cube_mesh(file))
    file.node(children=[node], translation=[offset, -offset, offset])
    _slide(file, node, [[0, 0, 0], [0.3, 0, 0]])


def _far_by_chain(file: GltfFile, offset: float) -> None:
    """Ten parents that turn and turn back, each a tenth of the way."""
    node = file.node(root=False, mesh=cube_mesh(file))
    moving, turn = node, np.sin(np.pi / 8)
    for i in range(10):
        rotation = [0, 0, turn if i % 2 else -turn, np.cos(np.pi / 8)]
        node = file.node(root=i == 9, children=[node], translation=[offset / 10, 0, 0], rotation=rotation)
    _slide(file, moving, [[0, 0, 0], [0.3, 0, 0]])


def _far_by_matrix(file: GltfFile, offset: float) -> None:
    node = file.node(root=False, mesh=cube_mesh(file))
    file.node(children=[node], matrix=[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, offset, offset, 0, 1])
    _slide(file, node, [[0, 0, 0], [0.3, 0, 0]])


def _far_by_animation(file: GltfFile, offset: float) -> None:
    """The parent's animated translation is far off; its float32 keys hold whole numbers exactly."""
    node = file.node(root=False, mesh=cube_mesh(file))
    parent = file.node(children=[node])
    _slide(file, node, [[0, 0, 0], [0.3, 0, 0]])
    file.channel(0, parent, "translation", [0, 1], [[offset] * 3] * 2)


def _far_by_joint(file: GltfFile, offset: float) -> None:
    """Bound at the origin, and carried off by the joint's parent."""
    mesh = cube_mesh(file, joints=True)
    joint = file.node(root=False)
    file.node(children=[joint], translation=[offset, 0, -offset])
    file.node(mesh=mesh, skin=file.entry("skins", joints=[joint]))
    _slide(file, joint, [[0, 0, 0], [0.3, 0, 0]])


def _far_by_binding(file: GltfFile, offset: float) -> None:
    """A joint far off whose inverse bind matrix leads back, so that the mesh stays where it was modelled."""
    inverse = np.eye(4)
    inverse[3, 0] = -offset  # column-major
    mesh = cube_mesh(file, joints=True)
    joint = file.node(root=False)
    file.node(children=[joint], translation=[offset, 0, 0])
    skin = file.entry("skins", joints=[joint], inverseBindMatrices=file.accessor([inverse.ravel()], "MAT4"))
    file.node(mesh=mesh, skin=skin)
    _slide(file, joint, [[0, 0, 0], [0.3, 0, 0]])


def _far_by_morph(file: GltfFile, offset: float) -> None:
    """A morph target that carries the cube off by a whole number, and a second one that moves it."""
    mesh = cube_mesh(file)
    targets = [np.full((8, 3), offset), np.full((8, 3), [0.3, 0, 0])]
    file.json["meshes"][mesh]["primitives"][0]["targets"] = [{"POSITION": file.accessor(t, "VEC3")} for t in targets]
    node = file.node(mesh=mesh)
    file.animation()
    file.channel(0, node, "weights", [0, 1], [[1, 0], [1, 1]])


@pytest.mark.parametrize("offset", [1e5, 1e6, 1.3e7])
@pytest.mark.parametrize(
    "place",
    [
        _far_by_parent,
        _far_by_chain,
        _far_by_matrix,
        _far_by_animation,
        _far_by_joint,
        _far_by_binding,
        _far_by_morph,
    ],
)
def test_an_object_far_from_the_origin_is_not_distorted(
    tmp_path: Path, place: Callable[[GltfFile, float], None], offset: float
) -> None:
    file = GltfFile()
    place(file, offset)
    model = _model(file, tmp_path)
    mesh = bake_clip(model, model.animation(0), clip_times(model.animation(0), 2)).normalized()
    np.testing.assert_allclose(mesh.vertices, _normalized_cube(float(np.float32(0.3))), atol=1e-6)
    assert mesh.vertices[1, 0, 0] - mesh.vertices[0, 0, 0] == pytest.approx(3 / 13, abs=1e-6)
    assert mesh_sha256(rest_vertices(model), model.faces) == mesh_sha256(CUBE, CUBE_FACES)


@pytest.mark.parametrize("size", [1e7, 1e30, 1e-7, 1e-30])
def test_the_size_of_an_object_makes_no_difference(tmp_path: Path, size: float) -> None:
    file = GltfFile()
    node = file.node(root=False, mesh=cube_mesh(file))
    file.node(children=[node], scale=[size] * 3, translation=[1e3 * size, 0, 0])
    _slide(file, node, [[0, 0, 0], [0.3, 0, 0]])
    unit = _bake(file, tmp_path, 2).normalized().vertices
    np.testing.assert_allclose(unit, _normalized_cube(float(np.float32(0.3))), atol=1e-6)


def _volume(mesh: AnimatedMesh, frame: int = 0) -> float:
    """Signed volume by the divergence theorem: positive where faces run counter-clockwise seen from outside."""
    corners = (mesh.vertices[frame] - mesh.vertices[frame].mean(axis=0))[mesh.faces]
    return float(np.linalg.det(corners).sum() / 6.0)


@pytest.mark.parametrize("scale", [[-1, 1, 1], [1, -2, 1], [-1, -1, 1], [-1, -1, -1], [1, 1, 1]])
@pytest.mark.parametrize("holder", ["node", "parent", "matrix", "animation"])
def test_mirrored_nodes_keep_their_outer_side_outside(tmp_path: Path, scale: list[float], holder: str) -> None:
    file = GltfFile()
    node = file.node(root=False, mesh=cube_mesh(file))
    parent = file.node(children=[node])
    file.animation()
    file.channel(0, node, "translation", [0, 1], [[0, 0, 0], [1, 0, 0]])
    if holder == "animation":
        file.channel(0, node, "scale", [0, 1], [scale, scale])
    elif holder == "matrix":
        file.json["nodes"][parent]["matrix"] = np.diag([*scale, 1.0]).ravel().tolist()
    else:
        file.json["nodes"][node if holder == "node" else parent]["scale"] = scale
    mesh = _bake(file, tmp_path)
    assert _volume(mesh) == pytest.approx(abs(float(np.prod(scale))))
    assert mesh.normalized().faces is mesh.faces


def test_two_mirrors_cancel_and_only_mirrored_instances_change_their_winding(tmp_path: Path) -> None:
    file = GltfFile()
    mesh = cube_mesh(file)
    child = file.node(root=False, mesh=mesh, scale=[1, -1, 1])
    moving = file.node(children=[child], scale=[-1, 1, 1])
    file.node(mesh=mesh, scale=[-1, 1, 1], translation=[5, 0, 0])
    _slide(file, moving, [[0, 0, 0], [1, 0, 0]])
    faces = _bake(file, tmp_path).faces
    np.testing.assert_array_equal(faces[:12], CUBE_FACES)
    np.testing.assert_array_equal(faces[12:], CUBE_FACES[:, [0, 2, 1]] + 8)


@pytest.mark.parametrize(
    ("keys", "turned"), [([-1, -1, 1], True), ([1, 1, -1], False), ([-1, 0, 1], True), ([1, 0, -1], False)]
)
def test_a_temporary_mirror_counts_by_the_majority_of_frames_then_by_the_first(
    tmp_path: Path, keys: list[float], turned: bool
) -> None:
    file = GltfFile()
    node = file.node(mesh=cube_mesh(file))
    file.animation()
    file.channel(0, node, "scale", [0, 1, 2], [[key, 1, 1] for key in keys], "STEP")
    assert (_bake(file, tmp_path).faces[0].tolist() != CUBE_FACES[0].tolist()) == turned


@pytest.mark.parametrize(("mirrored", "bound"), [(True, False), (True, True), (False, False)])
def test_a_skin_changes_its_winding_where_its_joints_mirror_it_whatever_its_own_node_does(
    tmp_path: Path, mirrored: bool, bound: bool
) -> None:
    """bound: the mirror is part of the bind pose, so that the joint matrices do not mirror although the joint does."""
    file = GltfFile()
    mesh = cube_mesh(file, joints=True)
    joint = file.node(scale=[-1 if mirrored else 1, 1, 1])
    inverse = np.diag([-1.0 if bound else 1.0, 1, 1, 1])
    skin = file.entry("skins", joints=[joint], inverseBindMatrices=file.accessor([inverse.ravel()], "MAT4"))
    file.node(mesh=mesh, skin=skin, scale=[-1, 1, 1])
    _slide(file, joint, [[0, 0, 0], [1, 0, 0]])
    baked = _bake(file, tmp_path)
    assert _volume(baked) == pytest.approx(1.0)
    assert (baked.faces.tolist() == CUBE_FACES.tolist()) == (mirrored == bound)


def test_only_the_half_on_a_mirrored_joint_changes_its_winding(tmp_path: Path) -> None:
    """Two cubes in one mesh, each on a joint of its own."""
    file = GltfFile()
    joints = np.repeat([[0, 0, 0, 0], [1, 0, 0, 0]], 8, axis=0)
    mesh = file.triangle_mesh(
        np.concatenate([CUBE, CUBE + np.float32(3)]),
        indices=file.accessor(np.concatenate([CUBE_FACES, CUBE_FACES + 8]).ravel(), "SCALAR", "u2"),
        attributes={
            "JOINTS_0": file.accessor(joints, "VEC4", "u1"),
            "WEIGHTS_0": file.accessor([[1, 0, 0, 0]] * 16, "VEC4"),
        },
    )
    nodes = [file.node(scale=[factor, 1, 1]) for factor in (1, -1)]
    file.node(mesh=mesh, skin=file.entry("skins", joints=nodes))
    _slide(file, nodes[0], [[0, 0, 0], [1, 0, 0]])
    faces = _bake(file, tmp_path).faces
    np.testing.assert_array_equal(faces[:12], CUBE_FACES)
    np.testing.assert_array_equal(faces[12:], CUBE_FACES[:, [0, 2, 1]] + 8)


def test_joints_marked_as_normalized_are_still_indices(tmp_path: Path) -> None:
    """Read as fractions, every joint but number 255 would be joint 0."""
    file = skinned_strip()
    attributes = file.json["meshes"][0]["primitives"][0]["attributes"]
    for name in (attributes["JOINTS_0"], file.json["meshes"][0]["primitives"][0]["indices"]):
        file.json["accessors"][name]["normalized"] = True
    mesh = _bake(file, tmp_path)
    np.testing.assert_allclose(mesh.vertices[2, 2], [-0.5, 1.5, 0], atol=1e-6)
    assert mesh.faces.tolist() == [[0, 1, 2], [2, 1, 3]]


def test_weights_that_are_not_numbers_count_as_zero_with_a_warning(tmp_path: Path) -> None:
    """Vertex 1 has no weight left and follows the joint listed first; 2 keeps its other weight; 3 is off by rounding."""
    file = skinned_strip()
    primitive = file.json["meshes"][0]["primitives"][0]
    weights = [[1, 0, 0, 0], [np.nan] * 4, [np.inf, 0.5, 0, 0], [0.5, 0.5, -1e-6, 0]]
    primitive["attributes"]["WEIGHTS_0"] = file.accessor(weights, "VEC4")
    primitive["attributes"]["JOINTS_0"] = file.accessor(
        [[0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]], "VEC4", "u1"
    )
    model = _model(file, tmp_path)
    assert model.document.warnings == [
        "a.glb: meshes[0].primitives[0]: WEIGHTS_0 is NaN or infinite at 2 of 4 vertices; these weights count as zero.",
        "a.glb: meshes[0].primitives[0]: WEIGHTS_0 has negative joint weights down to -1e-06; they count as zero.",
    ]
    mesh = bake_clip(model, model.animation(0), np.array([1.0]))
    # Joint 1 takes (1, 0) to (1, 2) and (0, 2) to (-1, 1); half way between (1, 2) and (-1, 2) is (0, 2).
    np.testing.assert_allclose(mesh.vertices[0], [[0, 0, 0], [1, 2, 0], [-1, 1, 0], [0, 2, 0]], atol=1e-6)


def test_negative_weights_are_refused(tmp_path: Path) -> None:
    file = skinned_strip()
    attributes = file.json["meshes"][0]["primitives"][0]["attributes"]
    attributes["WEIGHTS_0"] = file.accessor([[1.5, -0.5, 0, 0]] * 4, "VEC4")
    with pytest.raises(ClipError, match=r"primitives\[0\]: WEIGHTS_0 has a negative joint weight \(-0.5\)"):
        _model(file, tmp_path)


def test_normals_of_a_skin_turn_with_its_joints(tmp_path: Path) -> None:
    """After one second the upper joint has turned by 90 degrees about z; the far-away mesh node does not count."""
    model = _model(skinned_strip(), tmp_path)
    pose = model.animation(0).poses(np.array([1.0]))
    normals = np.array([[0.6, 0.8, 0.0]] * 4)
    found = posed_normals(model, model.parts[0], pose, normals)
    np.testing.assert_allclose(found[:2], normals[:2], atol=1e-9)
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    blended = np.linalg.inv((np.eye(3) + quarter) / 2.0).T @ normals[0]
    np.testing.assert_allclose(found[2], blended / np.linalg.norm(blended), atol=1e-9)


def test_normals_of_a_scaled_and_mirrored_node(tmp_path: Path) -> None:
    file = GltfFile()
    file.node(mesh=file.triangle_mesh(), scale=[-1, 2, 0.5])
    model = _model(file, tmp_path)
    normals = np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0], [0.0, 0.6, -0.8]])
    expected = normals * (-1.0, 0.5, 2.0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(posed_normals(model, model.parts[0], {}, normals), expected, atol=1e-9)


def test_the_rest_pose_is_a_mesh_of_one_frame(tmp_path: Path) -> None:
    """Nodes keep the file's transforms, whatever an animation does; a mirrored face keeps its front."""
    file = GltfFile()
    node = file.node(mesh=cube_mesh(file), scale=[-2, 2, 2])
    file.animation()
    file.channel(0, node, "scale", [0, 1], [[9, 9, 9], [5, 5, 5]])
    mesh = bake_rest(_model(file, tmp_path))
    assert mesh.vertices.shape == (1, 8, 3)
    np.testing.assert_array_equal(mesh.vertices[0], CUBE * (-2, 2, 2))
    np.testing.assert_array_equal(mesh.faces, CUBE_FACES[:, [0, 2, 1]])


def test_large_textures_are_scaled_down_while_reading(tmp_path: Path) -> None:
    file = GltfFile()
    material = file.entry(
        "materials", pbrMetallicRoughness={"baseColorTexture": {"index": file.image(np.zeros((8, 4, 3)))}}
    )
    file.node(mesh=file.triangle_mesh(material=material))
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    assert load_model(document).textures[0].shape == (8, 4, 4)
    assert load_model(document, max_texture_size=2).textures[0].shape == (2, 1, 4)
