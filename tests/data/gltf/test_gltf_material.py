"""Materials: base colour, emission, unlit, their textures, and the messages about textures that cannot be read."""

from __future__ import annotations

import io
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gvf.data.gltf.baking import bake_clip, load_model
from gvf.data.gltf.document import read_gltf
from gvf.data.gltf.material import read_image, read_material, transform_uvs
from gvf.errors import ClipError
from gvf.geometry.camera import intrinsics, orbit
from gvf.rendering.mesh_views import render_mesh
from tests.data.gltf.gltf_files import GltfFile, sliding_triangle

RED_TEXEL, BLUE_TEXEL = [[[255, 0, 0]]], [[[0, 0, 255]]]


def test_materials_of_both_models(tmp_path: Path) -> None:
    file = GltfFile()
    texture = file.image(RED_TEXEL)
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
    assert second.texture is not None
    assert second.texture.uv_set == 0
    assert second.material.double_sided
    np.testing.assert_allclose(second.material.emissive, [1.5, 0.75, 0.3])
    assert default.material.base_color == (1, 1, 1, 1)
    assert default.texture is None
    assert not default.material.double_sided
    assert read_image(document, 0).tolist() == [[[255, 0, 0, 255]]]


def test_unlit_shows_the_metallic_roughness_colour_and_nothing_else(tmp_path: Path) -> None:
    file = GltfFile()
    texture = file.image(RED_TEXEL)
    file.entry(
        "materials",
        pbrMetallicRoughness={"baseColorFactor": [0.1, 0.2, 0.3, 1.0]},
        emissiveFactor=[1, 1, 1],
        emissiveTexture={"index": texture},
        extensions={"KHR_materials_unlit": {}, "KHR_materials_pbrSpecularGlossiness": {"diffuseFactor": [1, 1, 1, 1]}},
    )
    source = read_material(read_gltf(file.glb(tmp_path / "a.glb")), 0)
    assert source.material.unlit
    assert source.material.base_color == (0.1, 0.2, 0.3, 1.0)
    assert source.material.emissive == (0.0, 0.0, 0.0)
    assert source.emissive_texture is None


def test_factors_stay_finite_in_float32(tmp_path: Path) -> None:
    file = GltfFile()
    file.entry(
        "materials",
        pbrMetallicRoughness={"baseColorFactor": [1e300, -1, 0.5, 1]},
        emissiveFactor=[1e300, 0, 1],
        extensions={"KHR_materials_emissive_strength": {"emissiveStrength": 1e200}},
    )
    material = read_material(read_gltf(file.glb(tmp_path / "a.glb")), 0).material
    assert material.base_color == (1e4, 0.0, 0.5, 1.0)
    assert material.emissive == (1e4, 0.0, 1e4)


def test_texture_transform_rotates_with_v_downwards(tmp_path: Path) -> None:
    """The extension turns texture coordinates counter-clockwise as seen with v downwards: (1, 0) goes to (0, -1)."""
    file = GltfFile()
    transform = {"offset": [10, 20], "rotation": math.pi / 2, "scale": [2, 3], "texCoord": 2}
    info = {"index": file.image([[[1, 2, 3]]]), "extensions": {"KHR_texture_transform": transform}}
    file.entry("materials", pbrMetallicRoughness={"baseColorTexture": info})
    use = read_material(read_gltf(file.glb(tmp_path / "a.glb")), 0).texture
    assert use is not None
    assert use.uv_set == 2
    moved = transform_uvs(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), use)
    np.testing.assert_allclose(moved, [[10, 20], [10, 18], [13, 20]], atol=1e-12)


def glowing(emissive: dict[str, Any], base: bool) -> GltfFile:
    """A sliding triangle with an emissive texture and, if `base`, a base colour texture on TEXCOORD_0."""
    file = sliding_triangle()
    blue, red = file.image(BLUE_TEXEL), file.image(RED_TEXEL)
    attributes = file.json["meshes"][0]["primitives"][0]["attributes"]
    attributes["TEXCOORD_0"] = file.accessor([[0, 0], [1, 0], [0, 1]], "VEC2")
    attributes["TEXCOORD_1"] = file.accessor([[0.5, 0], [0, 0.5], [0.5, 0.5]], "VEC2")
    material = {"emissiveFactor": [1, 0.5, 0], "emissiveTexture": {"index": red, **emissive}}
    if base:
        material["pbrMetallicRoughness"] = {"baseColorTexture": {"index": blue}}
    file.json["meshes"][0]["primitives"][0]["material"] = file.entry("materials", **material)
    return file


def test_an_emissive_texture_has_its_own_coordinates_only_where_they_differ(tmp_path: Path) -> None:
    shift = {"extensions": {"KHR_texture_transform": {"offset": [0.25, 0]}}}
    plain = np.array([[0, 0], [1, 0], [0, 1]])
    second = np.array([[0.5, 0], [0, 0.5], [0.5, 0.5]])
    for emissive, base, uvs, emissive_uvs in (
        ({}, True, plain, None),
        ({}, False, plain, None),
        ({"texCoord": 1}, False, second, None),
        ({"texCoord": 1}, True, plain, second),
        (shift, True, plain, plain + np.array([0.25, 0])),
    ):
        document = read_gltf(glowing(emissive, base).glb(tmp_path / "a.glb"))
        model = load_model(document)
        mesh = bake_clip(model, model.animation(0), np.zeros(1))
        np.testing.assert_array_equal(mesh.uvs, uvs)
        (material,) = mesh.materials
        if emissive_uvs is None:
            assert mesh.emissive_uvs is None
        else:
            np.testing.assert_array_equal(mesh.emissive_uvs, emissive_uvs)
        assert material.emissive == (1.0, 0.5, 0.0)
        assert mesh.textures[material.emissive_texture].tolist() == [[[255, 0, 0, 255]]]
        assert len(mesh.textures) == 1 + base
        assert (material.texture >= 0) == base


def test_the_sampler_of_an_emissive_texture_is_its_own(tmp_path: Path) -> None:
    file = glowing({}, base=True)
    file.json["textures"][1]["sampler"] = file.entry("samplers", wrapS=33071, wrapT=33648)
    (material,) = load_model(read_gltf(file.glb(tmp_path / "a.glb"))).materials
    assert material.wrap == ("REPEAT", "REPEAT")
    assert material.emissive_wrap == ("CLAMP_TO_EDGE", "MIRRORED_REPEAT")


def test_unknown_wrap_modes_are_refused(tmp_path: Path) -> None:
    file = GltfFile()
    texture = file.image([[[1, 2, 3]]])
    file.json["textures"][texture]["sampler"] = file.entry("samplers", wrapS=33071, wrapT=7)
    file.entry("materials", pbrMetallicRoughness={"baseColorTexture": {"index": texture}})
    with pytest.raises(ClipError, match="has wrapT 7, but it must be one of 10497, 33071, 33648"):
        read_material(read_gltf(file.glb(tmp_path / "a.glb")), 0)


def textured(texture: dict[str, Any], tmp_path: Path) -> Any:
    """The document of a material with this texture; image 0 is a red PNG."""
    file = GltfFile()
    file.entry("images", bufferView=file.view(_png()), mimeType="image/png")
    file.entry("textures", **texture)
    color = {"baseColorFactor": [0.5, 0.25, 1, 1], "baseColorTexture": {"index": 0}}
    file.entry("materials", pbrMetallicRoughness=color)
    return read_gltf(file.glb(tmp_path / "a.glb"))


def test_without_an_image_only_the_factor_of_a_texture_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        source = read_material(textured({"sampler": 0}, tmp_path), 0)
    assert source.texture is None
    assert source.material.base_color == (0.5, 0.25, 1.0, 1.0)
    assert "a.glb: textures[0]: names no image, so a.glb: materials[0]" in caplog.text


@pytest.mark.parametrize(
    ("extensions", "words"),
    [
        (
            {"KHR_texture_basisu": {"source": 0}},
            r"textures\[0\]: has an image only as KHR_texture_basisu \(KTX2\), not",
        ),
        ({"MSFT_texture_dds": {"source": 0}}, r"only as MSFT_texture_dds \(DDS\), not"),
        ({"VENDOR_new": {"source": 0}}, "only as VENDOR_new, not"),
    ],
)
def test_an_image_only_in_an_unsupported_format_is_refused_by_name(
    tmp_path: Path, extensions: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClipError, match=words):
        read_material(textured({"extensions": extensions}, tmp_path), 0)
    fallback = read_material(textured({"extensions": extensions, "source": 0}, tmp_path), 0)
    assert fallback.texture is not None
    assert fallback.texture.image == 0


@pytest.mark.filterwarnings("error")
def test_extreme_numbers_of_a_material_are_limited_to_the_range_of_float32(tmp_path: Path) -> None:
    huge = {"scale": [1e300, 1.0], "offset": [-1e300, 1e30]}
    info = {"index": 0, "extensions": {"KHR_texture_transform": huge}}
    file = GltfFile()
    uvs = file.accessor([[0.0, 0.0], [1.0, 0.5], [3e38, 1.0]], "VEC2")
    material = {"alphaMode": "MASK", "alphaCutoff": 1e300, "pbrMetallicRoughness": {"baseColorTexture": info}}
    file.entry("materials", **material)
    file.image(RED_TEXEL)
    node = file.node(mesh=file.triangle_mesh(attributes={"TEXCOORD_0": uvs}, material=0))
    file.channel(file.animation(), node, "translation", [0.0, 1.0], [[0, 0, 0], [1, 0, 0]])
    model = load_model(read_gltf(file.glb(tmp_path / "a.glb")))
    assert model.uvs.tolist() == [[-1e8, 1e8], [0.0, 1e8], [1e8, 1e8]]
    mesh = bake_clip(model, model.animation(0), np.zeros(1)).normalized()
    viewmats, Ks = orbit([0.0], [0.0], 2.0), np.tile(intrinsics(40.0), (1, 1, 1))
    assert not render_mesh(mesh.vertices[0], mesh, viewmats, Ks, 16, 1)[..., 3].any()  # no alpha reaches the cut-off


def test_webp_by_its_extension(tmp_path: Path) -> None:
    file = GltfFile()
    buffer = io.BytesIO()
    Image.new("RGB", (2, 3), (0, 0, 255)).save(buffer, "WEBP", lossless=True)
    image = file.entry("images", bufferView=file.view(buffer.getvalue()), mimeType="image/webp")
    file.entry("textures", extensions={"EXT_texture_webp": {"source": image}})
    file.entry("materials", pbrMetallicRoughness={"baseColorTexture": {"index": 0}})
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    source = read_material(document, 0)
    assert source.texture is not None
    pixels = read_image(document, source.texture.image)
    assert pixels.shape == (3, 2, 4)
    assert pixels[0, 0].tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no image", r"a\.glb: images\[0\]: is not a PNG, JPEG or WebP image"),
        (b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(64), "is a KTX2 file, not a PNG, JPEG or WebP image"),
        (b"DDS |" + bytes(124), "is a DDS file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(8), "begins like a PNG file, but is damaged"),
    ],
)
def test_undecodable_images_are_refused_with_one_message(tmp_path: Path, content: bytes, words: str) -> None:
    file = GltfFile()
    file.entry("images", bufferView=file.view(content), mimeType="image/png")
    document = read_gltf(file.glb(tmp_path / "a.glb"))
    messages = set()
    for _ in range(2):
        with pytest.raises(ClipError, match=words) as caught:
            read_image(document, 0)
        assert caught.value.reason == "invalid"
        messages.add(caught.value.message)
    assert len(messages) == 1


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1), (255, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()
