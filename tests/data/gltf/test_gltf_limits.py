"""Hostile and hidden data: what a file declares is compared with its content before memory is allocated."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gvf.data.gltf.baking import bake_clip, clip_times, load_model
from gvf.data.gltf.document import read_gltf
from gvf.errors import ClipError
from tests.data.gltf.gltf_files import TRIANGLE, GltfFile, cube_mesh, skinned_strip, sliding_triangle

HUGE = 40_000_000

# Loads and bakes files in a process of its own; prints, for each, the error's slug and message and the growth of the peak
# memory since the start, in MiB.
_MEASURE = """
import resource, sys
import scipy.spatial.transform
from gvf.data.gltf.baking import bake_clip, clip_times, load_model
from gvf.data.gltf.document import read_gltf
from gvf.errors import ClipError
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
for path in sys.argv[1:]:
    try:
        model = load_model(read_gltf(path))
        animation = model.animation(0)
        bake_clip(model, animation, clip_times(animation, 4))
        print("baked", peak() - before, path)
    except ClipError as error:
        print(error.reason, peak() - before, error.message)
"""


def _attributes(file: GltfFile) -> Any:
    return file.json["meshes"][0]["primitives"][0]["attributes"]


def _claim(file: GltfFile, kind: str, component: int = 5126, **more: Any) -> int:
    return file.entry("accessors", count=HUGE, type=kind, componentType=component, **more)


def _positions(file: GltfFile) -> None:
    _attributes(file)["POSITION"] = _claim(file, "VEC3")


def _indices(file: GltfFile) -> None:
    file.json["meshes"][0]["primitives"][0]["indices"] = _claim(file, "SCALAR", 5125)


def _weights(file: GltfFile) -> None:
    _attributes(file)["WEIGHTS_0"] = _claim(file, "VEC4")


def _joints(file: GltfFile) -> None:
    _attributes(file)["JOINTS_0"] = _claim(file, "VEC4", 5121)


def _colors(file: GltfFile) -> None:
    _attributes(file)["COLOR_0"] = _claim(file, "VEC4")


def _target(file: GltfFile) -> None:
    file.json["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": _claim(file, "VEC3")}]


def _bindings(file: GltfFile) -> None:
    file.json["skins"][0]["inverseBindMatrices"] = _claim(file, "MAT4")


def _times(file: GltfFile) -> None:
    file.json["animations"][0]["samplers"][0]["input"] = _claim(file, "SCALAR")


def _keys(file: GltfFile) -> None:
    _times(file)
    file.json["animations"][0]["samplers"][0]["output"] = _claim(file, "VEC4")


def _sparse(file: GltfFile) -> None:
    sparse = {
        "count": 1,
        "indices": {"bufferView": file.view(b"\7"), "componentType": 5121},
        "values": {"bufferView": file.view(bytes(12))},
    }
    _attributes(file)["POSITION"] = _claim(file, "VEC3", sparse=sparse)


def _sparse_count(file: GltfFile) -> None:
    view = file.view(bytes(12))
    sparse = {"count": HUGE, "indices": {"bufferView": view, "componentType": 5125}, "values": {"bufferView": view}}
    file.json["accessors"][_attributes(file)["POSITION"]]["sparse"] = sparse


def _view_length(file: GltfFile) -> None:
    view = file.entry("bufferViews", buffer=0, byteLength=HUGE * 12)
    _attributes(file)["POSITION"] = _claim(file, "VEC3", bufferView=view)


def _many_targets(file: GltfFile) -> None:
    """Every target is the same accessor, so that each costs the file a few bytes and the reader 120 kB."""
    big = file.accessor(np.zeros((5000, 3)), "VEC3")
    _attributes(file).clear()
    _attributes(file)["POSITION"] = big
    file.json["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": big}] * 5000


def _many_joint_sets(file: GltfFile) -> None:
    joints, weights = (file.accessor(np.zeros((5000, 4)), "VEC4", kind) for kind in ("u1", "f4"))
    _attributes(file)["POSITION"] = file.accessor(np.zeros((5000, 3)), "VEC3")
    _attributes(file).update(
        {f"{name}_{i}": a for i in range(4000) for name, a in (("JOINTS", joints), ("WEIGHTS", weights))}
    )


def _many_showings(file: GltfFile) -> None:
    _attributes(file)["POSITION"] = file.accessor(np.zeros((5000, 3)), "VEC3")
    file.json["scenes"][0]["nodes"] += [file.node(root=False, mesh=0) for _ in range(5000)]


def _many_channels(file: GltfFile) -> None:
    """Each channel has keys of its own in one buffer view, shifted by one float each."""
    times = file.accessor(np.arange(20_000), "SCALAR")
    view = file.view(bytes(4 * 60_000 + 4 * 2000))
    animation = file.json["animations"][0]
    for i in range(2000):
        output = file.entry(
            "accessors", bufferView=view, byteOffset=4 * i, count=20_000, type="VEC3", componentType=5126
        )
        animation["samplers"].append({"input": times, "output": output})
        target = {"node": file.node(), "path": "translation"}
        animation["channels"].append({"sampler": len(animation["samplers"]) - 1, "target": target})


CLAIMS: list[Callable[[GltfFile], None]] = [
    _positions,
    _indices,
    _weights,
    _joints,
    _colors,
    _target,
    _bindings,
    _times,
    _keys,
    _sparse,
    _sparse_count,
    _view_length,
    _many_targets,
    _many_joint_sets,
    _many_showings,
    _many_channels,
]


def test_a_declared_size_allocates_no_memory(tmp_path: Path) -> None:
    paths = []
    for claim in CLAIMS:
        file = skinned_strip()
        claim(file)
        paths.append(file.glb(tmp_path / f"{claim.__name__}.glb"))
    done = subprocess.run([sys.executable, "-c", _MEASURE, *paths], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(CLAIMS)
    for path, line in zip(paths, lines):
        reason, grown, message = line.split(" ", 2)
        assert reason in ("invalid", "size"), line
        assert path.name in message
        assert float(grown) < 150.0, line


def _refused(file: GltfFile, folder: Path, words: str) -> None:
    with pytest.raises(ClipError, match=words):
        model = load_model(read_gltf(file.glb(folder / "a.glb")))
        animation = model.animation(0)
        bake_clip(model, animation, clip_times(animation, 2)).normalized()


def _empty(file: GltfFile, count: int, kind: str = "VEC3", component: int = 5126, **more: Any) -> int:
    return file.entry("accessors", count=count, type=kind, componentType=component, **more)


@pytest.mark.parametrize("name", ["POSITION", "indices"])
@pytest.mark.parametrize("extension", ["KHR_draco_mesh_compression", "EXT_meshopt_compression", "ACME_geometry"])
@pytest.mark.parametrize("place", ["extensionsUsed", "primitive", "accessor"])
def test_geometry_without_data_is_refused_naming_what_may_hold_it(
    tmp_path: Path, name: str, extension: str, place: str
) -> None:
    file = GltfFile()
    mesh = cube_mesh(file)
    file.node(mesh=mesh)
    primitive = file.json["meshes"][mesh]["primitives"][0]
    accessor = _empty(file, 8) if name == "POSITION" else _empty(file, 36, "SCALAR", 5123)
    (primitive["attributes"] if name == "POSITION" else primitive)[name] = accessor
    if place == "extensionsUsed":
        file.json["extensionsUsed"] = ["KHR_materials_unlit", extension]
    else:
        holder = primitive if place == "primitive" else file.json["accessors"][accessor]
        holder["extensions"] = {extension: {"bufferView": 0, "attributes": {"POSITION": 0}}}
    _refused(file, tmp_path, extension)


@pytest.mark.parametrize("name", ["JOINTS_0", "WEIGHTS_0", "COLOR_0", "target", "output", "inverseBindMatrices"])
def test_other_data_that_a_compression_may_hold_is_refused_too(tmp_path: Path, name: str) -> None:
    file = skinned_strip()
    kinds = {"target": "VEC3", "inverseBindMatrices": "MAT4"}
    accessor = _empty(file, 2 if name in ("output", "inverseBindMatrices") else 4, kinds.get(name, "VEC4"))
    if name == "target":
        file.json["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": accessor}]
    elif name == "output":
        file.json["animations"][0]["samplers"][0]["output"] = accessor
    elif name == "inverseBindMatrices":
        file.json["skins"][0][name] = accessor
    else:
        file.json["meshes"][0]["primitives"][0]["attributes"][name] = accessor
    if name == "JOINTS_0":
        file.json["accessors"][accessor]["componentType"] = 5121
    file.json["extensionsUsed"] = ["ACME_mesh_compression"]
    _refused(file, tmp_path, "ACME_mesh_compression")


def test_an_attribute_without_data_is_zero_if_no_extension_may_hold_it(tmp_path: Path) -> None:
    """Blender writes morph targets that move nothing in this way; an extension that holds no data does not matter."""
    file = skinned_strip()
    primitive = file.json["meshes"][0]["primitives"][0]
    primitive["targets"] = [{"POSITION": _empty(file, 4)}]
    primitive["attributes"]["JOINTS_0"] = _empty(file, 4, "VEC4", 5121)
    file.json["extensionsUsed"] = ["VRM", "KHR_draco_mesh_compression"]
    model = load_model(read_gltf(file.glb(tmp_path / "a.glb")))
    mesh = bake_clip(model, model.animation(0), np.array([1.0]))
    np.testing.assert_allclose(mesh.vertices[0], [[0, 0, 0], [1, 0, 0], [0, 2, 0], [1, 2, 0]], atol=1e-6)


def test_positions_that_are_all_zero_are_refused(tmp_path: Path) -> None:
    file = sliding_triangle(distance=0.0)
    _attributes(file)["POSITION"] = _empty(file, 3)
    _refused(file, tmp_path, "all vertices are in one place")


def _meshopt(file: GltfFile, **view: Any) -> None:
    """Put the positions' view behind meshopt, as gltfpack does, with the compressed bytes in the binary chunk."""
    packed = {"buffer": 0, "byteOffset": 0, "byteLength": 20, "byteStride": 12, "count": 3, "mode": "ATTRIBUTES"}
    file.json["bufferViews"][0] |= {"extensions": {"EXT_meshopt_compression": packed}, **view}


def _glb(file: GltfFile, path: Path, **second: Any) -> Path:
    """Save with a second buffer of 36 bytes, the uncompressed fallback."""
    file.json["buffers"] = [{"byteLength": len(file.binary)}, {"byteLength": 36, **second}]
    binary, file.binary = bytes(file.binary), bytearray()  # keeps the list of buffers as it is
    file.glb(path)
    file.binary = bytearray(binary)
    text = path.read_bytes()[12:]
    padded = binary + b"\0" * (-len(binary) % 4)
    body = text + len(padded).to_bytes(4, "little") + b"BIN\0" + padded
    path.write_bytes(b"glTF" + (2).to_bytes(4, "little") + (12 + len(body)).to_bytes(4, "little") + body)
    return path


@pytest.mark.parametrize("marked", [True, False])
def test_a_compressed_view_without_its_fallback_is_refused_by_name(tmp_path: Path, marked: bool) -> None:
    file = sliding_triangle()
    _meshopt(file, buffer=1, byteOffset=0)
    second = {"extensions": {"EXT_meshopt_compression": {"fallback": True}}} if marked else {}
    with pytest.raises(ClipError, match="EXT_meshopt_compression"):
        load_model(read_gltf(_glb(file, tmp_path / "a.glb", **second)))


def test_a_view_on_the_compressed_bytes_themselves_is_refused_by_name(tmp_path: Path) -> None:
    file = sliding_triangle()
    _meshopt(file)
    _refused(file, tmp_path, "EXT_meshopt_compression")


def test_the_fallback_of_a_compressed_view_is_read(tmp_path: Path) -> None:
    file = sliding_triangle()
    _meshopt(file, buffer=1, byteOffset=0)
    (tmp_path / "fallback.bin").write_bytes((TRIANGLE * 3).astype("<f4").tobytes())
    more = {"uri": "fallback.bin", "extensions": {"EXT_meshopt_compression": {"fallback": True}}}
    model = load_model(read_gltf(_glb(file, tmp_path / "a.glb", **more)))
    np.testing.assert_array_equal(model.parts[0].primitive.positions, TRIANGLE * 3)


def test_a_scene_of_too_many_nodes_or_frames_is_refused(tmp_path: Path) -> None:
    file = sliding_triangle()
    model = load_model(read_gltf(file.glb(tmp_path / "a.glb")))
    with pytest.raises(ClipError, match="too many to bake") as caught:
        bake_clip(model, model.animation(0), np.zeros(60_000_000))
    assert caught.value.reason == "size"
    file.json["nodes"] += [{} for _ in range(10_000)]
    many = load_model(read_gltf(file.glb(tmp_path / "a.glb")))
    with pytest.raises(ClipError, match="10001 nodes in 1000 frames are too many"):
        bake_clip(many, many.animation(0), np.zeros(1000))
