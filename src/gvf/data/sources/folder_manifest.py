"""The table `manifest.csv` of a folder of assets: licence, author, kind and skeleton of the files below the folder.

Anybody may have written it, so it is read within limits and its text is cleaned. Columns may be missing and in any order;
those that are not listed here are ignored.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gvf.data.sources.source import AssetFacts
from gvf.text import clean

MANIFEST = "manifest.csv"
FILE = "file"
"""Column of a file's path, relative to the manifest's folder, with forward slashes."""
COLUMNS: Mapping[str, tuple[Sequence[str], int]] = {
    "kind": (("kind",), 40),
    "skeleton": (("skeleton", "rig"), 80),
    "licence": (("licence", "license"), 80),
    "author": (("author",), 120),
    "pack": (("pack",), 120),
    "origin": (("origin", "source_repo"), 200),
}
"""Field of AssetFacts -> names of its column, of which the first that has a value counts, and the largest length of its text."""
MAX_BYTES, MAX_ROWS = 1 << 24, 100_000

_logger = logging.getLogger(__name__)


class Manifests:
    """The manifests at or above the files of a searched folder, each read once; the nearest one above a file counts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._by_folder: dict[Path, dict[str, AssetFacts] | None] = {}
        self._met: dict[Path, set[str]] = {}
        self._unlisted: list[Path] = []

    def facts(self, path: Path) -> AssetFacts:
        """Return what is known of a file below the directory; nothing where no manifest lists it."""
        found = None
        for folder in self._folders(path):
            if folder not in self._by_folder:
                self._by_folder[folder] = read_manifest_file(folder / MANIFEST)
            listed = self._by_folder[folder]
            name = path.relative_to(folder).as_posix()
            if listed is not None and name in listed:
                self._met.setdefault(folder, set()).add(name)
                found = found or listed[name]
        if found is None:
            self._unlisted.append(path)
        return found or AssetFacts()

    def report(self) -> None:
        """Log once what the manifests and the files asked for do not have in common."""
        if self._unlisted:
            count, first = len(self._unlisted), self._unlisted[0].relative_to(self._directory)
            _logger.warning(
                "The licence of %d files is unknown, since no %s lists them; the first is %s.",
                count,
                MANIFEST,
                clean(str(first)),
            )
        for folder, listed in self._by_folder.items():
            absent = [name for name in listed or () if name not in self._met.get(folder, ())]
            if absent:
                _logger.warning(
                    "%s lists %d files that are not there or not collected; the first is %s.",
                    clean(str(folder / MANIFEST)),
                    len(absent),
                    clean(absent[0], 120),
                )

    def _folders(self, path: Path) -> Iterator[Path]:
        """Yield the folders from that of a file up to the searched one."""
        for folder in path.parents:
            yield folder
            if folder == self._directory:
                return


def read_manifest_file(path: Path) -> dict[str, AssetFacts] | None:
    """Return the facts by file, or None where there is no manifest.

    A manifest that cannot be read, or has no column `file`, counts as none, and that is logged with the reason. The first row
    of a file counts.
    """
    if not os.path.lexists(path):
        return None
    facts: dict[str, AssetFacts] = {}
    try:
        for name, known in _rows(path):
            facts.setdefault(name, known)
        return facts
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        _logger.warning("%s is ignored: %s.", clean(str(path)), clean(str(error), 200))
        return None


def _rows(path: Path) -> Iterator[tuple[str, AssetFacts]]:
    """Yield file and facts of every row. Raises ValueError for content that is refused."""
    if path.is_symlink() or not path.is_file():
        raise ValueError("it is a link or no regular file; put the file itself there")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restkey="")
        if FILE not in (reader.fieldnames or ()):
            raise ValueError(f"it has no column {FILE!r}, a file's path relative to its folder")
        for number, row in enumerate(reader):
            if number == MAX_ROWS:
                raise ValueError(f"it has more than {MAX_ROWS} rows")
            yield row[FILE] or "", _facts(row)


def _facts(row: Mapping[str, str | None]) -> AssetFacts:
    values = {}
    for field, (names, limit) in COLUMNS.items():
        texts = (clean(row.get(name) or "", limit) for name in names)
        values[field] = next((text for text in texts if text), None)
    return AssetFacts(**values)
