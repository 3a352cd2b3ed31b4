"""SHA-256 of a folder's files in the format of `sha256sum`, so that a copy can be compared with the original."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from gvf.errors import UserError
from gvf.storage.files import atomic_path, sha256
from gvf.text import clean

CHECKSUMS_NAME = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([\w./-]{1,200})")
_LARGEST = 1 << 20  # bytes


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Write `SHA256SUMS` of files in a folder; `sha256sum --check SHA256SUMS` reads it. names: relative to the folder."""
    lines = [f"{sha256(folder / name)}  {name}\n" for name in names]
    with atomic_path(folder / CHECKSUMS_NAME) as partial:
        partial.write_text("".join(lines), encoding="utf-8")


def read_checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that a folder's `SHA256SUMS` lists. Raises UserError for another content."""
    path = folder / CHECKSUMS_NAME
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= _LARGEST else ""
    except (OSError, UnicodeDecodeError):
        text = ""
    found = {}
    for line in text.splitlines() or [""]:
        match = _LINE.fullmatch(line)
        if match is None or ".." in Path(match[2]).parts or Path(match[2]).is_absolute():
            raise UserError(f"{path}: holds no list of SHA-256 ({clean(line, 80)!r}). Copy it again.")
        found[match[2]] = match[1]
    return found
