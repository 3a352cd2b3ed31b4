"""The node hierarchy and its transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gvf.data.gltf.document import read_gltf
from gvf.data.gltf.scene import NodePose, NodeTree, decompose, read_nodes, rotation_matrices, unit_quaternions
from gvf.errors import ClipError
from tests.data.gltf.gltf_files import GltfFile


def _tree(tmp_path: Path, nodes: list[dict[str, Any]], roots: list[int], **top: Any) -> NodeTree:
    file = GltfFile()
    file.json |= {"nodes": nodes, "scenes": [{"nodes": roots}], **top}
    file.triangle_mesh()
    return read_nodes(read_gltf(file.glb(tmp_path / "a.glb")))


def _transform(translation: Any, quaternion: Any, scale: Any) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat(quaternion).as_matrix() @ np.diag(scale)
    matrix[:3, 3] = translation
    return matrix


def test_world_transform_is_the_product_down_the_tree(tmp_path: Path) -> None:
    first = {"translation": [1, 2, 3], "rotation": [0.5, 0.5, 0.5, 0.5], "scale": [1, 2, 1]}
    second = {"translation": [0, 1, 0], "rotation": [0, 0.6, 0, 0.8], "scale": [1, 1, 3]}
    matrix = _transform([4, 0, 0], [0.6, 0, 0, 0.8], [2, 2, 2])
    nodes = [{**first, "children": [1]}, {"matrix": matrix.T.ravel().tolist(), "children": [2]}, {**second, "mesh": 0}]
    tree = _tree(tmp_path, nodes, [0])
    assert tree.mesh_nodes == (2,)
    expected = _transform(*first.values()) @ matrix @ _transform(*second.values())
    np.testing.assert_allclose(tree.world_matrices([2], {})[2], expected[None], atol=1e-12)


def test_a_pose_replaces_its_part_of_the_local_transform_only(tmp_path: Path) -> None:
    tree = _tree(tmp_path, [{"translation": [1, 0, 0], "scale": [2, 2, 2], "children": [1]}, {"mesh": 0}], [0])
    turns = unit_quaternions(np.array([[0, 0, 0, 1.0], [0, 0, 1, 1]]))
    worlds = tree.world_matrices([1], {0: NodePose(rotation=turns)})[1]
    expected = np.stack([_transform([1, 0, 0], turn, [2, 2, 2]) for turn in turns])
    np.testing.assert_allclose(worlds, expected, atol=1e-12)


def test_rotation_matrices_match_an_independent_library() -> None:
    quaternions = np.random.default_rng(0).normal(size=(20, 4))
    matrices = rotation_matrices(unit_quaternions(quaternions))
    np.testing.assert_allclose(matrices, Rotation.from_quat(quaternions).as_matrix(), atol=1e-12)


def test_only_the_default_scene_counts_in_depth_first_order(tmp_path: Path) -> None:
    nodes = [{"mesh": 0}, {"children": [3, 2]}, {"mesh": 0}, {"mesh": 0, "children": [4]}, {"mesh": 0}, {"mesh": 0}]
    scenes = [{"nodes": [0]}, {"nodes": [5, 1]}]
    assert _tree(tmp_path, nodes, [], scenes=scenes, scene=1).mesh_nodes == (5, 3, 4, 2)
    file = GltfFile()
    del file.json["scenes"], file.json["scene"]
    file.json["nodes"] = [{"children": [1]}, {"mesh": file.triangle_mesh()}]
    assert read_nodes(read_gltf(file.glb(tmp_path / "b.glb"))).mesh_nodes == (1,)


@pytest.mark.parametrize(
    ("nodes", "roots", "words"),
    [
        ([{"children": [1]}, {"children": [2]}, {"children": [1]}], [0], "child of nodes 0 and 2"),
        ([{}, {"children": [2]}, {"children": [1]}], [0], "part of a cycle"),
        ([{"children": [0]}], [0], "its own child"),
        ([{"children": [1]}, {}], [0, 1], "child of node 0"),
    ],
)
def test_graphs_that_are_not_trees_are_refused(
    tmp_path: Path, nodes: list[dict[str, Any]], roots: list[int], words: str
) -> None:
    with pytest.raises(ClipError, match=words):
        _tree(tmp_path, nodes, roots)


@pytest.mark.parametrize(
    ("matrix", "expected", "used"),
    [
        (np.diag([2.0, 2, 2, 1]), np.diag([2.0, 2, 2, 1]), "the matrix is"),
        (np.eye(4), _transform([1, 2, 3], [0, 0, 0, 1], [1, 1, 1]), "translation, rotation and scale are"),
    ],
)
def test_an_identity_matrix_yields_to_translation_rotation_and_scale(
    tmp_path: Path, matrix: np.ndarray, expected: np.ndarray, used: str
) -> None:
    file = GltfFile()
    node = file.node(mesh=file.triangle_mesh(), matrix=matrix.T.ravel().tolist(), translation=[1, 2, 3])
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    np.testing.assert_array_equal(read_nodes(document).world_matrices([node], {})[node][0], expected)
    assert f"{used} used" in document.warnings[0]


def test_the_last_row_of_a_matrix_is_that_of_an_affine_one(tmp_path: Path) -> None:
    tree = _tree(tmp_path, [{"matrix": [1, 0, 0, 9, 0, 1, 0, 9, 0, 0, 1, 9, 5, 6, 7, 0], "mesh": 0}], [0])
    expected = _transform([5, 6, 7], [0, 0, 0, 1], [1, 1, 1])
    np.testing.assert_array_equal(tree.world_matrices([0], {})[0][0], expected)


def test_decomposed_matrices_are_the_product_of_their_parts() -> None:
    generator = np.random.default_rng(3)
    for signs in np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T:
        scale = signs * generator.uniform(0.1, 5.0, 3)
        matrix = _transform(generator.normal(size=3), generator.normal(size=4), scale)
        translation, rotation, found, shear = decompose(matrix)
        np.testing.assert_allclose(_transform(translation, rotation, found), matrix, atol=1e-12)
        np.testing.assert_allclose(np.abs(found), np.abs(scale), atol=1e-12)
        assert np.sign(found.prod()) == signs.prod()
        assert shear < 1e-12


@pytest.mark.parametrize(
    "scale", [[0, 1, 1], [0, -1, 2], [0, 0, 3], [0, 0, 0], [1e300, 1, 1e-300], [1e-200, 1e-200, -1e-200]]
)
def test_degenerate_matrices_decompose_too(scale: list[float]) -> None:
    translation, rotation, found, shear = decompose(np.diag([*scale, 1.0]))
    np.testing.assert_allclose(_transform(translation, rotation, found), np.diag([*scale, 1.0]), rtol=1e-12)
    assert shear == pytest.approx(0.0, abs=1e-12)


def test_shear_is_measured_and_lost() -> None:
    """Columns at 60 degrees: the nearest rotation is 15 degrees from either, and a chord of 15 degrees is 0.2611."""
    matrix = np.eye(4)
    matrix[:2, 1] = np.cos(np.pi / 3), np.sin(np.pi / 3)
    _, rotation, scale, shear = decompose(matrix)
    np.testing.assert_allclose(scale, 1.0)
    np.testing.assert_allclose(rotation, [0, 0, -np.sin(np.pi / 24), np.cos(np.pi / 24)], atol=1e-12)
    assert shear == pytest.approx(2 * np.sin(np.pi / 24))


def test_a_pose_replaces_one_part_of_a_matrix(tmp_path: Path) -> None:
    """A mirrored, scaled and turned node: animating its translation must keep the rest; weights alone keep the matrix."""
    matrix = _transform([1, 2, 3], [0.5, 0.5, 0.5, 0.5], [-2, 3, 4])
    tree = _tree(tmp_path, [{"matrix": matrix.T.ravel().tolist(), "mesh": 0}], [0])
    moved = tree.world_matrices([0], {0: NodePose(translation=np.array([[1.0, 2, 3], [7, 8, 9]]))})[0]
    np.testing.assert_allclose(moved[0], matrix, atol=1e-12)
    np.testing.assert_allclose(moved[1], _transform([7, 8, 9], [0.5, 0.5, 0.5, 0.5], [-2, 3, 4]), atol=1e-12)
    still = tree.world_matrices([0], {0: NodePose(weights=np.ones((2, 1)))})[0]
    np.testing.assert_array_equal(still, matrix[None])


def test_a_deep_hierarchy_needs_no_deep_stack(tmp_path: Path) -> None:
    nodes = [{"translation": [1, 0, 0], "children": [i + 1]} for i in range(5000)] + [{"mesh": 0}]
    tree = _tree(tmp_path, nodes, [0])
    assert tree.world_matrices(tree.mesh_nodes, {})[5000][0, 0, 3] == 5000.0


def test_a_quaternion_of_length_zero_is_the_identity() -> None:
    np.testing.assert_array_equal(unit_quaternions(np.zeros((2, 4))), [[0, 0, 0, 1]] * 2)
