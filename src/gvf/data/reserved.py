"""Assets that public test sets are made of: the data path keeps them out of training, by id and by mesh.

They are listed in `reserved_assets.csv` beside this file. A row without an id and without a digest names an asset that
cannot be recognised yet; `gvf test-sets identify FILE` prints both of a file at hand.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gvf.data.manifest import slug

LIST = Path(__file__).with_name("reserved_assets.csv")


@dataclass(frozen=True)
class ReservedAsset:
    """asset_id: stem of its file, e.g. an Objaverse id. mesh_sha256: of `mesh_hash`. Empty where not known.

    source: where the row comes from.
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
    """The whole list."""
    with LIST.open(encoding="utf-8", newline="") as file:
        return tuple(ReservedAsset(**row) for row in csv.DictReader(file))


def find_reserved(
    names: Iterable[str], mesh_sha256: str | None, reserved: Sequence[ReservedAsset] | None = None
) -> ReservedAsset | None:
    """The reserved asset that an asset of these names (file stems) or this mesh is, if any. reserved: the list's rows."""
    ids = {slug(name) for name in names}
    for asset in reserved_assets() if reserved is None else reserved:
        if (asset.asset_id and slug(asset.asset_id) in ids) or (mesh_sha256 and asset.mesh_sha256 == mesh_sha256):
            return asset
    return None
