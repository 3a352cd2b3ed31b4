"""Copy the materials of a glTF file into another one: textures keep their encoded bytes, extensions of materials stay.

What the specification does not allow is mended or left out, so that the copy is valid where the source may not be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from gvf.data.gltf.document import GltfDocument
from gvf.data.gltf.fields import Fields
from gvf.data.mesh import ALPHA_MODES, Material
from gvf.errors import ClipError, UserError
from gvf.formats.glb_file import GlbFile
from gvf.storage.images import image_size
from gvf.text import MAX_NAME, clean

WEBP = "EXT_texture_webp"
_TRANSFORM = "KHR_texture_transform"
_GLOSSINESS = "KHR_materials_pbrSpecularGlossiness"
_MIME_TYPES = ((0, b"\x89PNG\r\n\x1a\n", "image/png"), (0, b"\xff\xd8\xff", "image/jpeg"), (8, b"WEBP", "image/webp"))
_LARGEST = 1e30  # of a number in the copy, which readers hold as float32
MAX_UV_SETS = 8
_SAMPLER_CODES = {
    "magFilter": (9728, 9729),
    "minFilter": (9728, 9729, 9984, 9985, 9986, 9987),
    "wrapS": (10497, 33071, 33648),
    "wrapT": (10497, 33071, 33648),
}


class _Numbers(NamedTuple):
    """A number, or as many of them as `length` says, each within [low, high]."""

    low: float = 0.0
    high: float = 1.0
    length: int | None = None


_TEXTURE, _FLAG, _ALPHA_MODE = "texture", "flag", "alpha mode"
_SHARE, _AMOUNT, _ANY = _Numbers(), _Numbers(high=math.inf), _Numbers(-math.inf, math.inf)
_RGB, _RGBA = _Numbers(length=3), _Numbers(length=4)
_Kinds = Mapping[str, _Numbers | str]

_CORE: _Kinds = {
    "normalTexture": _TEXTURE,
    "occlusionTexture": _TEXTURE,
    "emissiveTexture": _TEXTURE,
    "emissiveFactor": _RGB,
    "alphaMode": _ALPHA_MODE,
    "alphaCutoff": _AMOUNT,
    "doubleSided": _FLAG,
}
_METALLIC_ROUGHNESS: _Kinds = {
    "baseColorFactor": _RGBA,
    "baseColorTexture": _TEXTURE,
    "metallicFactor": _SHARE,
    "roughnessFactor": _SHARE,
    "metallicRoughnessTexture": _TEXTURE,
}
_EXTENSIONS: Mapping[str, _Kinds] = {
    "KHR_materials_anisotropy": {
        "anisotropyStrength": _SHARE,
        "anisotropyRotation": _ANY,
        "anisotropyTexture": _TEXTURE,
    },
    "KHR_materials_clearcoat": {
        "clearcoatFactor": _SHARE,
        "clearcoatTexture": _TEXTURE,
        "clearcoatRoughnessFactor": _SHARE,
        "clearcoatRoughnessTexture": _TEXTURE,
        "clearcoatNormalTexture": _TEXTURE,
    },
    "KHR_materials_dispersion": {"dispersion": _AMOUNT},
    "KHR_materials_emissive_strength": {"emissiveStrength": _AMOUNT},
    "KHR_materials_ior": {"ior": _Numbers(1.0, math.inf)},
    "KHR_materials_iridescence": {
        "iridescenceFactor": _SHARE,
        "iridescenceTexture": _TEXTURE,
        "iridescenceIor": _Numbers(1.0, math.inf),
        "iridescenceThicknessMinimum": _AMOUNT,
        "iridescenceThicknessMaximum": _AMOUNT,
        "iridescenceThicknessTexture": _TEXTURE,
    },
    _GLOSSINESS: {
        "diffuseFactor": _RGBA,
        "diffuseTexture": _TEXTURE,
        "specularFactor": _RGB,
        "glossinessFactor": _SHARE,
        "specularGlossinessTexture": _TEXTURE,
    },
    "KHR_materials_sheen": {
        "sheenColorFactor": _RGB,
        "sheenColorTexture": _TEXTURE,
        "sheenRoughnessFactor": _SHARE,
        "sheenRoughnessTexture": _TEXTURE,
    },
    "KHR_materials_specular": {
        "specularFactor": _SHARE,
        "specularTexture": _TEXTURE,
        "specularColorFactor": _Numbers(0.0, math.inf, 3),
        "specularColorTexture": _TEXTURE,
    },
    "KHR_materials_transmission": {"transmissionFactor": _SHARE, "transmissionTexture": _TEXTURE},
    "KHR_materials_unlit": {},
    "KHR_materials_volume": {
        "thicknessFactor": _AMOUNT,
        "thicknessTexture": _TEXTURE,
        "attenuationDistance": _Numbers(1e-6, math.inf),
        "attenuationColor": _RGB,
    },
}


class MaterialCopy:
    """Copies materials of one document into one file, each once. warnings: what had to be left out, for people."""

    def __init__(self, document: GltfDocument, file: GlbFile) -> None:
        self._document, self._file = document, file
        self._materials: dict[int, int] = {}
        self._textures: dict[int, int | None] = {}
        self._images: dict[int, tuple[int, str] | None] = {}
        self._samplers: dict[tuple[tuple[str, int], ...], int] = {}
        self._uv_sets: dict[int, set[int]] = {}
        self.warnings: list[str] = []
        names = "textures", "images", "samplers"
        self._lists = {name: self._entries(name) for name in names}

    def _entries(self, name: str) -> list[Fields]:
        """Return a list of the document; nothing, with a warning, where it is broken and no texture that we draw needs it."""
        try:
            found: list[Fields] = getattr(self._document, name)
            return found
        except ClipError as error:
            self.warnings.append(f"textures are left out of the animated mesh: {error.message}")
            return []

    def material(self, index: int) -> int | None:
        """Return the copy's index of a material; None for the default material, -1."""
        if index < 0:
            return None
        if index not in self._materials:
            used: set[int] = set()
            self._materials[index] = self._file.add("materials", self._copied(index, used))
            self._uv_sets[index] = used
        return self._materials[index]

    def uv_sets(self, index: int) -> set[int]:
        """Return the sets of texture coordinates that a copied material reads."""
        return self._uv_sets.get(index, set())

    def _copied(self, index: int, used: set[int]) -> dict[str, Any]:
        values = self._document.materials[index].values
        copied: dict[str, Any] = {"name": clean(str(values.get("name") or f"material_{index}"), MAX_NAME)}
        metallic = self._picked(_object(values, "pbrMetallicRoughness"), _METALLIC_ROUGHNESS, used)
        extensions = {
            name: self._picked(content, _EXTENSIONS[name], used)
            for name, content in sorted(_object(values, "extensions").items())
            if name in _EXTENSIONS and isinstance(content, dict)
        }
        if _GLOSSINESS in extensions and "baseColorTexture" not in metallic:
            metallic = _from_glossiness(extensions[_GLOSSINESS]) | metallic
        if metallic:
            copied["pbrMetallicRoughness"] = metallic
        copied |= self._picked(values, _CORE, used)
        if copied.get("alphaMode") != "MASK":
            copied.pop("alphaCutoff", None)  # has a meaning, and is valid, in that mode alone
        if extensions:
            copied["extensions"] = extensions
            for name in extensions:
                self._file.declare(name)
        return copied

    def _picked(self, values: Mapping[str, Any], kinds: _Kinds, used: set[int]) -> dict[str, Any]:
        """Return the known properties of an object, with numbers brought into their range and textures copied."""
        picked = {}
        for name, kind in kinds.items():
            value = values.get(name)
            if value is None:
                continue
            found: Any
            if kind == _TEXTURE:
                found = self._texture_info(value, name, used)
            elif isinstance(kind, _Numbers):
                found = _in_range(value, kind)
            elif kind == _FLAG:
                found = bool(value) if value in (0, 1) else None
            else:
                found = value if value in ALPHA_MODES else None
            if found is not None:
                picked[name] = found
        return picked

    def _texture_info(self, info: Any, name: str, used: set[int]) -> dict[str, Any] | None:
        index = _whole(info.get("index")) if isinstance(info, dict) else None
        if index is None or index >= len(self._lists["textures"]) or (texture := self._texture(index)) is None:
            return None
        uv_set = _whole(info.get("texCoord")) or 0
        copied: dict[str, Any] = {"index": texture, **({"texCoord": uv_set} if uv_set else {})}
        for key, owner in (("scale", "ormalTexture"), ("strength", "occlusionTexture")):
            limits = _SHARE if key == "strength" else _ANY
            if name.endswith(owner) and (value := _in_range(info.get(key), limits)) is not None:
                copied[key] = value
        transform = _object(_object(info, "extensions"), _TRANSFORM)
        if transform:
            pair = _Numbers(-math.inf, math.inf, 2)
            kinds = {"offset": pair, "scale": pair, "rotation": _ANY}
            found: dict[str, Any] = {
                key: value for key, kind in kinds.items() if (value := _in_range(transform.get(key), kind)) is not None
            }
            if (other := _whole(transform.get("texCoord"))) is not None:
                found["texCoord"] = uv_set = other
            copied["extensions"] = {_TRANSFORM: found}
            self._file.declare(_TRANSFORM)
        if uv_set >= MAX_UV_SETS:
            return None
        used.add(uv_set)
        return copied

    def _texture(self, index: int) -> int | None:
        if index not in self._textures:
            self._textures[index] = self._new_texture(index)
        return self._textures[index]

    def _new_texture(self, index: int) -> int | None:
        values = self._lists["textures"][index].values
        webp = _object(_object(values, "extensions"), WEBP)
        for holder in (webp, values):
            source = _whole(holder.get("source"))
            if source is not None and source < len(self._lists["images"]) and (image := self._image(source)):
                place, mime = image
                sampler = self._sampler(_whole(values.get("sampler")))
                return add_texture(self._file, place, mime, sampler)
        return None

    def _image(self, index: int) -> tuple[int, str] | None:
        """Return the copy's index of an image and its type; None, with a warning, where it cannot be used."""
        if index not in self._images:
            try:
                encoded = self._document.image_bytes(index)
                self._images[index] = add_image(self._file, encoded, self._lists["images"][index].where)
            except (ClipError, UserError) as error:
                message = error.message if isinstance(error, ClipError) else str(error)
                self.warnings.append(f"a texture is left out of the animated mesh: {message}")
                self._images[index] = None
        return self._images[index]

    def _sampler(self, index: int | None) -> int | None:
        if index is None or index >= len(self._lists["samplers"]):
            return None
        values = self._lists["samplers"][index].values
        codes = {name: _whole(values.get(name)) for name in _SAMPLER_CODES}
        return add_sampler(
            self._file,
            self._samplers,
            {name: code for name, code in codes.items() if code is not None and code in _SAMPLER_CODES[name]},
        )


def add_image(file: GlbFile, encoded: bytes, where: str) -> tuple[int, str]:
    """Add an image's encoded bytes; return its index and its type. Raises UserError for what is not PNG, JPEG or WebP."""
    image_size(encoded, where)
    mime = next(mime for offset, magic, mime in _MIME_TYPES if encoded[offset : offset + len(magic)] == magic)
    return file.add("images", {"bufferView": file.view(encoded), "mimeType": mime}), mime


def add_texture(file: GlbFile, image: int, mime: str, sampler: int | None) -> int:
    """Add a texture of an image of that type, by the extension that holds WebP images where it is one."""
    values: dict[str, Any] = {} if sampler is None else {"sampler": sampler}
    if mime == "image/webp":
        file.declare(WEBP, required=True)
        return file.add("textures", {**values, "extensions": {WEBP: {"source": image}}})
    return file.add("textures", {**values, "source": image})


def add_material(file: GlbFile, material: Material, textures: Mapping[int, int]) -> int:
    """Add a material that is known only as our renderer shows it, without shine. textures: index in the file of each."""
    surface: dict[str, Any] = {
        "baseColorFactor": list(material.base_color),
        "metallicFactor": 0.0,
        "roughnessFactor": 1.0,
    }
    values: dict[str, Any] = {"name": material.name, "doubleSided": material.double_sided}
    if material.texture >= 0:
        surface["baseColorTexture"] = {"index": textures[material.texture]}
    if material.alpha_mode != "OPAQUE":
        values["alphaMode"] = material.alpha_mode
    if any(material.emissive):
        values["emissiveFactor"] = list(material.emissive)
        if material.emissive_texture >= 0:
            values["emissiveTexture"] = {"index": textures[material.emissive_texture]}
    return file.add("materials", {**values, "pbrMetallicRoughness": surface})


def add_sampler(file: GlbFile, known: dict[tuple[tuple[str, int], ...], int], codes: Mapping[str, int]) -> int:
    """Return the index of the sampler with these codes, which is added unless it is known."""
    key = tuple(sorted(codes.items()))
    if key not in known:
        known[key] = file.add("samplers", dict(codes))
    return known[key]


def _from_glossiness(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the closest metallic-roughness values of a specular-glossiness material, for readers without that extension."""
    found = {"metallicFactor": 0.0, "roughnessFactor": 1.0 - values.get("glossinessFactor", 1.0)}
    names = {"diffuseFactor": "baseColorFactor", "diffuseTexture": "baseColorTexture"}
    return found | {names[name]: value for name, value in values.items() if name in names}


def _object(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _whole(value: Any) -> int | None:
    """Return a whole number of at least 0, also one stored as 3.0; None for anything else."""
    sound = (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**31 and value == int(value)
    )
    return int(value) if sound else None


def _in_range(value: Any, limits: _Numbers) -> Any:
    """Return a number or list of numbers, limited to its range; None for anything else."""
    if limits.length is not None:
        if not isinstance(value, list) or len(value) != limits.length:
            return None
        found = [_in_range(item, limits._replace(length=None)) for item in value]
        return None if None in found else found
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
        return None
    return float(min(max(value, limits.low, -_LARGEST), limits.high, _LARGEST))
