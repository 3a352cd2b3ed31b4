"""Animation samplers agree with values computed by hand and with SciPy's interpolators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline
from scipy.spatial.transform import Rotation, Slerp

from gvf.data.gltf.animation import Animation, read_animation, sample_cubic, sample_linear, sample_slerp, sample_step
from gvf.data.gltf.document import read_gltf
from gvf.data.gltf.geometry import target_counts
from gvf.data.gltf.scene import read_nodes
from gvf.errors import ClipError
from tests.data.gltf.gltf_files import TRIANGLE, GltfFile


def _read(file: GltfFile, path: Path) -> Animation:
    document = read_gltf(file.glb(path))
    return read_animation(document, 0, read_nodes(document), target_counts(document))


def test_step_keeps_the_value_of_the_last_keyframe() -> None:
    times, values = np.array([0.0, 1.0, 3.0]), np.array([[1.0], [2.0], [3.0]])
    at = np.array([-1.0, 0.0, 0.999, 1.0, 2.9, 3.0, 9.0])
    assert sample_step(times, values, at).ravel().tolist() == [1, 1, 1, 2, 2, 3, 3]


def test_step_uses_a_keyframe_that_rounding_moved_just_after_the_time() -> None:
    times = (np.arange(31, dtype=np.float32) / np.float32(30)).astype(np.float64)
    at = np.linspace(times[0], times[-1], 31)
    assert (at < times).any()
    assert sample_step(times, np.arange(31.0)[:, None], at).ravel().tolist() == list(range(31))


def test_linear_interpolates_and_holds_the_ends() -> None:
    times, values = np.array([1.0, 2.0, 4.0]), np.array([[0.0, 0.0], [1.0, -2.0], [3.0, 2.0]])
    at = np.array([0.0, 1.5, 3.0, 4.0, 5.0])
    assert sample_linear(times, values, at).tolist() == [[0, 0], [0.5, -1], [2, 0], [3, 2], [3, 2]]


def test_slerp_by_hand() -> None:
    """A third of a quarter turn about z is 30 degrees."""
    half = np.sqrt(0.5)
    turned = sample_slerp(np.array([0.0, 3.0]), np.array([[0, 0, 0, 1], [0, 0, half, half]]), np.array([1.0]))
    np.testing.assert_allclose(turned, [[0, 0, np.sin(np.pi / 12), np.cos(np.pi / 12)]], atol=1e-12)


def test_slerp_takes_the_shorter_arc() -> None:
    """The same rotation written with the opposite sign must not rotate the object the long way around."""
    near = np.array([0, 0, np.sin(0.1), np.cos(0.1)])
    keys = np.array([[0, 0, 0, 1.0], -near])
    turned = sample_slerp(np.array([0.0, 1.0]), keys, np.array([0.5]))
    np.testing.assert_allclose(np.abs(turned @ [0, 0, np.sin(0.05), np.cos(0.05)]), 1.0, atol=1e-12)


def test_slerp_matches_scipy() -> None:
    generator = np.random.default_rng(1)
    times, keys = np.cumsum(generator.random(8) + 0.1), generator.normal(size=(8, 4)) * 3.0
    keys[4] = keys[3]  # a segment of no angle
    at = np.linspace(times[0], times[-1], 50)
    expected = Slerp(times, Rotation.from_quat(keys))(at).as_quat()
    cosines = np.abs((sample_slerp(times, keys, at) * expected).sum(-1))
    np.testing.assert_allclose(cosines, 1.0, atol=1e-10)


def test_cubic_by_hand() -> None:
    """From 0 with slope 1 to 1 with slope 0 over 2 s, at half: h00*0 + 2*h10*1 + h01*1 + 2*h11*0 = 0.25 + 0.5."""
    values = np.array([[[9.0], [0.0], [1.0]], [[0.0], [1.0], [9.0]]])
    assert sample_cubic(np.array([0.0, 2.0]), values, np.array([1.0])).tolist() == [[0.75]]


def test_cubic_matches_scipy_where_tangents_agree() -> None:
    generator = np.random.default_rng(2)
    times, values, slopes = (
        np.cumsum(generator.random(6) + 0.1),
        generator.normal(size=(6, 3)),
        generator.normal(size=(6, 3)),
    )
    at = np.linspace(times[0], times[-1], 40)
    ours = sample_cubic(times, np.stack([slopes, values, slopes], axis=1), at)
    np.testing.assert_allclose(ours, CubicHermiteSpline(times, values, slopes)(at), atol=1e-12)


def test_cubic_rotations_are_scaled_to_unit_length(tmp_path: Path) -> None:
    file = GltfFile()
    node = file.node()
    keys = [[[0] * 4, [0, 0, 0, 1], [0, 0, 2, 0]], [[0] * 4, [0, 0, 1, 0], [0] * 4]]
    file.animation()
    file.channel(0, node, "rotation", [0, 1], np.reshape(keys, (-1, 4)), "CUBICSPLINE")
    rotation = _read(file, tmp_path / "a.glb").poses(np.array([0.5]))[node].rotation
    assert rotation is not None
    raw = np.array([0, 0, 0.125 * 2 + 0.5, 0.5])
    np.testing.assert_allclose(rotation, [raw / np.linalg.norm(raw)], atol=1e-7)


@pytest.mark.parametrize("mode", ["LINEAR", "STEP", "CUBICSPLINE"])
def test_weights_have_one_value_per_target_at_each_keyframe(tmp_path: Path, mode: str) -> None:
    file = GltfFile()
    node = file.node(mesh=file.triangle_mesh(targets=[TRIANGLE, TRIANGLE]))
    keys = np.array([[0.0, 1.0], [1.0, 0.5]])
    values = np.stack([np.zeros((2, 2)), keys, np.zeros((2, 2))], axis=1) if mode == "CUBICSPLINE" else keys
    file.animation()
    file.channel(0, node, "weights", [0, 2], values.ravel(), mode)
    weights = _read(file, tmp_path / "a.glb").poses(np.array([0.0, 1.0, 2.0]))[node].weights
    middle = [0.0, 1.0] if mode == "STEP" else [0.5, 0.75]
    np.testing.assert_allclose(weights, [[0, 1], middle, [1, 0.5]], atol=1e-7)


def test_a_clip_lasts_from_its_first_key_to_its_last(tmp_path: Path) -> None:
    file = GltfFile()
    node = file.node()
    file.animation("both")
    file.channel(0, node, "translation", [0.5, 2], np.zeros((2, 3)))
    file.channel(0, node, "scale", [0.25, 1.5, 3], np.ones((3, 3)))
    animation = _read(file, tmp_path / "a.glb")
    assert (animation.name, animation.start, animation.end) == ("both", 0.25, 3.0)


def test_channels_without_a_node_or_of_unknown_kind_are_left_out(tmp_path: Path) -> None:
    file = GltfFile()
    node = file.node()
    file.animation()
    file.channel(0, node, "translation", [0, 1], np.zeros((2, 3)))
    file.channel(0, node, "pointer", [0, 9], np.zeros((2, 3)))
    file.channel(0, node, "scale", [0, 9], np.zeros((2, 3)))
    del file.json["animations"][0]["channels"][2]["target"]["node"]
    animation = _read(file, tmp_path / "a.glb")
    assert [channel.path for channel in animation.channels] == ["translation"]
    assert (animation.name, animation.end) == ("animation_0", 1.0)


@pytest.mark.parametrize(
    ("times", "values", "words"),
    [
        ([0, 0], np.zeros((2, 3)), "do not increase"),
        ([1, 0], np.zeros((2, 3)), "do not increase"),
        ([0, 1], np.zeros((3, 3)), "has 3 values for 2 keys, must have 2"),
        ([0, 1], [[0, 0, 0], [0, np.nan, 0]], "NaN or infinite"),
        ([0, np.inf], np.zeros((2, 3)), "NaN or infinite"),
    ],
)
def test_broken_channels_are_refused(tmp_path: Path, times: Any, values: Any, words: str) -> None:
    file = GltfFile()
    node = file.node()
    file.animation()
    file.channel(0, node, "translation", times, values)
    with pytest.raises(ClipError, match=words):
        _read(file, tmp_path / "a.glb")


def test_an_animation_that_moves_nothing_or_one_thing_twice_is_refused(tmp_path: Path) -> None:
    file = GltfFile()
    node = file.node()
    file.animation("none")
    with pytest.raises(ClipError, match="'none' has no channel"):
        _read(file, tmp_path / "a.glb")
    for _ in range(2):
        file.channel(0, node, "translation", [0, 1], np.zeros((2, 3)))
    with pytest.raises(ClipError, match="a second time"):
        _read(file, tmp_path / "a.glb")


def test_an_animated_node_with_a_matrix_is_decomposed_with_a_warning(tmp_path: Path) -> None:
    file = GltfFile()
    sheared = np.eye(4)
    sheared[0, 1] = 0.5
    for matrix in (np.diag([2.0, 2, 2, 1]), sheared):
        file.node(matrix=matrix.T.ravel().tolist())
    file.animation()
    for node in range(2):
        file.channel(0, node, "translation", [0, 1], [[0, 0, 0], [1, 0, 0]])
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    tree = read_nodes(document)
    poses = read_animation(document, 0, tree, {}).poses(np.array([1.0]))
    np.testing.assert_allclose(
        tree.world_matrices([0], poses)[0][0], [[2, 0, 0, 1], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]
    )
    assert [warning.partition(" is ")[2] for warning in document.warnings] == [
        "animated and has a matrix, which is not allowed; it is decomposed.",
        "animated and has a matrix, which is not allowed; it is decomposed, which loses its shear.",
    ]


@pytest.mark.parametrize(("number", "meant"), [(0, "LINEAR"), (0.0, "LINEAR"), (1, "STEP"), (2, "CUBICSPLINE")])
def test_an_interpolation_given_as_a_number_is_an_index_into_the_list(
    tmp_path: Path, number: float, meant: str
) -> None:
    file = GltfFile()
    node = file.node()
    file.animation()
    keys = np.zeros((6 if meant == "CUBICSPLINE" else 2, 3))
    file.channel(0, node, "translation", [0, 1], keys)
    file.json["animations"][0]["samplers"][0]["interpolation"] = number
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    (channel,) = read_animation(document, 0, read_nodes(document), {}).channels
    assert channel.interpolation == meant
    assert f"interpolation is the number {number}, must be text; read as {meant}." in document.warnings[0]


@pytest.mark.parametrize("value", [3, -1, 0.5, True, "linear", [0]])
def test_an_interpolation_that_does_not_exist_is_refused(tmp_path: Path, value: Any) -> None:
    file = GltfFile()
    node = file.node()
    file.animation()
    file.channel(0, node, "translation", [0, 1], np.zeros((2, 3)))
    file.json["animations"][0]["samplers"][0]["interpolation"] = value
    with pytest.raises(ClipError, match="interpolation"):
        _read(file, tmp_path / "a.glb")
