"""Recognise weight files by their content, never by their name.

Weights arrive by clone, by browser and by interrupted copy, so a file named like a checkpoint is often a Git LFS pointer,
a web page or a truncated file. Every reader of weights uses this module, so that all of them report the same cause.
Nothing is executed or unpickled, and nothing here needs torch.
"""

from __future__ import annotations

import json
import os
import pickletools
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO

from gvf.errors import UserError
from gvf.text import clean

_HEAD = 4096  # bytes that identify every format, but not whether a file is complete
_MAX_SAFETENSORS_HEADER = 1 << 24  # bytes; those of the largest published files take less than 1 MB
_MAX_PICKLE = 1 << 26  # bytes of a torch.save file without its tensors' values; published ones take less than 1 MB
_MAX_JSON = 1 << 20  # bytes; a server error in JSON is small
_MAX_ERROR_TEXT = 1024  # bytes; a longer plain text is not taken for a server error
_QUOTED = 80  # characters of a file's text quoted in a message

_TORCH_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"  # magic number of torch.save's format before zip archives
_ARCHIVES = {
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"(\xb5/\xfd": "a zstd archive",
    b"7z\xbc\xaf'\x1c": "a 7z archive",
    b"Rar!": "a rar archive",
}
_OTHERS = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"\x7fELF": "an executable program",
    b"glTF": "a GLB asset",
    b"ply": "a PLY file",
}
_AGAIN = "Fetch it again."

PICKLE_REMEDY = (
    "refused, since loading it could run any program. Ask for a file of tensors, or convert it where you trust it: "
    "torch.save({name: tensor}) or safetensors."
)
"""End of the message about a pickle that holds more than tensors."""


class Container(Enum):
    """A format from which tensors are read; its value is its human-readable name."""

    SAFETENSORS = "a safetensors file"
    TORCH = "a file of torch.save"
    TORCH_LEGACY = "a file of torch.save in its old format"


@dataclass(frozen=True)
class Content:
    """What a file contains. container: None where no tensors can be read from it.

    what: description with an article. remedy: what to do; empty for a container whose structure is complete.
    """

    container: Container | None
    what: str
    remedy: str = ""

    @property
    def problem(self) -> str:
        """Return what is wrong and what to do, to follow the path in a message; empty where nothing is wrong."""
        return f"{self.what}. {self.remedy}" if self.remedy else ""


def recognize_file(path: str | os.PathLike[str]) -> Content:
    """Recognise the file at `path`. Raises UserError when it is missing, a folder or not readable."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return _recognize(file, file.read(_HEAD), size)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from None


def require_container(path: str | os.PathLike[str]) -> Container:
    """Return the format of a weight file. Raises UserError that says what the file is instead, and what to do."""
    content = recognize_file(path)
    if content.container is None or content.problem:
        raise UserError(f"{path}: {content.problem}")
    return content.container


def wrong_answer(path: str | os.PathLike[str], name: str) -> str:
    """Return why a download is not the requested file (web page, error text, pointer, truncated file), or "".

    path: the downloaded file. name: the requested file: if it ends in .json, any valid JSON is accepted; if it is named as
    weights are, only a file of tensors is.
    """
    path = Path(path)
    content = recognize_file(path)
    if name.endswith(".json"):
        return "" if _is_json(path) else f"{content.what.removesuffix(', not the weights')}, not JSON"
    if Path(name).suffix in _WEIGHTS and content.container is None and not content.what.startswith("a pickle"):
        return content.what
    if content.what.startswith("a text"):
        return content.what if path.stat().st_size < _MAX_ERROR_TEXT else ""
    return content.what if content.what.startswith(_ANSWERS) else ""


_WEIGHTS = {".pt", ".pth", ".ckpt", ".safetensors"}  # .bin may be anything
_ANSWERS = (
    "cut short",
    "damaged",
    "a Git LFS pointer",
    "a git-annex pointer",
    "a web page",
    "an XML text",
    "a JSON text",
)


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict | list)
    except (ValueError, RecursionError):
        return False


def _recognize(file: BinaryIO, head: bytes, size: int) -> Content:
    if size == 0:
        return Content(
            None, "cut short (0 bytes; fetch it again): it is empty", "An interrupted copy may be the cause."
        )
    if (pointer := _pointer(head)) is not None:
        return pointer
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return _zip(file, size)
    if len(head) > 8 and head[8:9] == b"{":
        header = int.from_bytes(head[:8], "little")
        if 2 <= header <= _MAX_SAFETENSORS_HEADER:
            return _safetensors(file, header, size)
        if _MAX_SAFETENSORS_HEADER < header < size:
            limit = f"its safetensors header takes {header:,} bytes, and at most {_MAX_SAFETENSORS_HEADER:,} are read"
            return Content(None, f"not a file of weights: {limit}", _AGAIN)
    if size >= 16 and head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        if _TORCH_MAGIC in head[:32]:
            return _torch_legacy(file, size)
        what, _, remedy = PICKLE_REMEDY.partition(". ")
        return Content(None, f"{_pickle(head)}, {what}", remedy)
    for magic, what in _ARCHIVES.items():
        if head.startswith(magic):
            return Content(None, what, "Unpack it, and name the file of weights inside.")
    if head[257:262] == b"ustar":
        return Content(None, "a tar archive", "Unpack it, and name the file of weights inside.")
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            return Content(None, f"{what}, not a file of weights", "Name the .pt or .safetensors file.")
    if (text := _text(head)) is not None:
        return _written(text, file, size)
    if size < 16:
        return _cut(size)
    if not head.strip(b"\x00"):
        return Content(
            None,
            "not a file of weights: it begins with nothing but zeros",
            f"The copy was interrupted. {_AGAIN}",
        )
    start = head[:8].hex(" ")
    return Content(
        None,
        f"not a file of weights: it is neither safetensors nor a file of torch.save (it begins with {start})",
        _AGAIN,
    )


def _cut(size: int, detail: str = "") -> Content:
    return Content(None, f"cut short ({size} bytes; fetch it again)", detail or "An interrupted copy may be the cause.")


def _pointer(head: bytes) -> Content | None:
    """Recognise the small text files that version control keeps in place of large files."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if re.match(rb"version https?://(git-lfs\.github\.com|hawser\.github\.com|git-media\.io)/", text):
        size = re.search(rb"^size (\d{1,18})\s*$", text, re.MULTILINE)
        whole = f" of a file of {int(size[1]):,} bytes" if size else ""
        remedy = "Fetch the real file with `git lfs pull` in its clone, or download it separately."
        return Content(None, f"a Git LFS pointer{whole}, not the weights", remedy)
    if re.match(rb"(/annex/objects/|\.git/annex/objects/)", text):
        return Content(None, "a git-annex pointer, not the weights", "Fetch the real file with `git annex get`.")
    return None


def _zip(file: BinaryIO, size: int) -> Content:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, OverflowError):
        return _cut(size, "It is a zip archive, as torch.save writes it, without its end.")
    names = [entry.filename for entry in entries]
    parts = {name.partition("/")[2] for name in names}
    if "data.pkl" not in parts:
        if names and all(name.endswith(".npy") for name in names):
            return Content(None, "a NumPy archive (.npz), not a file of weights", "Name the .pt or .safetensors file.")
        listed = clean(", ".join(names[:3]) or "nothing", _QUOTED)
        return Content(
            None, f"a zip archive of other files ({listed})", "Unpack it, and name the file of weights inside."
        )
    if "constants.pkl" in parts or any(part.startswith("code/") for part in parts):
        return Content(
            None,
            "a TorchScript program, not a file of weights",
            "Save the state dict of the module where it was made: torch.save(module.state_dict()) or safetensors.",
        )
    if sum(entry.file_size for entry in entries) > size or any(entry.compress_type for entry in entries):
        return Content(
            None, "damaged: torch.save does not compress, but this archive declares more bytes than it has", _AGAIN
        )
    if sum(entry.file_size for entry in entries if entry.filename.endswith("data.pkl")) > _MAX_PICKLE:
        limit = f"its description of tensors takes more than {_MAX_PICKLE:,} bytes"
        return Content(None, f"not a file of weights: {limit}, which is not read", _AGAIN)
    return Content(Container.TORCH, Container.TORCH.value)


def _torch_legacy(file: BinaryIO, size: int) -> Content:
    """Check that the five pickles at the start are complete; how much data follows is unknown without loading them."""
    file.seek(0)
    try:
        for _ in range(5):  # magic number, protocol, machine, the content, the keys of its storages
            for _ in pickletools.genops(file):
                pass
    except (ValueError, OverflowError, MemoryError):
        return _cut(size, f"It is {Container.TORCH_LEGACY.value} that ends too early.")
    return Content(Container.TORCH_LEGACY, Container.TORCH_LEGACY.value)


def _safetensors(file: BinaryIO, header_size: int, size: int) -> Content:
    if 8 + header_size > size:
        return _cut(size, f"Its safetensors header alone takes {8 + header_size:,}.")
    file.seek(8)
    try:
        header = json.loads(file.read(header_size))
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
        declared = 8 + header_size + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError):
        return Content(None, "damaged: the header of a safetensors file that cannot be read", _AGAIN)
    if declared > size:
        return _cut(size, f"Its safetensors header declares {declared:,}.")
    if declared < size:
        return Content(None, f"damaged: {size:,} bytes, but its safetensors header declares {declared:,}", _AGAIN)
    return Content(Container.SAFETENSORS, Container.SAFETENSORS.value)


def _pickle(head: bytes) -> str:
    """Describe a pickle that torch.save did not write, with the callable that its beginning names."""
    strings: list[str] = []
    named = ""
    try:
        for opcode, argument, _ in pickletools.genops(head):
            if opcode.name in ("GLOBAL", "INST"):
                named = str(argument).replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL":
                named = ".".join(strings[-2:])
            elif isinstance(argument, str):
                strings.append(argument)
            if named:
                break
    except (ValueError, UnicodeDecodeError, OverflowError):
        pass
    return f"a pickle with code{f' ({clean(named, _QUOTED)})' if named else ''}"


def _text(head: bytes) -> str | None:
    """Return the beginning of a file as text, None for binary data."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = head.decode("utf-16", "replace")
    else:
        if re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]", head):
            return None
        try:
            text = head.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            if error.start < len(head) - 4:  # not just a character cut in two at the end of the head
                text = head.decode("latin-1")
                if sum(character > "\x7f" for character in text) > len(text) // 4:
                    return None
            else:
                text = head[: error.start].decode("utf-8-sig")
    return text.strip()


def _written(text: str, file: BinaryIO, size: int) -> Content:
    """Recognise a web page, a server error, or other text."""
    lower = text.lower()
    if re.search(r"<!doctype html|<html|<head|<body|<script|<meta ", lower[:2048]):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.DOTALL | re.IGNORECASE)
        named = f' ("{clean(title[1], _QUOTED)}")' if title and title[1].strip() else ""
        remedy = f"A server answered with it instead of the file, as for a login or a wrong address. {_AGAIN}"
        return Content(None, f"a web page{named}, not the weights", remedy)
    if lower.startswith("<?xml") or re.match(r"<[a-z]", lower):
        message = re.search(r"<message>(.*?)</message>", text, re.DOTALL | re.IGNORECASE)
        named = f' ("{clean(message[1], _QUOTED)}")' if message else ""
        return Content(None, f"an XML text{named}, not the weights", f"A server may have sent it as an error. {_AGAIN}")
    if text.startswith(("{", "[")):
        return _json_text(file, size)
    return Content(None, f'a text, not the weights ("{clean(text, _QUOTED)}")', _AGAIN)


def _json_text(file: BinaryIO, size: int) -> Content:
    content: Any = None
    if size <= _MAX_JSON:
        file.seek(0)
        try:
            content = json.loads(file.read())
        except (ValueError, RecursionError):
            pass
    if isinstance(content, Mapping) and "weight_map" in content:
        remedy = "Name it so that it ends in .index.json, beside its shards."
        return Content(None, "the index of shards (JSON), not the weights themselves", remedy)
    said = next((str(content[key]) for key in ("error", "message", "detail") if key in content), "") if isinstance(
        content, Mapping
    ) else ""  # fmt: skip
    named = f' ("{clean(said, _QUOTED)}")' if said else ""
    return Content(None, f"a JSON text{named}, not the weights", f"A server may have sent it as an error. {_AGAIN}")
