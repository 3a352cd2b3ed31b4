"""Draco meshes decode to what was encoded; a stream that contradicts its accessors is refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import pytest

from gvf.data.gltf.baking import bake_clip, clip_times, load_model
from gvf.data.gltf.document import GltfDocument, read_gltf
from gvf.data.gltf.draco import DRACO
from gvf.data.gltf.geometry import Primitive, read_mesh
from gvf.errors import ClipError
from tests.data.gltf.gltf_files import COMPONENTS, CUBE, CUBE_FACES, GltfFile

TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
WEIGHTS = np.random.default_rng(0).dirichlet([1.0] * 4, 8).astype(np.float32)
JOINTS = (np.arange(32).reshape(8, 4) % 5).astype(np.uint16)
COLORS = np.arange(32).reshape(8, 4).astype(np.uint8) * 8
UVS = np.random.default_rng(1).random((8, 2))


def _empty(file: GltfFile, count: int, width: int, component: str, **more: Any) -> int:
    """An accessor without data, as a Draco primitive has them."""
    return file.entry("accessors", count=count, type=TYPES[width], componentType=COMPONENTS[component], **more)


def compressed(
    generic: dict[str, np.ndarray] | None = None,
    components: dict[str, str] | None = None,
    stream: bytes | None = None,
    **options: Any,
) -> GltfFile:
    """A cube that is there in Draco's form only, slides along x, and has a material and further attributes if wanted.

    generic: attributes by name. components: what their accessors say, u2 or f4 otherwise. options: of DracoPy.encode.
    """
    file, generic, components = GltfFile(), generic or {}, components or {}
    identifiers = {name: 10 + i for i, name in enumerate(generic)}
    encoded = DracoPy.encode(
        CUBE,
        CUBE_FACES.astype(np.uint32),
        generic_attributes={identifiers[name]: data for name, data in generic.items()} or None,
        **{"quantization_bits": 20, **options},
    )
    kinds = {int(a["attribute_type"]): int(a["unique_id"]) for a in DracoPy.decode(encoded).attributes}
    identifiers["POSITION"] = kinds[0]
    attributes = {"POSITION": _empty(file, 8, 3, "f4")}
    if "colors" in options:
        identifiers["COLOR_0"], attributes["COLOR_0"] = kinds[2], _empty(file, 8, 4, "u1", normalized=True)
    if "tex_coord" in options:
        identifiers["TEXCOORD_0"], attributes["TEXCOORD_0"] = kinds[3], _empty(file, 8, 2, "f4")
    for name, data in generic.items():
        default = "f4" if data.dtype == np.float32 else "u2"
        attributes[name] = _empty(file, len(data), data.shape[1], components.get(name, default))
    extension = {"bufferView": file.view(encoded if stream is None else stream), "attributes": identifiers}
    mesh = file.entry(
        "meshes",
        primitives=[{"attributes": attributes, "indices": _empty(file, 36, 1, "u2"), "extensions": {DRACO: extension}}],
    )
    file.json |= {"extensionsUsed": [DRACO], "extensionsRequired": [DRACO]}
    node = file.node(mesh=mesh)
    file.animation("slide")
    file.channel(0, node, "translation", [0, 1], [[0, 0, 0], [1, 0, 0]])
    return file


def _document(file: GltfFile, folder: Path) -> GltfDocument:
    return read_gltf(file.glb(folder / "a.glb"))


def _read(file: GltfFile, folder: Path) -> tuple[Primitive, GltfDocument]:
    document = _document(file, folder)
    (primitive,) = read_mesh(document, 0).primitives
    return primitive, document


def _order(positions: np.ndarray) -> np.ndarray:
    """Which vertex of CUBE each decoded one is: encoders may change their order."""
    distances = np.linalg.norm(positions[:, None] - CUBE[None], axis=-1)
    assert distances.min(axis=1).max() < 1e-5
    return distances.argmin(axis=1)


@pytest.mark.parametrize(
    "options", [{}, {"preserve_order": True}, {"create_metadata": True}, {"compression_level": 10}]
)
def test_a_compressed_cube_bakes_like_a_plain_one(tmp_path: Path, options: dict[str, Any]) -> None:
    model = load_model(_document(compressed(**options), tmp_path), max_triangles=12)
    mesh = bake_clip(model, model.animation(0), clip_times(model.animation(0), 2))
    order = _order(mesh.vertices[0])
    assert sorted(order) == list(range(8))
    np.testing.assert_allclose(mesh.vertices[1], CUBE[order] + [1, 0, 0], atol=1e-5)
    corners = mesh.vertices[0][mesh.faces]
    assert np.linalg.det(corners).sum() / 6 == pytest.approx(1.0, abs=1e-4)
    assert model.document.warnings == []


@pytest.mark.parametrize("component", ["u1", "u2"])
def test_attributes_are_found_by_id_and_have_the_type_of_their_accessor(tmp_path: Path, component: str) -> None:
    joints = JOINTS.astype(component)
    generic = {"WEIGHTS_0": WEIGHTS, "JOINTS_0": joints, "JOINTS_1": joints[:, ::-1].copy(), "WEIGHTS_1": WEIGHTS}
    components = {"JOINTS_0": component, "JOINTS_1": component}
    primitive, document = _read(compressed(generic, components, colors=COLORS, tex_coord=UVS), tmp_path)
    order = _order(primitive.positions)
    np.testing.assert_array_equal(primitive.joints, np.concatenate([joints, joints[:, ::-1]], axis=1)[order])
    np.testing.assert_array_equal(primitive.joint_weights, np.concatenate([WEIGHTS, WEIGHTS], axis=1)[order])
    np.testing.assert_allclose(primitive.colors, COLORS[order] / 255.0, atol=1e-7)
    np.testing.assert_allclose(document.floats(primitive.uv_accessors[0], "VEC2"), UVS[order], atol=1e-6)


def test_joints_stored_as_floats_become_integers(tmp_path: Path) -> None:
    primitive, _ = _read(
        compressed({"JOINTS_0": JOINTS.astype(np.float32), "WEIGHTS_0": WEIGHTS}, {"JOINTS_0": "u2"}), tmp_path
    )
    np.testing.assert_array_equal(primitive.joints, JOINTS[_order(primitive.positions)])


def test_morph_targets_stay_outside_and_fit_a_kept_order(tmp_path: Path) -> None:
    file = compressed(preserve_order=True)
    lift = np.arange(24, dtype=np.float32).reshape(8, 3)
    zeros = _empty(file, 8, 3, "f4")
    targets = [{"POSITION": file.accessor(lift, "VEC3")}, {"POSITION": zeros}]
    file.json["meshes"][0]["primitives"][0]["targets"] = targets
    primitive, _ = _read(file, tmp_path)
    np.testing.assert_array_equal(primitive.targets, [lift, np.zeros((8, 3))])
    np.testing.assert_array_equal(_order(primitive.positions), np.arange(8))


def _refused(file: GltfFile, folder: Path, words: str, max_triangles: int | None = None) -> None:
    with pytest.raises(ClipError, match=f"{DRACO}.*{words}|{words}.*{DRACO}"):
        load_model(_document(file, folder), max_triangles)


def _primitive(file: GltfFile) -> Any:
    return file.json["meshes"][0]["primitives"][0]


def test_broken_streams_are_refused(tmp_path: Path) -> None:
    whole = DracoPy.encode(CUBE, CUBE_FACES.astype(np.uint32))
    cloud = DracoPy.encode(CUBE)
    streams = {
        "does not begin with 'DRACO'": b"no Draco at all",
        "is cut short": whole[:11],
        "cannot be decoded": whole[:40],
        "bitstream 1.2": whole[:5] + b"\1" + whole[6:],
        "holds a point cloud": cloud,
        "method 9": whole[:8] + b"\x09" + whole[9:],
        "unpacks to more than the 36 indices and 8 vertices": whole[:11] + b"\xff\xff\xff\x7f" * 2 + whole[13:],
    }
    for words, stream in streams.items():
        _refused(compressed(stream=stream), tmp_path, words)


def test_the_stream_is_compared_with_its_accessors(tmp_path: Path) -> None:
    def _count(name: str, value: int) -> GltfFile:
        file = compressed({"JOINTS_0": JOINTS, "WEIGHTS_0": WEIGHTS})
        place = _primitive(file)["indices"] if name == "indices" else _primitive(file)["attributes"][name]
        file.json["accessors"][place]["count"] = value
        return file

    _refused(_count("POSITION", 7), tmp_path, "unpacks to more than the 36 indices and 7 vertices")
    _refused(_count("indices", 33), tmp_path, "unpacks to more than the 33 indices")
    file = _count("POSITION", 9)
    primitive, document = _read(file, tmp_path)
    assert len(primitive.positions) == 8
    assert document.warnings == [
        f"a.glb: meshes[0].primitives[0].extensions.{DRACO}: unpacks to 8 vertices, but its accessors have 9."
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p["extensions"][DRACO]["attributes"].update(POSITION=99), "has no attribute 99"),
        (lambda p: p["extensions"][DRACO]["attributes"].pop("POSITION"), "has no POSITION"),
        (lambda p: p["extensions"][DRACO]["attributes"].update(JOINTS_0=11), "JOINTS_0 unpacks to"),
        (lambda p: p["extensions"][DRACO]["attributes"].pop("JOINTS_0"), "has no data that can be read"),
        (lambda p: p.pop("indices"), "lacks indices"),
        (lambda p: p.pop("extensions"), "has no data that can be read"),
        (lambda p: p["attributes"].update(POSITION=p["attributes"]["JOINTS_0"]), "POSITION unpacks to shape"),
    ],
)
def test_broken_extensions_are_refused_by_name(tmp_path: Path, change: Any, words: str) -> None:
    file = compressed({"JOINTS_0": JOINTS, "WEIGHTS_0": WEIGHTS * 1e9})
    change(_primitive(file))
    _refused(file, tmp_path, words)


def test_the_size_is_checked_before_anything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = compressed(stream=b"DRACO")
    monkeypatch.setattr(DracoPy, "decode", lambda stream: pytest.fail("decoded"))
    with pytest.raises(ClipError, match="has 12 triangles") as caught:
        load_model(_document(file, tmp_path), max_triangles=11)
    assert caught.value.reason == "size"


def test_random_damage_to_a_stream_is_refused_or_harmless(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    whole = DracoPy.encode(CUBE, CUBE_FACES.astype(np.uint32), generic_attributes={10: JOINTS, 11: WEIGHTS})
    refused = 0
    for _ in range(150):
        stream = bytearray(whole)
        for place in generator.integers(0, len(stream), 3):
            stream[place] = generator.integers(256)
        file = compressed({"JOINTS_0": JOINTS, "WEIGHTS_0": WEIGHTS}, stream=bytes(stream))
        try:
            _read(file, tmp_path)
        except ClipError:
            refused += 1
    assert 10 < refused < 150
