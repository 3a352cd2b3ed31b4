"""Command bake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gvf.cli.bake import command
from gvf.data.gltf.document import read_gltf
from gvf.errors import UserError
from tests.data.gltf.gltf_files import TRIANGLE, GltfFile, sliding_triangle
from tests.data.gltf.test_gltf_draco import compressed


def _run(*arguments: str | Path) -> None:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def _two_clips(path: Path) -> Path:
    file = sliding_triangle("first")
    file.animation("second")
    file.channel(1, 0, "translation", [1, 3], [[0, 0, 0], [0, 6, 0]])
    return file.glb(path)


def test_raw_keeps_units_and_axes(tmp_path: Path) -> None:
    _run(_two_clips(tmp_path / "a.glb"), "--clip", "second", "--frames", "3", "-o", tmp_path / "out.npz", "--raw")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as baked:
        assert sorted(baked.files) == ["faces", "vertices"]
        assert baked["vertices"].dtype == np.float32
        assert baked["faces"].dtype == np.int32
        assert baked["faces"].tolist() == [[0, 1, 2]]
        expected = [TRIANGLE + np.array([0, height, 0]) for height in (0, 3, 6)]
        np.testing.assert_allclose(baked["vertices"], expected, atol=1e-6)


def test_otherwise_z_is_up_in_the_unit_box(tmp_path: Path) -> None:
    _run(_two_clips(tmp_path / "a.glb"), "--clip", "second", "--frames", "2", "-o", tmp_path / "out.npz")
    vertices = np.load(tmp_path / "out.npz")["vertices"]
    np.testing.assert_allclose(vertices[0, 0], [-0.5 / 7, 0, -0.5], atol=1e-6)
    np.testing.assert_allclose(vertices[1, 2], [-0.5 / 7, 0, 0.5], atol=1e-6)


@pytest.mark.parametrize(
    ("offset", "kept"), [(0.0, np.float32), (5.0, np.float32), (1e5, np.float64), (1.3e7, np.float64)]
)
def test_raw_vertices_far_from_the_origin_keep_their_digits(tmp_path: Path, offset: float, kept: type) -> None:
    file = sliding_triangle(distance=0.3)
    file.json["nodes"].append({"children": [0], "translation": [offset, 0, 0]})
    file.json["scenes"][0]["nodes"] = [1]
    _run(file.glb(tmp_path / "a.glb"), "--frames", "2", "-o", tmp_path / "out.npz", "--raw")
    vertices = np.load(tmp_path / "out.npz")["vertices"]
    assert vertices.dtype == kept
    np.testing.assert_allclose(vertices[1] - [offset, 0, 0], TRIANGLE + np.array([0.3, 0, 0]), atol=1e-6)
    _run(tmp_path / "a.glb", "--frames", "2", "-o", tmp_path / "out.npz")
    assert np.load(tmp_path / "out.npz")["vertices"].dtype == np.float32


def test_a_mirrored_and_a_compressed_clip_bake_with_their_outer_side_outside(tmp_path: Path) -> None:
    for name, scale in (("plain", [1, 1, 1]), ("mirrored", [1, 1, -1])):
        file = compressed()
        file.json["nodes"][0]["scale"] = scale
        _run(file.glb(tmp_path / f"{name}.glb"), "--frames", "2", "-o", tmp_path / "out.npz", "--raw")
        with np.load(tmp_path / "out.npz") as baked:
            corners = baked["vertices"][0][baked["faces"]]
        assert np.linalg.det(corners.astype(np.float64)).sum() / 6 == pytest.approx(1.0, abs=1e-4), name


def test_the_only_clip_needs_no_name(tmp_path: Path) -> None:
    path = sliding_triangle().glb(tmp_path / "a.glb")
    _run(path, "--frames", "2", "-o", tmp_path / "out.npz", "--raw")
    assert np.load(tmp_path / "out.npz")["vertices"][1, 0, 0] == 1.0


def test_clips_are_named_as_they_are_listed_or_as_the_file_has_them(tmp_path: Path) -> None:
    name = "run\t\tfast " + "very " * 60
    file = sliding_triangle(name)
    file.animation("second")
    file.channel(1, 0, "translation", [1, 3], [[0, 0, 0], [0, 6, 0]])
    path = file.glb(tmp_path / "a.glb")
    for clip in (name, read_gltf(path).animation_names[0]):
        _run(path, "--clip", clip, "--frames", "2", "-o", tmp_path / "out.npz", "--raw")
        assert np.load(tmp_path / "out.npz")["vertices"][1, 0].tolist() == [1, 0, 0]


def _refused(words: str, *arguments: str | Path) -> None:
    with pytest.raises(UserError, match=words):
        CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def test_a_wrong_or_missing_name_lists_the_clips(tmp_path: Path) -> None:
    path, rest = _two_clips(tmp_path / "a.glb"), ("--frames", "2", "-o", tmp_path / "out.npz")
    _refused("has 2 animations. Choose one with --clip: first, second", path, *rest)
    _refused("has no animation 'third'. It has: first, second", path, "--clip", "third", *rest)
    still = GltfFile()
    still.node(mesh=still.triangle_mesh())
    _refused("has no animation", still.glb(tmp_path / "b.glb"), *rest)
    twins = sliding_triangle("same")
    twins.json["animations"] *= 2
    _refused("2 animations are named 'same'", twins.glb(tmp_path / "c.glb"), "--clip", "same", *rest)
    assert not (tmp_path / "out.npz").exists()


def test_a_broken_file_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "a.glb").write_bytes(b"glTF")
    _refused("a.glb: is not a GLB", tmp_path / "a.glb", "--frames", "2", "-o", tmp_path / "out.npz")
    hidden = sliding_triangle()
    hidden.json["extensionsUsed"] = ["EXT_meshopt_compression"]
    del hidden.json["accessors"][0]["bufferView"]
    _refused("EXT_meshopt_compression", hidden.glb(tmp_path / "b.glb"), "--frames", "2", "-o", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()
    _refused("absent.glb: cannot be read", tmp_path / "absent.glb", "--frames", "2", "-o", tmp_path / "out.npz")


def test_baking_needs_no_torch() -> None:
    code = "import sys, gvf.cli.bake; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
