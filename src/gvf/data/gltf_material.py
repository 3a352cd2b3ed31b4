"""Materials and textures of a glTF file (specification sections 3.8, 3.9), reduced to what our renderer shows."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gvf.data.gltf import GltfDocument
from gvf.data.gltf_fields import Fields
from gvf.data.mesh import ALPHA_MODES, WRAP_MODES, Material, decode_image
from gvf.errors import ClipError

_MAX_PIXELS = 8192 * 8192
_REPEAT = 10497
_WRAP_MODES = dict(zip((_REPEAT, 33071, 33648), WRAP_MODES))


@dataclass(frozen=True)
class TextureUse:
    """How a material reads its base colour texture.

    image: image index of the file. uv_set: which TEXCOORD. transform: [2, 3], applied to (u, v, 1). wrap: of `Material`.
    """

    image: int
    uv_set: int
    transform: np.ndarray
    wrap: tuple[str, str]


@dataclass(frozen=True)
class SourceMaterial:
    """A material of the file; `material.texture` and `wrap` are not set yet, `texture` says what it will show."""

    material: Material
    texture: TextureUse | None
    emissive_image: int | None


DEFAULT_MATERIAL = SourceMaterial(
    Material("default", (1.0, 1.0, 1.0, 1.0), -1, "OPAQUE", 0.5, False, (0.0, 0.0, 0.0)), None, None
)


def read_material(document: GltfDocument, index: int) -> SourceMaterial:
    """Read a material; -1 is the default material. Raises ClipError("invalid").

    Base colour comes from the metallic-roughness model or, where KHR_materials_pbrSpecularGlossiness is given, from its
    diffuse colour.
    """
    if index < 0:
        return DEFAULT_MATERIAL
    fields = document.materials[index]
    glossiness = fields.extension("KHR_materials_pbrSpecularGlossiness")
    if glossiness is not None:
        color, texture_info = glossiness.numbers("diffuseFactor", 4, (1.0,) * 4), "diffuseTexture"
        model = glossiness
    else:
        model = fields.child("pbrMetallicRoughness")
        color, texture_info = model.numbers("baseColorFactor", 4, (1.0,) * 4), "baseColorTexture"
    strength = fields.extension("KHR_materials_emissive_strength")
    factor = 1.0 if strength is None else strength.number("emissiveStrength", 1.0)
    emissive = tuple(min(value * factor, 1.0) for value in fields.numbers("emissiveFactor", 3, (0.0,) * 3))
    emissive_image = None
    if "emissiveTexture" in fields and any(emissive):
        emissive_image = _texture_image(document, fields.child("emissiveTexture"))
    material = Material(
        name=fields.text("name", f"material_{index}"),
        base_color=color,
        texture=-1,
        alpha_mode=fields.text("alphaMode", "OPAQUE", ALPHA_MODES),
        alpha_cutoff=fields.number("alphaCutoff", 0.5),
        double_sided=fields.flag("doubleSided", False),
        emissive=(emissive[0], emissive[1], emissive[2]),
    )
    texture = _texture_use(document, model.child(texture_info)) if texture_info in model else None
    return SourceMaterial(material, texture, emissive_image)


def read_image(document: GltfDocument, image: int) -> np.ndarray:
    """Decode an image to RGBA [H, W, 4] uint8. Raises ClipError("invalid") when it is missing, broken or huge."""
    fields, encoded = document.images[image], document.image_bytes(image)
    try:
        with Image.open(io.BytesIO(encoded)) as header:
            width, height = header.size
        if width * height > _MAX_PIXELS:
            raise ClipError("invalid", f"{fields.where}: has {width} x {height} pixels, at most 8192 x 8192 are read.")
        return decode_image(encoded)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ClipError("invalid", f"{fields.where}: the texture cannot be decoded ({error}).") from None


def mean_linear_color(image: np.ndarray) -> np.ndarray:
    """Mean linear RGB [3] of an sRGB image [H, W, 4] uint8."""
    srgb = np.arange(256) / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.array(linear[image[..., :3]].mean(axis=(0, 1)))


def transform_uvs(uvs: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Texture coordinates [V, 2] under a transform [2, 3]."""
    return uvs @ transform[:, :2].T + transform[:, 2]


def _texture_use(document: GltfDocument, info: Fields) -> TextureUse:
    extension = info.extension("KHR_texture_transform")
    uv_set = info.integer("texCoord", 0)
    transform = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    if extension is not None:
        uv_set = extension.integer("texCoord", uv_set)
        offset, scale = extension.numbers("offset", 2, (0.0, 0.0)), extension.numbers("scale", 2, (1.0, 1.0))
        angle = extension.number("rotation", 0.0)
        # Offset @ rotation @ scale. Counter-clockwise with v downwards, so the sine's sign is the opposite of the usual
        # one: the extension's text and sample asset agree on it, its GLSL listing was wrong (glTF issue 1563).
        c, s = np.cos(angle), np.sin(angle)
        transform = np.array([[c * scale[0], s * scale[1], offset[0]], [-s * scale[0], c * scale[1], offset[1]]])
    return TextureUse(_texture_image(document, info), uv_set, transform, _wrap(document, _texture(document, info)))


def _texture_image(document: GltfDocument, info: Fields) -> int:
    texture = _texture(document, info)
    webp = texture.extension("EXT_texture_webp")
    holder = webp if webp is not None else texture
    if "source" not in holder:
        holder.fail("has no image in a format that is read (PNG, JPEG, WebP). Save the asset again with PNG textures.")
    return int(holder.index("source", len(document.images)))


def _texture(document: GltfDocument, info: Fields) -> Fields:
    return document.textures[info.index("index", len(document.textures))]


def _wrap(document: GltfDocument, texture: Fields) -> tuple[str, str]:
    """How the texture's sampler goes on beyond the edges along u and v."""
    if "sampler" not in texture:
        return WRAP_MODES[0], WRAP_MODES[0]
    sampler = document.samplers[texture.index("sampler", len(document.samplers))]
    codes = sampler.integer("wrapS", _REPEAT), sampler.integer("wrapT", _REPEAT)
    for name, code in zip(("wrapS", "wrapT"), codes):
        if code not in _WRAP_MODES:
            sampler.fail(f"has {name} {code}, must be one of {', '.join(map(str, _WRAP_MODES))}.")
    return _WRAP_MODES[codes[0]], _WRAP_MODES[codes[1]]
