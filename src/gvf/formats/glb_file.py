"""Write binary glTF 2.0 files (GLB): JSON lists, accessors and the binary chunk (Khronos specification, sections 3.6, 4)."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from gvf import __version__
from gvf.errors import UserError
from gvf.storage.files import PathLike, atomic_path

VERTICES, INDICES = 34962, 34963
"""Targets of buffer views: vertex attributes, and the indices of triangles."""

_MAX_LENGTH = (1 << 32) - 1  # of the file, and so of its binary chunk: both have 32 bits
_COMPONENT_TYPES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
_ELEMENT_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


class GlbFile:
    """A GLB file that is being built. `json` may be changed freely until it is saved."""

    def __init__(self) -> None:
        self.json: dict[str, Any] = {"asset": {"version": "2.0", "generator": f"gvf {__version__}"}}
        self._parts: list[bytes] = []
        self._length = 0
        self._zeros: dict[tuple[int, int], int] = {}

    @property
    def binary_length(self) -> int:
        """Return the bytes of the binary chunk so far."""
        return self._length

    def add(self, kind: str, value: dict[str, Any]) -> int:
        """Append to a top-level list such as `nodes`; return the index."""
        self.json.setdefault(kind, []).append(value)
        return len(self.json[kind]) - 1

    def declare(self, extension: str, required: bool = False) -> None:
        """Record that the file uses an extension."""
        for name in ("extensionsUsed", *(["extensionsRequired"] if required else [])):
            if extension not in self.json.setdefault(name, []):
                self.json[name].append(extension)

    def view(self, data: bytes | np.ndarray, target: int | None = None) -> int:
        """Append bytes as a buffer view that starts at a multiple of 4. Raises UserError when the file would pass 4 GiB."""
        stored = np.ascontiguousarray(data).tobytes() if isinstance(data, np.ndarray) else data
        padding = -self._length % 4
        if self._length + padding + len(stored) > _MAX_LENGTH:
            raise UserError(
                "The file would be larger than 4 GiB, the limit of GLB. Use a smaller mesh or fewer frames."
            )
        self._parts += [bytes(padding), stored]
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self._length + padding, "byteLength": len(stored)}
        self._length += padding + len(stored)
        return self.add("bufferViews", view if target is None else {**view, "target": target})

    def accessor(
        self, data: np.ndarray, target: int | None = VERTICES, *, bounds: bool = False, normalized: bool = False
    ) -> int:
        """Append data [count, width] (or [count]) as an accessor with a view of its own. bounds: store minimum and maximum."""
        data = np.ascontiguousarray(data.reshape(len(data), -1))
        values: dict[str, Any] = {
            "bufferView": self.view(data, target),
            "componentType": _COMPONENT_TYPES[data.dtype.str[1:]],
            "count": len(data),
            "type": _ELEMENT_TYPES[data.shape[1]],
        }
        if bounds:
            values |= {"min": data.min(axis=0).tolist(), "max": data.max(axis=0).tolist()}
        return self.add("accessors", {**values, "normalized": True} if normalized else values)

    def zeros(self, count: int, width: int) -> int:
        """Return an accessor of float zeros, which takes no space in the file; equal ones are shared."""
        key = count, width
        if key not in self._zeros:
            values = {"componentType": 5126, "count": count, "type": _ELEMENT_TYPES[width]}
            bounds = {"min": [0.0] * width, "max": [0.0] * width}
            self._zeros[key] = self.add("accessors", {**values, **bounds})
        return self._zeros[key]

    def save(self, path: PathLike) -> None:
        """Write the file. Raises UserError when it would pass 4 GiB."""
        if self._length:
            self.json["buffers"] = [{"byteLength": self._length}]
        text = json.dumps(self.json, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        padding = -self._length % 4
        length = 12 + 8 + len(text) + (8 + self._length + padding if self._length else 0)
        if length > _MAX_LENGTH:
            raise UserError(f"{path}: would have {length} bytes, but a GLB has at most 4 GiB.")
        with atomic_path(path) as partial, partial.open("wb") as file:
            file.write(struct.pack("<4sII", b"glTF", 2, length))
            file.write(struct.pack("<I4s", len(text), b"JSON") + text)
            if self._length:
                file.write(struct.pack("<I4s", self._length + padding, b"BIN\0"))
                file.writelines(self._parts)
                file.write(bytes(padding))
