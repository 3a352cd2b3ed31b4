"""Read the containers of glTF 2.0 files: GLB (Khronos glTF 2.0 specification, section 4) and plain JSON."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from gvf.errors import ClipError

_MAX_JSON = 1 << 28  # bytes; parsing takes many times as much memory
_GLB_MAGIC = 0x46546C67
_JSON_CHUNK = 0x4E4F534A
_BIN_CHUNK = 0x004E4942


def read_container(path: Path) -> tuple[Any, np.ndarray | None]:
    """Return the parsed JSON of a .glb or .gltf file, and the binary chunk of a GLB, memory-mapped.

    Raises ClipError("invalid") when the file is missing, empty, cut short or not JSON.
    """
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
                text, chunk = _read_json_bytes(path, name), None
    except OSError as error:
        raise ClipError("invalid", f"{name}: cannot be read ({error.strerror}).") from None
    return _parse_json(text, name), chunk


def _read_glb(path: Path, head: bytes, name: str) -> tuple[bytes, np.ndarray | None]:
    """Return the JSON bytes and the binary chunk of a GLB file (section 4.4)."""
    _, version, length = struct.unpack("<3I", head)
    if version != 2:
        raise ClipError("invalid", f"{name}: is a GLB container of version {version}; only version 2 is read.")
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
                _check_json_size(chunk_length, name)
                text = file.read(chunk_length)
            elif kind == _BIN_CHUNK and chunk is None and chunk_length:
                chunk = np.memmap(path, np.uint8, "r", position, (chunk_length,))
            position += chunk_length
    if text is None:
        raise ClipError("invalid", f"{name}: has no JSON chunk.")
    return text, chunk


def _read_json_bytes(path: Path, name: str) -> bytes:
    _check_json_size(path.stat().st_size, name)
    return path.read_bytes()


def _check_json_size(size: int, name: str) -> None:
    if size > _MAX_JSON:
        raise ClipError(
            "invalid", f"{name}: has {size >> 20} MiB of JSON; at most {_MAX_JSON >> 20} are read. Pack it as .glb."
        )


def _parse_json(text: bytes, name: str) -> Any:
    def constant(value: str) -> NoReturn:
        raise ValueError(f"{value} is not JSON")

    try:
        return json.loads(text.decode("utf-8-sig"), parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise ClipError("invalid", f"{name}: its JSON cannot be read ({error}).") from None
