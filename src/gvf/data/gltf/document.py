"""Strict reader of glTF 2.0 files: buffers, buffer views and accessors.

Source: Khronos glTF 2.0 specification, section 3.6. Opening a file reads its JSON only; arrays are read on
demand, so the size of a mesh is known (`AccessorHeader.count`) before memory is allocated for it.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import stat
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn
from urllib.parse import unquote

import numpy as np

from gvf.data.gltf.container import read_container
from gvf.data.gltf.fields import Fields
from gvf.errors import ClipError
from gvf.text import MAX_NAME, clean

DRACO = "KHR_draco_mesh_compression"
# Extensions that a file may require: those evaluated here, and those that change only what the shading adds on top.
SUPPORTED_EXTENSIONS = frozenset(
    {
        "KHR_mesh_quantization",
        DRACO,
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
# Extensions that do not change where accessors store their data.
HARMLESS_EXTENSIONS = SUPPORTED_EXTENSIONS - {DRACO}
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
_MAX_NUMBERS = 1 << 27  # in one accessor: half a GiB of float32; more is a broken or hostile file
# In one accessor without a buffer view, whose zeros take no space in the file: morph targets of 2.8 million vertices.
_MAX_ZEROS = 1 << 23
_SHOWN = 80  # characters of a URI in a message
# Extensions that may store the values of an accessor elsewhere.
_COMPRESSION = re.compile(r"draco|meshopt|compress|codec|pack|quant", re.IGNORECASE)


@dataclass(frozen=True)
class AccessorHeader:
    """What an accessor declares, known before its data is read; `element_shape` is () for scalars, (3,) for VEC3."""

    count: int
    element_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    normalized: bool

    @property
    def num_numbers(self) -> int:
        """Return how many numbers all elements have together."""
        return self.count * math.prod(self.element_shape)


class GltfDocument:
    """An opened glTF file: its checked top-level lists, and its arrays on demand.

    Every method raises ClipError("invalid") when the file breaks the specification at the place asked for.
    """

    def __init__(self, path: Path, root: Fields, binary_chunk: np.ndarray | None) -> None:
        self.path = path
        self.root = root
        self._binary_chunk = binary_chunk
        self._buffer_cache: dict[int, np.ndarray] = {}
        self._decoded: dict[int, np.ndarray] = {}
        self.name = root.where

    @property
    def warnings(self) -> list[str]:
        """Return the faults that did not prevent reading the file, in the order found; the list grows during reading."""
        return self.root.warnings.messages

    @cached_property
    def hiding_extensions(self) -> frozenset[str]:
        """Return the extensions used by the file that may hold the values of accessors without data."""
        return frozenset(self.root.texts("extensionsUsed")) - HARMLESS_EXTENSIONS

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
        """Return the cleaned name of every animation, in file order; `animation_<index>` where no visible name is given."""
        names = [item.text("name", "") for item in self.animations]
        return [clean(name, MAX_NAME) or f"animation_{i}" for i, name in enumerate(names)]

    @property
    def side_files(self) -> list[Path]:
        """Return the paths of the files that buffers and images refer to, whether they exist or not.

        Refused URIs are left out: reading their data raises the error, and often nothing needs it.
        """
        paths = set()
        for item in (*self._buffers, *self.images):
            with suppress(ClipError):
                uri = item.text("uri", "data:")
                if not uri.startswith("data:"):
                    paths.add(self._beside(uri, item))
        return sorted(paths)

    def header(self, accessor: int) -> AccessorHeader:
        """Return count, shape and type of an accessor without reading its data."""
        fields = self.accessors[accessor]
        component_type = fields.integer("componentType")
        if component_type not in _COMPONENT_TYPES:
            fields.fail(f"componentType {component_type} is not one of {', '.join(map(str, _COMPONENT_TYPES))}.")
        shape = _ELEMENT_SHAPES[fields.text("type", allowed=_ELEMENT_SHAPES)]
        dtype = np.dtype(_COMPONENT_TYPES[component_type])
        normalized = fields.flag("normalized", False)
        if normalized and dtype.kind == "f":
            fields.warn("normalized has no meaning for float components and is ignored.")
            normalized = False
        return AccessorHeader(fields.integer("count", low=1), shape, dtype, normalized)

    def has_data(self, accessor: int) -> bool:
        """Return whether the file gives values for an accessor; without any they are all zero (section 3.6.2.3)."""
        fields = self.accessors[accessor]
        return "bufferView" in fields or "sparse" in fields or accessor in self._decoded

    def add_accessor(self, values: dict[str, Any], where: str, data: np.ndarray) -> int:
        """Add an accessor whose `data` [count, *element shape] was decoded elsewhere, and return its index."""
        self.accessors.append(Fields(values, where, self.root.warnings))
        self._decoded[len(self.accessors) - 1] = data
        return len(self.accessors) - 1

    def array(self, accessor: int, element_type: str | None = None) -> np.ndarray:
        """Return an accessor's data as stored, [count, *element shape]; matrices are [count, row, column].

        element_type: the type required, e.g. "VEC3"; None accepts any. The header is checked against the data in the
        file before any memory is allocated. Raises ClipError("invalid").
        """
        fields, header = self.accessors[accessor], self.header(accessor)
        if element_type is not None and header.element_shape != _ELEMENT_SHAPES[element_type]:
            fields.fail(f"type must be {element_type} where it is used, but is {fields.text('type')}.")
        if accessor in self._decoded:
            return self._decoded[accessor]
        if header.num_numbers > (_MAX_NUMBERS if "bufferView" in fields else _MAX_ZEROS):
            fields.fail(f"count {header.count} is beyond what one accessor may hold here.")
        if "bufferView" in fields:
            view, stride = self.view(fields)
            data = self._strided(fields, view, fields.integer("byteOffset", 0), stride, header)
        else:
            if "sparse" not in fields:
                self._refuse_hidden_data(fields)
            data = np.zeros((header.count, *header.element_shape), header.dtype)
        if "sparse" in fields:
            self._scatter(fields.child("sparse"), data, header)
        return data

    def numbers(self, accessor: int, element_type: str) -> np.ndarray:
        """Return an accessor's data as float64, [count, *element shape]; in [-1, 1] or [0, 1] where normalized.

        NaN and infinite values are kept.
        """
        fields, header = self.accessors[accessor], self.header(accessor)
        if header.normalized and header.dtype.itemsize == 4:
            fields.fail("normalized is not allowed for 32-bit components.")
        data = self.array(accessor, element_type).astype(np.float64)
        return np.maximum(data / np.iinfo(header.dtype).max, -1.0) if header.normalized else data

    def floats(self, accessor: int, element_type: str) -> np.ndarray:
        """Return what `numbers` does; raises ClipError("invalid") when a value is NaN or infinite."""
        data = self.numbers(accessor, element_type)
        if not np.isfinite(data).all():
            self.accessors[accessor].fail("has a NaN or infinite value.")
        return data

    def integers(self, accessor: int, element_type: str) -> np.ndarray:
        """Return the data of an accessor of unsigned integers as int64, [count, *element shape].

        `normalized`, which is not allowed for indices, is ignored with a warning.
        """
        header = self.header(accessor)
        if header.dtype.kind != "u":
            self.accessors[accessor].fail("must hold unsigned integers where it is used.")
        if header.normalized:
            self.accessors[accessor].warn("normalized is not allowed for indices and is ignored.")
        return self.array(accessor, element_type).astype(np.int64)

    def image_bytes(self, image: int) -> bytes:
        """Return the encoded bytes (PNG, JPEG...) of an image. Raises ClipError when its file or buffer is missing."""
        fields = self.images[image]
        if "bufferView" in fields:
            view, _ = self.view(fields)
            return view.tobytes()
        return self._uri_bytes(fields.text("uri"), fields)

    def _listing(self, name: str) -> list[Fields]:
        return [
            Fields(item.values, f"{self.name}: {name}[{i}]", self.root.warnings)
            for i, item in enumerate(self.root.children(name))
        ]

    def view(self, user: Fields) -> tuple[np.ndarray, int | None]:
        """Return the bytes [byteLength] uint8 and the stride of the buffer view that `user` names."""
        fields = self._buffer_views[user.index("bufferView", len(self._buffer_views))]
        offset, length = fields.integer("byteOffset", 0), fields.integer("byteLength", low=1)
        self._refuse_compressed_view(fields, offset, length)
        data = self._buffer(fields.index("buffer", len(self._buffers)))
        if offset + length > len(data):
            fields.fail(f"ends at byte {offset + length}, but its buffer has {len(data)} bytes.")
        return data[offset : offset + length], fields.integer("byteStride", None, low=1)

    def _buffer(self, index: int) -> np.ndarray:
        if index not in self._buffer_cache:
            fields = self._buffers[index]
            length = fields.integer("byteLength", low=1)
            if "uri" in fields:
                data = self._uri_buffer(fields, length)
            elif index == 0 and self._binary_chunk is not None:
                data = self._binary_chunk
            else:
                fields.fail("has no uri, and the file has no binary chunk for it.")
            if len(data) < length:
                fields.fail(f"should have {length} bytes, but has {len(data)}: the data is cut short.")
            self._buffer_cache[index] = data[:length]
        return self._buffer_cache[index]

    def _uri_buffer(self, fields: Fields, length: int) -> np.ndarray:
        """Return the bytes of a buffer that has a uri; a file of at least `length` bytes is memory-mapped, not loaded."""
        uri = fields.text("uri")
        if uri.startswith("data:"):
            return np.frombuffer(_data_uri(uri, fields), np.uint8)
        path = self._side_file(uri, fields)
        size = path.stat().st_size
        if size < length:
            fields.fail(f"should have {length} bytes, but has {size}: the data is cut short.")
        return np.memmap(path, np.uint8, "r", 0, (length,))

    def _uri_bytes(self, uri: str, user: Fields) -> bytes:
        if uri.startswith("data:"):
            return _data_uri(uri, user)
        return self._side_file(uri, user).read_bytes()

    def _side_file(self, uri: str, user: Fields) -> Path:
        """Return the path of a referenced file, once it is known to be regular and readable."""
        path = self._beside(uri, user)
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would block forever
                user.fail(f"its file {uri[:_SHOWN]!r} is not a regular file.")
            with path.open("rb"):
                return path
        except OSError as error:
            user.fail(f"cannot read its file {uri[:_SHOWN]!r} ({error.strerror}). Put it beside {self.path.name}.")

    def _refuse_hidden_data(self, fields: Fields) -> None:
        """Refuse an accessor without data if an unsupported extension may hold its values."""
        suspects = {name for name in self.hiding_extensions - {DRACO} if _COMPRESSION.search(name)}
        suspects |= set(fields.child("extensions")) - HARMLESS_EXTENSIONS
        if suspects:
            self.refuse_extensions(fields, suspects)

    def _refuse_compressed_view(self, fields: Fields, offset: int, length: int) -> None:
        """Refuse a buffer view whose bytes only an unsupported extension can provide.

        Such an extension may come with a fallback buffer of uncompressed bytes. There is none where the buffer is only a
        placeholder (as EXT_meshopt_compression marks it), or where the view covers the compressed bytes themselves.
        """
        buffer = fields.index("buffer", len(self._buffers))
        placeholder = "uri" not in self._buffers[buffer]
        marked = set(self._buffers[buffer].child("extensions")) - SUPPORTED_EXTENSIONS
        for name in sorted(set(fields.child("extensions")) - SUPPORTED_EXTENSIONS):
            packed = fields.child("extensions").child(name)
            start, size = packed.integer("byteOffset", 0), packed.integer("byteLength", 0)
            overlaps = packed.integer("buffer", -1) == buffer and start < offset + length and offset < start + size
            absent = placeholder and (buffer > 0 or self._binary_chunk is None)
            if overlaps or absent or (placeholder and name in marked):
                self.refuse_extensions(fields, {name})
        if placeholder and marked:
            self.refuse_extensions(self._buffers[buffer], marked)

    def refuse_extensions(self, fields: Fields, names: Collection[str]) -> NoReturn:
        """Raise ClipError about data missing at `fields` that the extensions `names` may hold."""
        fields.fail(
            f"has no data that can be read, which {', '.join(sorted(names))} may hold. "
            "Save the asset again without compression or extensions."
        )

    def _beside(self, uri: str, user: Fields) -> Path:
        """Return the path of a side file; refuse network addresses, absolute paths and ways out of the file's own folder."""
        relative = PurePosixPath(unquote(uri))
        unsafe = "\\" in relative.as_posix() or "\0" in relative.as_posix() or not relative.name
        if unsafe or re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", uri) or relative.is_absolute() or ".." in relative.parts:
            user.fail(
                f"uri {uri[:_SHOWN]!r} is not a file in the folder of {self.path.name}. Pack the asset as one .glb."
            )
        return self.path.parent / relative

    def _strided(
        self, fields: Fields, view: np.ndarray, offset: int, stride: int | None, header: AccessorHeader
    ) -> np.ndarray:
        """Copy `count` elements that start at `offset` and lie `stride` bytes apart (tightly packed when None)."""
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
            fields.fail(f"needs {element} bytes per element, but its byteStride is {step}.")
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
        index_view, _ = self.view(index_fields)
        index_header = AccessorHeader(count, (), np.dtype(_COMPONENT_TYPES[component_type]), False)
        indices = self._strided(index_fields, index_view, index_fields.integer("byteOffset", 0), None, index_header)
        if indices.max() >= header.count or (np.diff(indices.astype(np.int64)) <= 0).any():
            index_fields.fail(f"must be increasing and below {header.count}.")
        value_view, _ = self.view(value_fields)
        value_header = AccessorHeader(count, header.element_shape, header.dtype, False)
        data[indices] = self._strided(
            value_fields, value_view, value_fields.integer("byteOffset", 0), None, value_header
        )


def _data_uri(uri: str, user: Fields) -> bytes:
    """Return the content of a base64 data URI."""
    head, comma, body = uri.partition(",")
    if not comma or not head.endswith(";base64"):
        user.fail("uri is a data URI that is not base64.")
    try:
        return base64.b64decode(unquote(body), validate=True)
    except (binascii.Error, ValueError) as error:
        user.fail(f"uri is not valid base64 ({error}).")


def read_gltf(path: str | Path) -> GltfDocument:
    """Open a .glb or .gltf file and check its container, version and required extensions.

    Raises ClipError("invalid") when it is missing, empty, cut short, not glTF 2.0, or needs an unsupported extension.
    """
    path = Path(path)
    name = path.name
    values, chunk = read_container(path)
    root = Fields(values, name)
    asset = root.child("asset")
    version, least = asset.text("version"), asset.text("minVersion", "2.0")
    if not f"{version}.".startswith("2.") or least not in ("2.0", "2"):
        raise ClipError("invalid", f"{name}: is glTF version {version[:20]} (needs {least[:20]}); only 2.0 is read.")
    missing = sorted(set(root.texts("extensionsRequired")) - SUPPORTED_EXTENSIONS)
    if missing:
        raise ClipError(
            "invalid",
            f"{name}: needs {', '.join(missing)}, not supported here. Save it again without compression or extensions.",
        )
    return GltfDocument(path, root, chunk)
