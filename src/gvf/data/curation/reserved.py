"""Recognise the assets of public test sets by id and by mesh, so that curation keeps them out of training.

They are listed in `reserved_assets.csv` beside this file. A row without an id and without a digest names an asset that
cannot be recognised yet; `gvf test-sets identify FILE` prints both for a file, and `gvf test-sets reserve` adds a
list of ids. Changing the list makes DVC run `curate` again.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cache
from pathlib import Path, PurePosixPath

from gvf.data.manifest import slug
from gvf.errors import UserError
from gvf.storage.files import atomic_path

# Objaverse 1.0 names assets by 32 hex digits, Objaverse-XL by their files' SHA-256.
_ID = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{32})(?![0-9a-f])", re.IGNORECASE)

LIST = Path(__file__).with_name("reserved_assets.csv")


@dataclass(frozen=True)
class ReservedAsset:
    """One asset of a public test set.

    asset_id: stem of its file or SHA-256 of its bytes, e.g. an Objaverse id. mesh_sha256: its digest by `mesh_hash`.
    Either is empty where it is not known. source: where the row comes from.
    """

    test_set: str
    name: str
    asset_id: str
    mesh_sha256: str
    source: str

    def __str__(self) -> str:
        return f"{self.name} of the test set {self.test_set}"


@cache
def reserved_assets() -> tuple[ReservedAsset, ...]:
    """Return the whole list."""
    with LIST.open(encoding="utf-8", newline="") as file:
        return tuple(ReservedAsset(**row) for row in csv.DictReader(file))


def find_reserved(
    names: Iterable[str], mesh_sha256: str | None, reserved: Sequence[ReservedAsset] | None = None
) -> ReservedAsset | None:
    """Return the reserved asset that has one of these names or this mesh, if any.

    names: stem or path of its file without suffix, SHA-256 of its file. Every part of a path is compared, since some
    data sets name the folder by the id and give all files the same name. reserved: the list's rows.
    """
    ids = {slug(part) for name in names for part in PurePosixPath(name).parts}
    for asset in reserved_assets() if reserved is None else reserved:
        if (asset.asset_id and slug(asset.asset_id) in ids) or (mesh_sha256 and asset.mesh_sha256 == mesh_sha256):
            return asset
    return None


def ids_in(path: Path) -> list[str]:
    """Return the Objaverse ids in a text file in order, without duplicates. Raises UserError if there are none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error}).") from None
    ids = list(dict.fromkeys(match[0].lower() for match in _ID.finditer(text)))
    if not ids:
        raise UserError(f"{path}: holds no Objaverse id (32 or 64 hex digits). Give a text file that lists ids.")
    return ids


def reserve(test_set: str, ids: Sequence[str], source: str) -> int:
    """Add assets of a test set to the list unless they are already in it, and return how many were added."""
    listed = reserved_assets()
    known = {asset.asset_id for asset in listed if asset.test_set == test_set}
    added = [ReservedAsset(test_set, one, one, "", source) for one in ids if one not in known]
    with atomic_path(LIST) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(ReservedAsset))
        writer.writerows(astuple(asset) for asset in (*listed, *added))
    reserved_assets.cache_clear()
    return len(added)
