"""The reader of containers, buffers and accessors."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gvf.data.gltf.baking import bake_clip, clip_times, load_model
from gvf.data.gltf.document import read_gltf
from gvf.errors import ClipError
from tests.data.gltf.gltf_files import GltfFile, skinned_strip, sliding_triangle


@pytest.mark.parametrize(
    ("component", "stored", "expected"),
    [
        ("i1", [-128, -127, 0, 127], [-1.0, -1.0, 0.0, 1.0]),
        ("u1", [0, 51, 255], [0.0, 0.2, 1.0]),
        ("i2", [-32768, -32767, 32767], [-1.0, -1.0, 1.0]),
        ("u2", [0, 13107, 65535], [0.0, 0.2, 1.0]),
    ],
)
def test_normalized_components(tmp_path: Path, component: str, stored: list[int], expected: list[float]) -> None:
    file = GltfFile()
    plain, normal = (file.accessor(stored, "SCALAR", component, normalized=flag) for flag in (False, True))
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    assert document.numbers(plain, "SCALAR").tolist() == document.array(normal).tolist() == stored
    np.testing.assert_allclose(document.numbers(normal, "SCALAR"), expected, atol=1e-15)


def test_large_unsigned_and_float_components(tmp_path: Path) -> None:
    file = GltfFile()
    whole, real = file.accessor([0, 4294967295], "SCALAR", "u4"), file.accessor([[1.5, -2.0]], "VEC2")
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    assert document.integers(whole, "SCALAR").tolist() == [0, 4294967295]
    assert document.floats(real, "VEC2").tolist() == [[1.5, -2.0]]


def test_interleaved_attributes_are_read_with_their_stride_and_offset(tmp_path: Path) -> None:
    file = GltfFile()
    record = np.zeros(3, [("position", "<f4", 3), ("joint", "<u2", 4), ("rest", "V4")])
    record["position"], record["joint"] = np.arange(9).reshape(3, 3), np.arange(12).reshape(3, 4)
    view = file.view(b"head" + record.tobytes(), byteStride=record.itemsize)
    position = file.entry("accessors", bufferView=view, byteOffset=4, count=3, type="VEC3", componentType=5126)
    joint = file.entry("accessors", bufferView=view, byteOffset=16, count=3, type="VEC4", componentType=5123)
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    np.testing.assert_array_equal(document.array(position), record["position"])
    np.testing.assert_array_equal(document.array(joint), record["joint"])


@pytest.mark.parametrize("base", [True, False])
def test_sparse_values_replace_the_base_or_zeros(tmp_path: Path, base: bool) -> None:
    file = GltfFile()
    sparse = {
        "count": 2,
        "indices": {"bufferView": file.view(bytes([1, 3])), "componentType": 5121},
        "values": {"bufferView": file.view(np.array([[1, 2], [3, 4]], "<f4").tobytes())},
    }
    if base:
        accessor = file.accessor(np.full((4, 2), 9), "VEC2", sparse=sparse)
    else:
        accessor = file.entry("accessors", count=4, type="VEC2", componentType=5126, sparse=sparse)
    rest = [9.0, 9.0] if base else [0.0, 0.0]
    assert read_gltf(file.glb(tmp_path / "a.glb")).array(accessor).tolist() == [rest, [1, 2], rest, [3, 4]]


def test_matrices_are_column_major_with_padded_columns(tmp_path: Path) -> None:
    file = GltfFile()
    small = file.view(bytes([1, 2, 0, 0, 3, 4, 0, 0]))
    packed = file.entry("accessors", bufferView=small, count=1, type="MAT2", componentType=5121)
    large = file.accessor(np.arange(16).reshape(1, 16), "MAT4")
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    assert document.array(packed).tolist() == [[[1, 3], [2, 4]]]
    np.testing.assert_array_equal(document.array(large)[0], np.arange(16).reshape(4, 4).T)


def test_all_containers_give_the_same_content(tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    paths = [
        skinned_strip().glb(tmp_path / "a.glb"),
        skinned_strip().gltf(tmp_path / "a.gltf", embedded=True),
        skinned_strip().gltf(beside / "a.gltf", embedded=False),
    ]
    baked = []
    for path in paths:
        model = load_model(read_gltf(path))
        animation = model.animation(0)
        baked.append(bake_clip(model, animation, clip_times(animation, 3)).vertices)
    np.testing.assert_array_equal(baked[0], baked[1])
    np.testing.assert_array_equal(baked[0], baked[2])
    assert read_gltf(paths[2]).side_files == [beside / "buffer data.bin"]


def _load(path: Path) -> None:
    model = load_model(read_gltf(path))
    for index in range(len(model.document.animations)):
        animation = model.animation(index)
        bake_clip(model, animation, clip_times(animation, 2)).normalized()


def _refused(path: Path, words: str) -> None:
    with pytest.raises(ClipError, match=words) as caught:
        _load(path)
    assert caught.value.reason == "invalid"


def test_broken_containers_are_refused_with_the_reason(tmp_path: Path) -> None:
    whole = sliding_triangle().glb(tmp_path / "whole.glb").read_bytes()
    broken = {
        "is empty": b"",
        "does not begin with 'glTF'": b"hello, this is no mesh",
        "cut short": whole[: len(whole) // 2],
        "container of version 1": whole[:4] + b"\1\0\0\0" + whole[8:],
        "JSON cannot be read": whole.replace(b'{"asset"', b'{asset"x'),
        "chunk reaches beyond": whole[:12] + b"\xff\xff\0\0" + whole[16:],
        "has no JSON chunk": whole[:16] + b"XXXX" + whole[20:],
    }
    for words, data in broken.items():
        path = tmp_path / "broken.glb"
        path.write_bytes(data)
        _refused(path, words)
    _refused(tmp_path / "absent.glb", "cannot be read")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"asset": {"version": "1.0"}}, "version 1.0"),
        ({"asset": {}}, "version is missing"),
        ({"extensionsRequired": ["KHR_meshopt_compression"]}, "needs KHR_meshopt_compression"),
        ({"extensionsRequired": ["EXT_meshopt_compression"]}, "needs EXT_meshopt_compression"),
        ({"meshes": [{"primitives": []}]}, "at least one entry"),
        ({"meshes": [{"primitives": [{"attributes": {"POSITION": 99}}]}]}, "POSITION is 99"),
        ({"nodes": [{"mesh": "0"}]}, "whole number"),
        ({"nodes": [{"mesh": 0, "translation": [1, 2]}]}, "must have 3 numbers"),
        ({"nodes": [{"mesh": 0, "translation": 5}]}, "list of finite numbers"),
        ({"scene": 3}, "only 1 of them"),
        ({"nodes": [{}]}, "no triangles"),
        ({"bufferViews": [{"buffer": 0, "byteLength": 10**6}]}, "its buffer has"),
    ],
)
def test_broken_json_is_refused_at_its_place(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    file = sliding_triangle()
    file.json.update(change)
    _refused(file.glb(tmp_path / "a.glb"), words)


def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path) -> None:
    for text, words in (("NaN", "NaN is not JSON"), ("1e999", "finite")):
        path = sliding_triangle().gltf(tmp_path / "a.gltf", embedded=True)
        path.write_text(path.read_text().replace('{"mesh": 0}', f'{{"mesh": 0, "translation": [0, 0, {text}]}}'))
        _refused(path, words)


def test_missing_and_unsafe_side_files_are_refused(tmp_path: Path) -> None:
    path = sliding_triangle().gltf(tmp_path / "a.gltf", embedded=False)
    (tmp_path / "buffer data.bin").write_bytes(b"short")
    _refused(path, "should have .* bytes, but has 5")
    (tmp_path / "buffer data.bin").unlink()
    _refused(path, "cannot read its file 'buffer%20data.bin'")
    for uri in ("../a.bin", "/etc/hosts", "file:///etc/hosts", "https://example.org/a.bin", "C:%5Ca.bin", "%2E%2E/a"):
        path.write_text(path.read_text().replace("buffer%20data.bin", uri))
        _refused(path, "is not a file in the folder")
        path.write_text(path.read_text().replace(uri, "buffer%20data.bin"))


def test_the_remedy_is_shown_however_long_the_name_of_a_side_file_is(tmp_path: Path) -> None:
    path = sliding_triangle().gltf(tmp_path / "a.gltf", embedded=False)
    path.write_text(path.read_text().replace("buffer%20data.bin", "x" * 5000))
    _refused(path, r"cannot read its file 'x{80}' \(File name too long\)\. Put it beside a\.gltf\.")


def test_accessor_beyond_its_view_is_refused(tmp_path: Path) -> None:
    file = sliding_triangle()
    file.json["accessors"][0]["count"] = 4
    _refused(file.glb(tmp_path / "a.glb"), "ends at byte 48 of a buffer view of 36 bytes")


def test_the_flag_normalized_changes_neither_indices_nor_floats(tmp_path: Path) -> None:
    """The specification forbids both; the meaning is clear, so both are read with a warning."""
    file = GltfFile()
    whole = [file.accessor([0, 3, 255], "SCALAR", kind, normalized=True) for kind in ("u1", "u2", "u4")]
    real = file.accessor([0.0, 0.5, 9.0], "SCALAR", normalized=True)
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    for accessor in whole:
        assert document.integers(accessor, "SCALAR").tolist() == [0, 3, 255]
    assert document.floats(real, "SCALAR").tolist() == [0.0, 0.5, 9.0]
    assert document.warnings == [
        "a.glb: accessors[0]: normalized is not allowed for indices and is ignored.",
        "a.glb: accessors[3]: normalized has no meaning for float components and is ignored.",
    ]
    with pytest.raises(ClipError, match="not allowed for 32-bit"):
        document.floats(whole[2], "SCALAR")


def test_a_number_in_place_of_text_and_null_in_place_of_nothing_are_accepted(tmp_path: Path) -> None:
    file = sliding_triangle()
    file.json["asset"] = {"version": 2.0, "minVersion": None, "generator": 7}
    file.json["nodes"][0] |= {"name": 3, "translation": None, "skin": None, "matrix": None}
    file.json["animations"][0] |= {"name": 12}
    file.json["materials"] = [{"name": 1.5, "doubleSided": 1, "alphaCutoff": None, "emissiveTexture": None}]
    file.json["meshes"][0]["primitives"][0] |= {"material": 0, "indices": None, "mode": None, "targets": None}
    file.json |= {"skins": None, "extensionsUsed": None}
    model = load_model(read_gltf(file.glb(tmp_path / "a.glb")))
    assert model.document.animation_names == ["12"]
    assert (model.materials[0].name, model.materials[0].double_sided) == ("1.5", True)
    assert model.tree.nodes[0].name == "3"
    assert (
        model.document.warnings[0] == "a.glb.asset: version is the number 2.0, but must be text; it is read as '2.0'."
    )
    for place, value in (("alphaMode", 0), ("doubleSided", 2), ("name", [1])):
        strict = sliding_triangle()
        strict.json["materials"] = [{place: value}]
        strict.json["meshes"][0]["primitives"][0]["material"] = 0
        _refused(strict.glb(tmp_path / "b.glb"), f"materials.0.: {place} (must be|is)")


def test_warnings_are_logged_once_and_clean(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = sliding_triangle()
    file.json["nodes"] += [{"name": 5}, {"name": 5}]
    path = file.glb(tmp_path / "odd\nname.glb")
    model = load_model(read_gltf(path))
    assert model.document.warnings == [
        "odd name.glb: nodes[1]: name is the number 5, but must be text; it is read as '5'."
    ]
    assert [record.getMessage() for record in caplog.records] == model.document.warnings


@pytest.mark.parametrize("uri", ["pipe", "folder"])
def test_side_files_that_are_not_regular_files_are_refused(tmp_path: Path, uri: str) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    path = sliding_triangle().gltf(tmp_path / "a.gltf", embedded=False)
    path.write_text(path.read_text().replace("buffer%20data.bin", uri))
    _refused(path, "is not a regular file")


def test_random_damage_never_raises_anything_else(tmp_path: Path) -> None:
    """Replace or remove one value anywhere in the JSON: either it is still a glTF, or a ClipError says why not."""
    generator = random.Random(0)
    strange: list[Any] = [
        None,
        -1,
        0,
        1,
        2,
        7,
        1.5,
        10**9,
        1e300,
        "",
        "x",
        [],
        {},
        [0],
        [{}],
        [[]],
        True,
        "data:,",
        {"a": 1},
    ]
    whole = skinned_strip()
    whole.json["meshes"][0]["weights"] = [0.0]
    primitive = whole.json["meshes"][0]["primitives"][0]
    primitive["targets"] = [{"POSITION": primitive["attributes"]["POSITION"]}]
    whole.json["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": whole.image([[[1, 2, 3]]])}}}]
    primitive["material"] = 0
    refused = 0
    for _ in range(500):
        damaged = GltfFile()
        damaged.binary, damaged.json = whole.binary, copy.deepcopy(whole.json)
        parent, key = generator.choice(_places(damaged.json))
        if generator.random() < 0.2:
            del parent[key]
        else:
            parent[key] = copy.deepcopy(generator.choice(strange))
        path = tmp_path / "a.gltf"
        path.write_text(json.dumps(damaged.json | {"buffers": [{"byteLength": len(damaged.binary), "uri": "a.bin"}]}))
        (tmp_path / "a.bin").write_bytes(damaged.binary)
        try:
            _load(path)
        except ClipError:
            refused += 1
    assert 150 < refused < 500


def _places(value: Any) -> list[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, child in items for place in [(value, key), *_places(child)]]
