"""Verification of published weights on this machine.

Where the SHA-256 of a file is known (published with it, reported by the hub when it was pulled, or the file's name in the
hub's cache), the digest decides. Otherwise the file must be a complete container of tensors, or valid JSON if its name says
so. Digests of gigabytes take seconds, so they are computed once and stored, with the file's size and modification time, in
`~/.cache/gvf/verified.json`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gvf.errors import UserError
from gvf.storage.files import sha256, write_json
from gvf.storage.published_files import MODEL_FILES, HubFile, HubModel, PublishedFile, WebFile, cache_folder
from gvf.storage.recognition import recognize_file, wrong_answer

NO_DIGEST = "whole as far as its structure tells; its digest is not known"
"""End of the proof of a weight file that was not compared with a digest."""
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Finding:
    """The result for one file. problem: what is wrong and what to do; empty if nothing is. proof: what was checked."""

    file: HubFile | WebFile
    path: Path
    problem: str
    proof: str = ""


def findings(file: PublishedFile) -> list[Finding]:
    """Verify each part of a published file that is on this machine; empty if it is absent."""
    place = file.find()
    if place is None:
        return []
    if not isinstance(file, HubModel):
        return [verify(file, place)]
    weights = next(name for name in MODEL_FILES if (place / name).is_file())  # of the two, the one that is read
    parts = [replace(part, path=weights) if part.path in MODEL_FILES else part for part in file.parts]
    return [verify(part, place / part.path) for part in parts]


def verify(file: HubFile | WebFile, path: Path) -> Finding:
    """Verify one file by its digest where that is known, else by its structure."""
    if not path.is_file():
        return Finding(file, path, "missing beside the others of its model.")
    try:
        if digest := _known_digest(file, path):
            found = _digest(path)
            if found.startswith(digest):
                return Finding(file, path, "", "SHA-256 as published")
            problem = recognize_file(path).problem or f"SHA-256 is {found[:16]}..., where {digest[:16]} was published."
            return Finding(file, path, problem)
        if path.suffix == ".json":
            wrong = wrong_answer(path, path.name)
            return Finding(file, path, f"{wrong}." if wrong else "", "valid JSON")
        content = recognize_file(path)
        return Finding(file, path, content.problem, f"{content.what}, {NO_DIGEST}")
    except OSError as error:
        return Finding(file, path, f"cannot be read ({error.strerror or error}).")
    except UserError as error:
        return Finding(file, path, str(error).removeprefix(f"{path}: "))


def record_published(path: Path, digest: str) -> None:
    """Store the publisher's SHA-256 of a local file. digest: all of it; a shorter one is not stored."""
    if _SHA256.fullmatch(digest):
        _record(path, {"published": digest})


@contextmanager
def set_aside(path: Path) -> Iterator[Path]:
    """Rename a damaged file to `<name>.damaged` while it is downloaded again; if that fails, restore its name."""
    number, aside = 1, path.with_name(path.name + ".damaged")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{number}")
    os.replace(path, aside)
    try:
        yield aside
    except BaseException:
        if not path.exists():
            os.replace(aside, path)
        raise


def _known_digest(file: HubFile | WebFile, path: Path) -> str:
    """Return the published SHA-256 or its beginning; empty if it is not known."""
    if file.digest:
        return file.digest.lower()
    if published := _recorded(path).get("published"):
        return str(published)
    blob = path.resolve()
    return blob.name if blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name) else ""


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, cached by its size and modification time."""
    status = path.stat()
    facts = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    known = _recorded(path)
    if all(known.get(name) == value for name, value in facts.items()) and _SHA256.fullmatch(str(known.get("sha256"))):
        return str(known["sha256"])
    found = sha256(path)
    _record(path, facts | {"sha256": found})
    return found


def _records() -> dict[str, Any]:
    try:
        content = json.loads((cache_folder() / "verified.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return dict(content) if isinstance(content, Mapping) else {}


def _recorded(path: Path) -> Mapping[str, Any]:
    entry = _records().get(str(path.absolute()))
    return entry if isinstance(entry, Mapping) else {}


def _record(path: Path, facts: Mapping[str, Any]) -> None:
    """Store facts about a file. If that fails, they are computed again next time."""
    records = {name: entry for name, entry in _records().items() if Path(name).exists()}
    key = str(path.absolute())
    entry = records.get(key)
    records[key] = (dict(entry) if isinstance(entry, Mapping) else {}) | dict(facts)
    try:
        write_json(cache_folder() / "verified.json", records)
    except OSError:
        pass
