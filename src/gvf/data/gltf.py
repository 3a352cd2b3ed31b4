"""Strict reader of glTF 2.0 containers (.glb, .gltf): JSON, buffers, buffer views and accessors.

Source: Khronos glTF 2.0 specification, sections 3.6 (buffers, accessors), 4 (GLB). Opening a file reads its JSON only;
arrays are read when asked for, so what a mesh would cost is known (`AccessorHeader.count`) before it is paid.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn
from urllib.parse import unquote

import numpy as np

from gvf.data.gltf_fields import Fields
from gvf.errors import ClipError
from gvf.text import MAX_NAME, clean

# Extensions that a file may require: those evaluated here, and those that change only what the shading adds on top.
SUPPORTED_EXTENSIONS = frozenset(
    {
        "KHR_mesh_quantization",
        "KHR_texture_transform",
        "KHR_materials_pbrSpecularGlossiness",
        "EXT_texture_webp",
        "KHR_lights_punctual",
        "KHR_materials_anisotropy",
        "KHR_materials_clearcoat",
        "KHR_materials_dispersion",
        "KHR_materials_emissive_strength",
        "KHR_materials_ior",
        "KHR_materials_iridescence",
        "KHR_materials_sheen",
        "KHR_materials_specular",
        "KHR_materials_transmission",
        "KHR_materials_unlit",
        "KHR_materials_variants",
        "KHR_materials_volume",
        "KHR_xmp_json_ld",
    }
)
GLTF_SUFFIXES = (".glb", ".gltf")

_COMPONENT_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_ELEMENT_SHAPES: dict[str, tuple[int, ...]] = {
    "SCALAR": (),
    "VEC2": (2,),
    "VEC3": (3,),
    "VEC4": (4,),
    "MAT2": (2, 2),
    "MAT3": (3, 3),
    "MAT4": (4, 4),
}
_MAX_ELEMENTS = 1 << 27  # numbers in one accessor: half a GiB of float32; more is a broken or hostile file
_GLB_MAGIC = 0x46546C67
_JSON_CHUNK = 0x4E4F534A
_BIN_CHUNK = 0x004E4942


@dataclass(frozen=True)
class AccessorHeader:
    """What an accessor says of itself, before its data is touched; `element_shape` is () for scalars, (3,) for VEC3."""

    count: int
    element_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    normalized: bool


class GltfDocument:
    """An opened glTF file: its checked top-level lists, and its arrays on demand.

    Every method raises ClipError("invalid") when the file breaks the specification at the place asked for.
    """

    def __init__(self, path: Path, root: Fields, binary_chunk: np.ndarray | None) -> None:
        self.path = path
        self.root = root
        self._binary_chunk = binary_chunk
        self._buffer_cache: dict[int, np.ndarray] = {}
        self.name = root.where

    @cached_property
    def animations(self) -> list[Fields]:
        return self._listing("animations")

    @cached_property
    def nodes(self) -> list[Fields]:
        return self._listing("nodes")

    @cached_property
    def scenes(self) -> list[Fields]:
        return self._listing("scenes")

    @cached_property
    def meshes(self) -> list[Fields]:
        return self._listing("meshes")

    @cached_property
    def skins(self) -> list[Fields]:
        return self._listing("skins")

    @cached_property
    def materials(self) -> list[Fields]:
        return self._listing("materials")

    @cached_property
    def textures(self) -> list[Fields]:
        return self._listing("textures")

    @cached_property
    def samplers(self) -> list[Fields]:
        return self._listing("samplers")

    @cached_property
    def images(self) -> list[Fields]:
        return self._listing("images")

    @cached_property
    def accessors(self) -> list[Fields]:
        return self._listing("accessors")

    @cached_property
    def _buffers(self) -> list[Fields]:
        return self._listing("buffers")

    @cached_property
    def _buffer_views(self) -> list[Fields]:
        return self._listing("bufferViews")

    @property
    def animation_names(self) -> list[str]:
        """Cleaned name of every animation, in file order; `animation_<index>` where the file gives none to be seen."""
        names = [item.text("name", "") for item in self.animations]
        return [clean(name, MAX_NAME) or f"animation_{i}" for i, name in enumerate(names)]

    @property
    def side_files(self) -> list[Path]:
        """Files beside this one that its buffers and images are in, whether they exist or not.

        A URI that is refused is left out: reading what it should hold says so, and often nothing does.
        """
        paths = set()
        for item in (*self._buffers, *self.images):
            with suppress(ClipError):
                uri = item.text("uri", "data:")
                if not uri.startswith("data:"):
                    paths.add(self._beside(uri, item))
        return sorted(paths)

    def header(self, accessor: int) -> AccessorHeader:
        """Count, shape and type of an accessor, without its data."""
        fields = self.accessors[accessor]
        component_type = fields.integer("componentType")
        if component_type not in _COMPONENT_TYPES:
            fields.fail(f"componentType {component_type} is not one of {', '.join(map(str, _COMPONENT_TYPES))}.")
        shape = _ELEMENT_SHAPES[fields.text("type", allowed=_ELEMENT_SHAPES)]
        normalized = fields.flag("normalized", False)
        if normalized and component_type in (5125, 5126):
            fields.fail("normalized is not allowed for 32-bit components.")
        dtype = np.dtype(_COMPONENT_TYPES[component_type])
        return AccessorHeader(fields.integer("count", low=1), shape, dtype, normalized)

    def array(self, accessor: int, element_type: str | None = None) -> np.ndarray:
        """Data of an accessor, [count, *element shape]; matrices come as [count, row, column].

        As stored, or float32 in [-1, 1] or [0, 1] where it is normalized.
        element_type: what it must be, e.g. "VEC3"; any when None.
        """
        fields, header = self.accessors[accessor], self.header(accessor)
        if element_type is not None and header.element_shape != _ELEMENT_SHAPES[element_type]:
            fields.fail(f"type must be {element_type} where it is used, is {fields.text('type')}.")
        if header.count * int(np.prod(header.element_shape, dtype=np.int64)) > _MAX_ELEMENTS:
            fields.fail(f"count {header.count} is beyond what one accessor may hold here.")
        if "bufferView" in fields:
            view, stride = self._view(fields)
            data = self._strided(fields, view, fields.integer("byteOffset", 0), stride, header)
        else:
            data = np.zeros((header.count, *header.element_shape), header.dtype)
        if "sparse" in fields:
            self._scatter(fields.child("sparse"), data, header)
        if header.normalized:
            limit = np.iinfo(header.dtype).max
            data = np.maximum(data.astype(np.float32) / np.float32(limit), -1.0)
        return data

    def floats(self, accessor: int, element_type: str) -> np.ndarray:
        """Data of an accessor as finite float64, [count, *element shape]."""
        data = self.array(accessor, element_type).astype(np.float64)
        if not np.isfinite(data).all():
            self.accessors[accessor].fail("has a NaN or infinite value.")
        return data

    def integers(self, accessor: int, element_type: str) -> np.ndarray:
        """Data of an accessor of unsigned integers as int64, [count, *element shape]."""
        if self.header(accessor).dtype.kind != "u":
            self.accessors[accessor].fail("must hold unsigned integers where it is used.")
        return self.array(accessor, element_type).astype(np.int64)

    def image_bytes(self, image: int) -> bytes:
        """Encoded bytes (PNG, JPEG...) of an image. Raises ClipError when its file or buffer is missing."""
        fields = self.images[image]
        if "bufferView" in fields:
            view, _ = self._view(fields)
            return view.tobytes()
        return self._uri_bytes(fields.text("uri"), fields)

    def _listing(self, name: str) -> list[Fields]:
        return [Fields(item.values, f"{self.name}: {name}[{i}]") for i, item in enumerate(self.root.children(name))]

    def _view(self, user: Fields) -> tuple[np.ndarray, int | None]:
        """Bytes [byteLength] and stride of the buffer view that `user` names."""
        fields = self._buffer_views[user.index("bufferView", len(self._buffer_views))]
        data = self._buffer(fields.index("buffer", len(self._buffers)))
        offset, length = fields.integer("byteOffset", 0), fields.integer("byteLength", low=1)
        if offset + length > len(data):
            fields.fail(f"ends at byte {offset + length}, but its buffer has {len(data)} bytes.")
        return data[offset : offset + length], fields.integer("byteStride", None, low=1)

    def _buffer(self, index: int) -> np.ndarray:
        if index not in self._buffer_cache:
            fields = self._buffers[index]
            length = fields.integer("byteLength", low=1)
            if "uri" in fields:
                data = np.frombuffer(self._uri_bytes(fields.text("uri"), fields), np.uint8)
            elif index == 0 and self._binary_chunk is not None:
                data = self._binary_chunk
            else:
                fields.fail("has no uri, and the file has no binary chunk for it.")
            if len(data) < length:
                fields.fail(f"should have {length} bytes, has {len(data)}: the data is cut short.")
            self._buffer_cache[index] = data[:length]
        return self._buffer_cache[index]

    def _uri_bytes(self, uri: str, user: Fields) -> bytes:
        if uri.startswith("data:"):
            head, comma, body = uri.partition(",")
            if not comma or not head.endswith(";base64"):
                user.fail("uri is a data URI that is not base64.")
            try:
                return base64.b64decode(unquote(body), validate=True)
            except (binascii.Error, ValueError) as error:
                user.fail(f"uri is not valid base64 ({error}).")
        path = self._beside(uri, user)
        try:
            return path.read_bytes()
        except OSError as error:
            user.fail(f"cannot read its file {uri!r} ({error.strerror}). Put it beside {self.path.name}.")

    def _beside(self, uri: str, user: Fields) -> Path:
        """Path of a side file. Refuses network addresses, absolute paths and ways out of the file's own folder."""
        relative = PurePosixPath(unquote(uri))
        unsafe = "\\" in relative.as_posix() or "\0" in relative.as_posix() or not relative.name
        if unsafe or re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", uri) or relative.is_absolute() or ".." in relative.parts:
            user.fail(f"uri {uri[:80]!r} is not a file in the folder of {self.path.name}. Pack the asset as one .glb.")
        return self.path.parent / relative

    def _strided(
        self, fields: Fields, view: np.ndarray, offset: int, stride: int | None, header: AccessorHeader
    ) -> np.ndarray:
        """Copy of `count` elements that start at `offset` and lie `stride` bytes apart (tightly packed when None)."""
        size = header.dtype.itemsize
        if len(header.element_shape) == 2:
            # Columns of matrices start at multiples of 4 bytes (section 3.6.2.4).
            rows = header.element_shape[0]
            column = -(-rows * size // 4) * 4
            element, inner = column * rows, [size, column]
        else:
            element = size * int(np.prod(header.element_shape, dtype=np.int64))
            inner = [size] * len(header.element_shape)
        step = element if stride is None else stride
        if step < element:
            fields.fail(f"needs {element} bytes an element, but its byteStride is {step}.")
        end = offset + step * (header.count - 1) + element
        if end > len(view):
            fields.fail(f"ends at byte {end} of a buffer view of {len(view)} bytes.")
        shape = (header.count, *header.element_shape)
        return np.array(np.ndarray(shape, header.dtype, np.ascontiguousarray(view), offset, (step, *inner)))

    def _scatter(self, sparse: Fields, data: np.ndarray, header: AccessorHeader) -> None:
        """Write the sparse values of an accessor over its base data, in place (section 3.6.2.3)."""
        count = sparse.integer("count", low=1)
        index_fields, value_fields = sparse.child("indices"), sparse.child("values")
        component_type = index_fields.integer("componentType")
        if component_type not in (5121, 5123, 5125):
            index_fields.fail("componentType must be an unsigned integer.")
        index_view, _ = self._view(index_fields)
        index_header = AccessorHeader(count, (), np.dtype(_COMPONENT_TYPES[component_type]), False)
        indices = self._strided(index_fields, index_view, index_fields.integer("byteOffset", 0), None, index_header)
        if indices.max() >= header.count or (np.diff(indices.astype(np.int64)) <= 0).any():
            index_fields.fail(f"must be increasing and below {header.count}.")
        value_view, _ = self._view(value_fields)
        value_header = AccessorHeader(count, header.element_shape, header.dtype, False)
        data[indices] = self._strided(
            value_fields, value_view, value_fields.integer("byteOffset", 0), None, value_header
        )


def read_gltf(path: str | Path) -> GltfDocument:
    """Open a .glb or .gltf file and check its container, version and required extensions.

    Raises ClipError("invalid") when it is missing, empty, cut short, not glTF 2.0, or needs an unsupported extension.
    """
    path = Path(path)
    name = path.name
    try:
        with path.open("rb") as file:
            head = file.read(12)
            if not head:
                raise ClipError("invalid", f"{name}: is empty.")
            if len(head) == 12 and struct.unpack("<I", head[:4])[0] == _GLB_MAGIC:
                text, chunk = _read_glb(path, head, name)
            elif path.suffix.lower() == ".glb":
                raise ClipError("invalid", f"{name}: is not a GLB file (it does not begin with 'glTF').")
            else:
                text, chunk = path.read_bytes(), None
    except OSError as error:
        raise ClipError("invalid", f"{name}: cannot be read ({error.strerror}).") from None
    root = Fields(_parse_json(text, name), name)
    asset = root.child("asset")
    version, least = asset.text("version"), asset.text("minVersion", "2.0")
    if not version.startswith("2.") or least != "2.0":
        raise ClipError("invalid", f"{name}: is glTF version {version[:20]} (needs {least[:20]}), only 2.0 is read.")
    missing = sorted(set(root.texts("extensionsRequired")) - SUPPORTED_EXTENSIONS)
    if missing:
        raise ClipError(
            "invalid",
            f"{name}: needs {', '.join(missing)}, not supported. Save it again without compression or extensions.",
        )
    return GltfDocument(path, root, chunk)


def _read_glb(path: Path, head: bytes, name: str) -> tuple[bytes, np.ndarray | None]:
    """JSON bytes and binary chunk (mapped, not loaded) of a GLB file (section 4.4)."""
    _, version, length = struct.unpack("<3I", head)
    if version != 2:
        raise ClipError("invalid", f"{name}: is GLB container version {version}, only 2 is read.")
    size = path.stat().st_size
    if size < length:
        raise ClipError("invalid", f"{name}: is cut short: {size} of {length} bytes.")
    text: bytes | None = None
    chunk: np.ndarray | None = None
    position = 12
    with path.open("rb") as file:
        while position + 8 <= length:
            file.seek(position)
            chunk_length, kind = struct.unpack("<2I", file.read(8))
            position += 8
            if position + chunk_length > length:
                raise ClipError("invalid", f"{name}: a chunk reaches beyond the end of the file.")
            if kind == _JSON_CHUNK and text is None:
                text = file.read(chunk_length)
            elif kind == _BIN_CHUNK and chunk is None and chunk_length:
                chunk = np.memmap(path, np.uint8, "r", position, (chunk_length,))
            position += chunk_length
    if text is None:
        raise ClipError("invalid", f"{name}: has no JSON chunk.")
    return text, chunk


def _parse_json(text: bytes, name: str) -> Any:
    def constant(value: str) -> NoReturn:
        raise ValueError(f"{value} is not JSON")

    try:
        return json.loads(text.decode("utf-8-sig"), parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise ClipError("invalid", f"{name}: its JSON cannot be read ({error}).") from None
