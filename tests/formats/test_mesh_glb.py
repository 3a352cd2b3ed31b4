"""`mesh.glb` as three.js and the Khronos validator read it, for poses and materials whose right answer is known."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gvf.data.mesh_source import MeshSource, read_mesh
from gvf.errors import UserError
from gvf.formats.mesh_glb import save_mesh_glb
from gvf.progress import Progress
from gvf.storage.images import read_rgba
from tests.data.gltf.gltf_files import CUBE, CUBE_FACES, GltfFile, cube_mesh, png, skinned_strip
from tests.node.readers import run_node, validator_messages

FPS = 4.0


class Warnings(Progress):
    """Keeps what a person would be told."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def warn(self, message: str) -> None:
        self.messages.append(message)


def wave(source: MeshSource, num_frames: int = 3) -> np.ndarray:
    """Displacements [T, V, 3] that differ in every vertex and frame."""
    rest = source.mesh.vertices[0]
    phases = np.arange(num_frames)[:, None, None] + np.arange(rest.size).reshape(1, *rest.shape)
    return 0.1 * np.ptp(rest, axis=0).max() * np.sin(phases)


def contents(path: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON and the binary chunk of a GLB."""
    data = path.read_bytes()
    (length,) = struct.unpack("<I", data[12:16])
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def played(path: Path, *times: float) -> dict[str, Any]:
    """What three.js shows at these times, with arrays [times, V, 3] per mesh."""
    found = run_node("play.mjs", path, *(str(time) for time in times))
    for mesh in found["meshes"]:
        for name in ("positions", "normals"):
            arrays = [np.frombuffer(base64.b64decode(text), np.float32).reshape(-1, 3) for text in mesh[name]]
            mesh[name] = np.stack(arrays)
    return found


def errors_and_warnings(path: Path) -> list[str]:
    return [message["code"] for message in validator_messages(path)[path] if message["severity"] <= 1]


def test_three_js_plays_every_frame_and_the_way_between(tmp_path: Path, node_modules: Path) -> None:
    source = read_mesh(skinned_strip().glb(tmp_path / "strip.glb"), "bend")
    moved = wave(source)
    save_mesh_glb(tmp_path / "mesh.glb", source, moved, FPS)
    found = played(tmp_path / "mesh.glb", 0.0, 0.125, 0.25, 0.5)
    frames = source.mesh.vertices[0] + moved
    expected = np.stack([frames[0], (frames[0] + frames[1]) / 2.0, frames[1], frames[2]])
    np.testing.assert_allclose(found["meshes"][0]["positions"], expected, atol=2e-6, rtol=0)
    assert found["animations"] == [{"name": "motion", "duration": 0.5}]
    assert errors_and_warnings(tmp_path / "mesh.glb") == []


def test_nodes_instances_and_mirrors_are_flattened(tmp_path: Path, node_modules: Path) -> None:
    """Two instances of one cube, one of them mirrored below a scaled parent: outer sides stay out, normals too."""
    file = GltfFile()
    normals = CUBE / np.linalg.norm(CUBE, axis=1, keepdims=True)
    mesh = file.triangle_mesh(
        CUBE,
        attributes={"NORMAL": file.accessor(normals, "VEC3")},
        indices=file.accessor(CUBE_FACES.ravel(), "SCALAR", "u2"),
    )
    child = file.node(root=False, name="right", mesh=mesh, translation=[2, 0, 0], scale=[-1, 1, 1])
    file.node(name="left", mesh=mesh, scale=[1, 2, 1], children=[child])
    source = read_mesh(file.glb(tmp_path / "two.glb"))
    moved = np.zeros((2, 16, 3))
    moved[1, 8:] = (0.0, 0.0, 5.0)  # the second cube alone
    save_mesh_glb(tmp_path / "mesh.glb", source, moved, FPS)
    found = played(tmp_path / "mesh.glb", 0.0, 0.25)
    left, right = found["meshes"]
    assert (left["name"], right["name"]) == ("left", "right")
    np.testing.assert_allclose(left["positions"][1], CUBE * (1, 2, 1), atol=1e-6)
    np.testing.assert_allclose(right["positions"][1], CUBE * (-1, 2, 1) + (2, 0, 5), atol=1e-6)
    expected = normals * (1.0, 0.5, 1.0)
    np.testing.assert_allclose(left["normals"][1], unit(expected), atol=1e-6)
    np.testing.assert_allclose(right["normals"][1], unit(expected * (-1, 1, 1)), atol=1e-6)
    content, binary = contents(tmp_path / "mesh.glb")
    assert "targets" not in content["meshes"][0]["primitives"][0]
    assert [channel["target"]["node"] for channel in content["animations"][0]["channels"]] == [1]
    for primitive in (mesh["primitives"][0] for mesh in content["meshes"]):
        corners = accessor(content, binary, primitive["attributes"]["POSITION"])[
            accessor(content, binary, primitive["indices"]).ravel().reshape(-1, 3)
        ]
        assert np.linalg.det(corners - corners.mean(axis=(0, 1))).sum() > 0.0, "faces wind around the outside"
    assert errors_and_warnings(tmp_path / "mesh.glb") == []


def test_normals_turn_with_the_surface(tmp_path: Path, node_modules: Path) -> None:
    file = GltfFile()
    normals = np.tile([0.6, 0.0, 0.8], (8, 1))
    mesh = file.triangle_mesh(
        CUBE,
        attributes={"NORMAL": file.accessor(normals, "VEC3")},
        indices=file.accessor(CUBE_FACES.ravel(), "SCALAR", "u2"),
    )
    file.node(mesh=mesh)
    source = read_mesh(file.glb(tmp_path / "cube.glb"))
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # a quarter about z
    save_mesh_glb(tmp_path / "mesh.glb", source, (CUBE @ turn.T - CUBE)[None], FPS)
    found = played(tmp_path / "mesh.glb", 0.0)["meshes"][0]
    np.testing.assert_allclose(found["normals"][0], np.tile([0.0, 0.6, 0.8], (8, 1)), atol=1e-6)


def textured_cube(tmp_path: Path) -> tuple[Path, bytes, bytes]:
    """A cube with a transformed texture on its second set of coordinates, a normal map and material extensions."""
    file = GltfFile()
    rng = np.random.default_rng(1)
    colour, bumps = (rng.integers(0, 255, (4, 4, 3)) for _ in range(2))
    base, normal = file.image(colour), file.image(bumps)
    file.image(np.zeros((2, 2, 3)))  # unused
    file.json["samplers"] = [{"wrapS": 33071, "wrapT": 33648, "magFilter": 9728}]
    file.json["textures"][base]["sampler"] = 0
    transform = {"offset": [0.25, 0.5], "scale": [2.0, 3.0], "texCoord": 1}
    material = file.entry(
        "materials",
        name="shell",
        pbrMetallicRoughness={
            "baseColorTexture": {"index": base, "extensions": {"KHR_texture_transform": transform}},
            "baseColorFactor": [0.5, 1, 1, 1],
            "roughnessFactor": 0.25,
        },
        normalTexture={"index": normal, "scale": 0.5},
        extensions={"KHR_materials_clearcoat": {"clearcoatFactor": 0.5}, "VENDOR_unknown": {"texture": {"index": 9}}},
        doubleSided=True,
        extras={"anything": 1},
    )
    mesh = file.triangle_mesh(
        CUBE,
        attributes={
            "TEXCOORD_0": file.accessor(CUBE[:, :2], "VEC2"),
            "TEXCOORD_1": file.accessor(CUBE[:, 1:], "VEC2"),
            "COLOR_0": file.accessor(np.tile([255, 128, 0, 255], (8, 1)), "VEC4", "u1", normalized=True),
        },
        indices=file.accessor(CUBE_FACES.ravel(), "SCALAR", "u2"),
        material=material,
    )
    file.node(mesh=mesh)
    file.json["extensionsUsed"] = ["KHR_texture_transform", "KHR_materials_clearcoat", "VENDOR_unknown"]
    return file.glb(tmp_path / "shell.glb"), png(colour), png(bumps)


def test_materials_textures_and_coordinates_stay(tmp_path: Path, node_modules: Path) -> None:
    path, colour, bumps = textured_cube(tmp_path)
    source = read_mesh(path)
    save_mesh_glb(tmp_path / "mesh.glb", source, wave(source), FPS)
    content, binary = contents(tmp_path / "mesh.glb")
    (material,) = content["materials"]
    texture = material["pbrMetallicRoughness"]["baseColorTexture"]
    assert material["name"] == "shell"
    assert material["pbrMetallicRoughness"]["roughnessFactor"] == 0.25
    assert material["doubleSided"] is True
    assert material["normalTexture"]["scale"] == 0.5
    assert material["extensions"] == {"KHR_materials_clearcoat": {"clearcoatFactor": 0.5}}
    assert texture["extensions"]["KHR_texture_transform"] == {"offset": [0.25, 0.5], "scale": [2.0, 3.0], "texCoord": 1}
    used = content["textures"][texture["index"]]
    assert content["samplers"][used["sampler"]] == {"wrapS": 33071, "wrapT": 33648, "magFilter": 9728}
    assert [view(content, binary, image["bufferView"]) for image in content["images"]] == [colour, bumps]
    attributes = content["meshes"][0]["primitives"][0]["attributes"]
    np.testing.assert_array_equal(accessor(content, binary, attributes["TEXCOORD_0"]), CUBE[:, :2])
    np.testing.assert_array_equal(accessor(content, binary, attributes["TEXCOORD_1"]), CUBE[:, 1:])
    np.testing.assert_allclose(accessor(content, binary, attributes["COLOR_0"])[0], [1, 128 / 255, 0], atol=1e-6)
    assert set(content["extensionsUsed"]) == {"KHR_texture_transform", "KHR_materials_clearcoat"}
    found = played(tmp_path / "mesh.glb", 0.0)["meshes"][0]["material"]
    assert found["type"] == "MeshPhysicalMaterial"
    assert found["textures"]["map"] == {"bytes": len(colour), "channel": 1, "offset": [0.25, 0.5], "repeat": [2, 3]}
    assert found["textures"]["normalMap"]["bytes"] == len(bumps)
    assert errors_and_warnings(tmp_path / "mesh.glb") == ["MESH_PRIMITIVE_GENERATED_TANGENT_SPACE"], "no tangents"


def test_what_is_wrong_in_a_material_is_mended(tmp_path: Path, node_modules: Path) -> None:
    """Values out of range, a texture without coordinates, an image in a strange format: a valid file and a warning."""
    file = GltfFile()
    good = file.image(np.zeros((2, 2, 3)))
    file.entry("images", bufferView=file.view(b"GIF89a" + bytes(30)), mimeType="image/gif")
    strange = file.entry("textures", source=1)
    material = file.entry(
        "materials",
        pbrMetallicRoughness={
            "baseColorFactor": [1.5, -1, 0.5, 1],
            "metallicFactor": 7,
            "baseColorTexture": {"index": good, "texCoord": 2},
            "metallicRoughnessTexture": {"index": strange},
        },
        occlusionTexture={"index": 77},
        alphaMode="BLEND",
        alphaCutoff=0.3,
        extensions={"KHR_materials_ior": {"ior": 0.2}, "KHR_materials_sheen": {"sheenColorFactor": [1, 2]}},
    )
    file.node(mesh=file.triangle_mesh(material=material), name="a\x00\ud800b")
    source = read_mesh(file.glb(tmp_path / "odd.glb"))
    told = Warnings()
    save_mesh_glb(tmp_path / "mesh.glb", source, wave(source), FPS, told)
    content, _ = contents(tmp_path / "mesh.glb")
    (material_,) = content["materials"]
    assert material_["pbrMetallicRoughness"] == {
        "baseColorFactor": [1.0, 0.0, 0.5, 1.0],
        "metallicFactor": 1.0,
        "baseColorTexture": {"index": 0, "texCoord": 2},
    }
    assert len(told.messages) == 1
    assert "GIF" in told.messages[0]
    assert errors_and_warnings(tmp_path / "mesh.glb") == []
    assert played(tmp_path / "mesh.glb", 0.0)["meshes"][0]["attributes"].count("uv2") == 1


def test_coordinates_and_normals_that_cannot_be_read_are_left_out(tmp_path: Path, node_modules: Path) -> None:
    path, *_ = textured_cube(tmp_path)
    file, binary = contents(path)
    attributes = file["meshes"][0]["primitives"][0]["attributes"]
    file["accessors"][attributes["TEXCOORD_0"]]["componentType"] = 99
    file["accessors"].append({"count": 8, "type": "VEC2", "componentType": 5126})
    attributes["NORMAL"] = len(file["accessors"]) - 1
    broken = GltfFile()
    broken.json, broken.binary = file, bytearray(binary)
    source = read_mesh(broken.glb(tmp_path / "broken.glb"))
    told = Warnings()
    save_mesh_glb(tmp_path / "mesh.glb", source, wave(source), FPS, told)
    assert ["texture coordinates" in told.messages[0], "no normals" in told.messages[1]] == [True, True]
    assert errors_and_warnings(tmp_path / "mesh.glb") == ["MESH_PRIMITIVE_GENERATED_TANGENT_SPACE"]


def test_specular_glossiness_has_a_fallback(tmp_path: Path, node_modules: Path) -> None:
    file = GltfFile()
    glossy = {"diffuseFactor": [0.25, 0.5, 1, 1], "diffuseTexture": {"index": file.image(np.zeros((2, 2, 3)))}}
    extensions = {"KHR_materials_pbrSpecularGlossiness": {**glossy, "glossinessFactor": 0.75}}
    file.node(mesh=file.triangle_mesh(material=file.entry("materials", extensions=extensions)))
    source = read_mesh(file.glb(tmp_path / "glossy.glb"))
    save_mesh_glb(tmp_path / "mesh.glb", source, wave(source), FPS)
    shown = played(tmp_path / "mesh.glb", 0.0)["meshes"][0]["material"]
    assert shown["color"] == [0.25, 0.5, 1]
    assert "map" in shown["textures"]
    (material,) = contents(tmp_path / "mesh.glb")[0]["materials"]
    assert material["pbrMetallicRoughness"]["roughnessFactor"] == 0.25


def test_webp_textures_need_their_extension(tmp_path: Path, node_modules: Path) -> None:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (255, 0, 0)).save(buffer, "WEBP", lossless=True)
    file = GltfFile()
    image = file.entry("images", bufferView=file.view(buffer.getvalue()), mimeType="image/webp")
    texture = file.entry("textures", extensions={"EXT_texture_webp": {"source": image}})
    material = file.entry("materials", pbrMetallicRoughness={"baseColorTexture": {"index": texture}})
    file.node(mesh=file.triangle_mesh(material=material))
    file.json["extensionsUsed"] = file.json["extensionsRequired"] = ["EXT_texture_webp"]
    source = read_mesh(file.glb(tmp_path / "webp.glb"))
    save_mesh_glb(tmp_path / "mesh.glb", source, wave(source), FPS)
    content, binary = contents(tmp_path / "mesh.glb")
    assert content["extensionsRequired"] == ["EXT_texture_webp"]
    stored = view(content, binary, content["images"][0]["bufferView"])
    assert stored == buffer.getvalue()
    assert read_rgba(stored, "stored").shape == (4, 4, 4)
    assert errors_and_warnings(tmp_path / "mesh.glb") == []


def test_coordinates_far_from_the_origin_keep_their_digits(tmp_path: Path, node_modules: Path) -> None:
    file = GltfFile()
    file.node(mesh=cube_mesh(file), translation=[1e6, 0, 0])
    source = read_mesh(file.glb(tmp_path / "far.glb"))
    moved = wave(source)
    save_mesh_glb(tmp_path / "mesh.glb", source, moved, FPS)
    content, binary = contents(tmp_path / "mesh.glb")
    (root,) = content["scenes"][0]["nodes"]
    assert content["nodes"][root]["translation"] == [1e6, 0.0, 0.0]
    base = content["meshes"][0]["primitives"][0]["attributes"]["POSITION"]
    np.testing.assert_allclose(accessor(content, binary, base), CUBE, atol=1e-6)
    assert errors_and_warnings(tmp_path / "mesh.glb") == []


def test_a_still_object_and_a_single_frame(tmp_path: Path, node_modules: Path) -> None:
    file = GltfFile()
    file.node(mesh=cube_mesh(file))
    source = read_mesh(file.glb(tmp_path / "cube.glb"))
    save_mesh_glb(tmp_path / "still.glb", source, np.zeros((5, 8, 3)), FPS)
    assert played(tmp_path / "still.glb", 0.0)["animations"] == []
    save_mesh_glb(tmp_path / "one.glb", source, np.full((1, 8, 3), 0.5), FPS)
    np.testing.assert_allclose(played(tmp_path / "one.glb", 0.0)["meshes"][0]["positions"][0], CUBE + 0.5, atol=1e-6)
    assert errors_and_warnings(tmp_path / "still.glb") + errors_and_warnings(tmp_path / "one.glb") == []


def test_large_animations_are_announced_and_keep_the_first_normals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gvf.formats.mesh_glb as module

    monkeypatch.setattr(module, "LARGE", 100)
    path, *_ = textured_cube(tmp_path)
    source = read_mesh(path)
    told = Warnings()
    save_mesh_glb(tmp_path / "mesh.glb", source, wave(source), FPS, told)
    assert ["3 frames of 8 vertices" in message for message in told.messages] == [True]
    content, _ = contents(tmp_path / "mesh.glb")
    assert all(list(target) == ["POSITION"] for target in content["meshes"][0]["primitives"][0]["targets"])


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    path, *_ = textured_cube(tmp_path)
    for name in ("a.glb", "b.glb"):
        source = read_mesh(path)
        save_mesh_glb(tmp_path / name, replace(source), wave(source), FPS)
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def view(content: dict[str, Any], binary: bytes, index: int) -> bytes:
    values = content["bufferViews"][index]
    return binary[values["byteOffset"] : values["byteOffset"] + values["byteLength"]]


def accessor(content: dict[str, Any], binary: bytes, index: int) -> np.ndarray:
    values = content["accessors"][index]
    dtype = {5123: "<u2", 5125: "<u4", 5126: "<f4"}[values["componentType"]]
    return np.frombuffer(view(content, binary, values["bufferView"]), dtype).reshape(values["count"], -1)


def test_an_obj_keeps_its_texture_and_a_ply_with_z_up_stands(tmp_path: Path, node_modules: Path) -> None:
    skin = png([[[255, 0, 0], [0, 255, 0]]])
    (tmp_path / "skin.png").write_bytes(skin)
    (tmp_path / "a.mtl").write_text("newmtl skin\nmap_Kd skin.png\nnewmtl glass\nKd 0.1 0.2 0.3\nd 0.5\n")
    (tmp_path / "a.obj").write_text(
        "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 2 0\nvt 0 0\nvt 1 0\nvt 0 1\nvn 0 0 2\n"
        "usemtl skin\nf 1/1/1 2/2/1 3/3/1\nusemtl glass\nf 3//1 2//1 1//1\n"
    )
    source = read_mesh(tmp_path / "a.obj")
    moved = wave(source)
    save_mesh_glb(tmp_path / "mesh.glb", source, moved, FPS)
    found = played(tmp_path / "mesh.glb", 0.25)["meshes"]
    by_name = {mesh["material"]["name"]: mesh for mesh in found}
    assert by_name["skin"]["material"]["textures"]["map"]["bytes"] == len(skin)
    assert by_name["skin"]["attributes"].count("uv") == 1
    np.testing.assert_allclose(by_name["glass"]["material"]["color"], [0.1, 0.2, 0.3], atol=1e-6)
    shown = np.concatenate([mesh["positions"][0] for mesh in found])
    np.testing.assert_allclose(shown, source.mesh.vertices[0] + moved[1], atol=1e-6)
    content, _ = contents(tmp_path / "mesh.glb")
    assert [material.get("alphaMode") for material in content["materials"]].count("BLEND") == 1
    assert errors_and_warnings(tmp_path / "mesh.glb") == []
    (tmp_path / "b.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nelement face 1\n"
        "property list uchar int vertex_indices\nend_header\n0 0 0 255 0 0\n1 0 0 255 0 0\n0 0 3 255 0 0\n3 0 1 2\n"
    )
    source = read_mesh(tmp_path / "b.ply")
    save_mesh_glb(tmp_path / "mesh.glb", source, np.zeros((1, 3, 3)), FPS)
    (mesh,) = played(tmp_path / "mesh.glb", 0.0)["meshes"]
    np.testing.assert_array_equal(mesh["positions"][0], [[0, 0, 0], [1, 0, 0], [0, 3, 0]])
    assert "color" in mesh["attributes"]
    assert errors_and_warnings(tmp_path / "mesh.glb") == []


def test_whatever_is_wrong_in_a_file_the_copy_is_valid_or_the_file_is_refused(
    tmp_path: Path, node_modules: Path
) -> None:
    """Properties of materials, textures, images and samplers replaced at random by values of every kind."""
    path, *_ = textured_cube(tmp_path)
    whole, binary = contents(path)
    rng = np.random.default_rng(2)
    strange: list[Any] = [None, -1, 0, 3, 1e300, 10**400, 0.5, True, "x", "", [], {}, [0.1, 9, 3], {"index": 7}]
    written = []
    for number in range(60):
        content = json.loads(json.dumps(whole))
        places = [
            (holder, key)
            for kind in ("materials", "textures", "images", "samplers")
            for holder, key in places_in(content[kind])
        ]
        for _ in range(int(rng.integers(1, 3))):
            holder, key = places[int(rng.integers(len(places)))]
            holder[key] = strange[int(rng.integers(len(strange)))]
        broken = GltfFile()
        broken.json, broken.binary = content, bytearray(binary)
        try:
            source = read_mesh(broken.glb(tmp_path / "broken.glb"))
        except UserError:
            continue
        written.append(tmp_path / f"{number}.glb")
        save_mesh_glb(written[-1], source, wave(source), FPS)
    assert len(written) > 10
    errors = [m for messages in validator_messages(*written).values() for m in messages if m["severity"] == 0]
    assert errors == []


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below a JSON value."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    return [(value, key) for key, _ in items] + [place for _, item in items for place in places_in(item)]
