"""Read the materials and textures of a glTF file (specification sections 3.8, 3.9) as far as our renderer shows them."""

from __future__ import annotations

import dataclasses
import logging
import math
from dataclasses import dataclass

import numpy as np

from gvf.data.gltf.document import GltfDocument
from gvf.data.gltf.fields import Fields
from gvf.data.mesh import ALPHA_MODES, WRAP_MODES, Material
from gvf.errors import ClipError, UserError
from gvf.storage.images import read_rgba

_logger = logging.getLogger(__name__)

_REPEAT = 10497
_WRAP_MODES = dict(zip((_REPEAT, 33071, 33648), WRAP_MODES))
_READ_FORMATS = {"EXT_texture_webp"}  # texture extensions for images in a supported format
_OTHER_FORMATS = {"KHR_texture_basisu": "KTX2", "MSFT_texture_dds": "DDS", "EXT_texture_avif": "AVIF"}
_BRIGHTEST = 1e4  # upper limit of factors: above it every texel but black is saturated; keeps float32 finite
_FARTHEST = 1e8  # upper limit of texture coordinates


@dataclass(frozen=True)
class TextureUse:
    """How a material reads one of its textures.

    image: image index of the file. uv_set: which TEXCOORD. transform: [2][3], applied to (u, v, 1). wrap: see `Material`.
    """

    image: int
    uv_set: int
    transform: tuple[tuple[float, ...], ...]
    wrap: tuple[str, str]

    def same_uvs(self, other: TextureUse) -> bool:
        """Return whether both textures use the same texture coordinates."""
        return (self.uv_set, self.transform) == (other.uv_set, other.transform)


@dataclass(frozen=True)
class SourceMaterial:
    """A material of the file, without the textures and wrap modes, which `placed_textures` fills in.

    texture, emissive_texture: how it reads its base colour texture and its emissive texture, if it has them.
    """

    material: Material
    texture: TextureUse | None = None
    emissive_texture: TextureUse | None = None


DEFAULT_MATERIAL = SourceMaterial(
    Material("default", (1.0, 1.0, 1.0, 1.0), -1, "OPAQUE", 0.5, False, (0.0, 0.0, 0.0)),
)


def read_material(document: GltfDocument, index: int) -> SourceMaterial:
    """Read a material; -1 is the default material. Raises ClipError("invalid").

    Base colour comes from the metallic-roughness model or, where KHR_materials_pbrSpecularGlossiness is given, from its
    diffuse colour. KHR_materials_unlit overrides both: the material shows its metallic-roughness base colour and nothing
    else, so it has no emission.
    """
    if index < 0:
        return DEFAULT_MATERIAL
    fields = document.materials[index]
    unlit = fields.extension("KHR_materials_unlit") is not None
    glossiness = fields.extension("KHR_materials_pbrSpecularGlossiness")
    if glossiness is not None and not unlit:
        model, factor, texture_info = glossiness, "diffuseFactor", "diffuseTexture"
    else:
        model, factor, texture_info = fields.child("pbrMetallicRoughness"), "baseColorFactor", "baseColorTexture"
    red, green, blue, alpha = map(_factor, model.numbers(factor, 4, (1.0,) * 4))
    emissive = (0.0, 0.0, 0.0) if unlit else _emission(fields)
    material = Material(
        name=fields.text("name", f"material_{index}"),
        base_color=(red, green, blue, alpha),
        texture=-1,
        alpha_mode=fields.text("alphaMode", "OPAQUE", ALPHA_MODES),
        alpha_cutoff=_factor(fields.number("alphaCutoff", 0.5)),
        double_sided=fields.flag("doubleSided", False),
        emissive=emissive,
        unlit=unlit,
    )
    texture = _texture_use(document, model.child(texture_info)) if texture_info in model else None
    emissive_texture = None
    if any(emissive) and "emissiveTexture" in fields:
        emissive_texture = _texture_use(document, fields.child("emissiveTexture"))
    return SourceMaterial(material, texture, emissive_texture)


def placed_textures(sources: list[SourceMaterial]) -> tuple[tuple[Material, ...], list[int]]:
    """Return the materials with textures as indices into a list of the file's images, and that list."""
    images: dict[int, int] = {}
    materials = []
    for source in sources:
        material = source.material
        if (use := source.texture) is not None:
            place = images.setdefault(use.image, len(images))
            material = dataclasses.replace(material, texture=place, wrap=use.wrap)
        if (use := source.emissive_texture) is not None:
            place = images.setdefault(use.image, len(images))
            material = dataclasses.replace(material, emissive_texture=place, emissive_wrap=use.wrap)
        materials.append(material)
    return tuple(materials), list(images)


def read_image(document: GltfDocument, image: int) -> np.ndarray:
    """Decode an image to RGBA [H, W, 4] uint8.

    Raises ClipError("invalid") when it is missing, in an unsupported format, damaged or too large.
    """
    encoded = document.image_bytes(image)
    try:
        return read_rgba(encoded, document.images[image].where)
    except UserError as error:
        raise ClipError("invalid", str(error)) from None


def transform_uvs(uvs: np.ndarray, use: TextureUse) -> np.ndarray:
    """Return a file's texture coordinates [V, 2] after the texture's transform, limited to +-1e8.

    Far below that, float32 no longer resolves parts of a texel; the limit keeps what is computed from them finite.
    """
    transform = np.array(use.transform)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.clip(np.nan_to_num(uvs @ transform[:, :2].T + transform[:, 2]), -_FARTHEST, _FARTHEST)


def _emission(fields: Fields) -> tuple[float, float, float]:
    strength = fields.extension("KHR_materials_emissive_strength")
    factor = 1.0 if strength is None else strength.number("emissiveStrength", 1.0)
    red, green, blue = (_factor(value * factor) for value in fields.numbers("emissiveFactor", 3, (0.0,) * 3))
    return red, green, blue


def _factor(value: float) -> float:
    return min(max(value, 0.0), _BRIGHTEST)


def _texture_use(document: GltfDocument, info: Fields) -> TextureUse | None:
    """Return how a material reads its texture; None, with a warning, where the texture names no image."""
    texture = document.textures[info.index("index", len(document.textures))]
    image = _texture_image(document, texture)
    if image is None:
        _logger.warning("%s: names no image, so %s is left out and only its factor is used.", texture.where, info.where)
        return None
    extension = info.extension("KHR_texture_transform")
    uv_set = info.integer("texCoord", 0)
    transform: tuple[tuple[float, ...], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    if extension is not None:
        uv_set = extension.integer("texCoord", uv_set)
        offset, scale = extension.numbers("offset", 2, (0.0, 0.0)), extension.numbers("scale", 2, (1.0, 1.0))
        angle = extension.number("rotation", 0.0)
        # Offset @ rotation @ scale. Counter-clockwise with v downwards, so the sine's sign is the opposite of the usual
        # one. The extension's text and sample asset agree on this; its GLSL listing was wrong (glTF issue 1563).
        c, s = math.cos(angle), math.sin(angle)
        transform = ((c * scale[0], s * scale[1], offset[0]), (-s * scale[0], c * scale[1], offset[1]))
    return TextureUse(image, uv_set, transform, _wrap(document, texture))


def _texture_image(document: GltfDocument, texture: Fields) -> int | None:
    """Return the index of a texture's image; None where it names no image at all.

    Raises ClipError where all images that it names are in unsupported formats.
    """
    extensions = texture.child("extensions")
    holders = [extensions.child(name) for name in extensions if name in _READ_FORMATS]
    for holder in (*holders, texture):
        if "source" in holder:
            return int(holder.index("source", len(document.images)))
    others = sorted(name for name in extensions if name not in _READ_FORMATS)
    named = [f"{name} ({_OTHER_FORMATS[name]})" if name in _OTHER_FORMATS else name for name in others]
    if named:
        texture.fail(
            f"has an image only as {', '.join(named)}, not as PNG, JPEG or WebP. Save the asset with PNG textures."
        )
    return None


def _wrap(document: GltfDocument, texture: Fields) -> tuple[str, str]:
    """Return how the texture's sampler continues beyond the edges along u and v."""
    if "sampler" not in texture:
        return WRAP_MODES[0], WRAP_MODES[0]
    sampler = document.samplers[texture.index("sampler", len(document.samplers))]
    codes = sampler.integer("wrapS", _REPEAT), sampler.integer("wrapT", _REPEAT)
    for name, code in zip(("wrapS", "wrapT"), codes):
        if code not in _WRAP_MODES:
            sampler.fail(f"has {name} {code}, but it must be one of {', '.join(map(str, _WRAP_MODES))}.")
    return _WRAP_MODES[codes[0]], _WRAP_MODES[codes[1]]
