"""Test sets: published lists of our own held-out clips with checksums, and where to get public test sets.

A list belongs to one data source under the CPU preset's seed and split. `SHA256SUMS` beside the lists guards them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gvf.data.curation.leakage import find_leaks
from gvf.data.curation.reserved import reserved_assets
from gvf.data.manifest import ACCEPTED, HELD_OUT
from gvf.errors import UserError
from gvf.storage.files import atomic_path, sha256
from gvf_evaluation.protocols import PROTOCOLS

LISTS = Path(__file__).with_name("held_out_lists")
SUMS = "SHA256SUMS"
COLUMNS = ("clip_id", "asset_sha256", "mesh_sha256")
SOURCES = {
    "procedural": "generated objects, `data: procedural`, seed 0",
    "glb": "KayKit Adventurers 1.0 (github.com/KayKit-Game-Assets), `data: glb`, seed 0",
}


def held_out_list(clips: pd.DataFrame) -> pd.DataFrame:
    """Return the held-out clips of a curated manifest as a list, sorted by clip id."""
    rows = clips[(clips["decision"] == ACCEPTED) & (clips["split"] == HELD_OUT)]
    return rows[list(COLUMNS)].sort_values("clip_id", ignore_index=True)


def read_list(name: str) -> pd.DataFrame:
    """Read a published list. Raises UserError when there is none of that name or its file has been changed."""
    path = LISTS / f"{name}.csv"
    if name not in SOURCES or not path.is_file():
        raise UserError(f"There is no held-out list {name!r}. Choose one of {', '.join(SOURCES)}.")
    if f"{sha256(path)}  {path.name}" not in (LISTS / SUMS).read_text(encoding="utf-8").splitlines():
        raise UserError(
            f"{path}: not the published list, its checksum differs from {SUMS}. Restore both files with git."
        )
    return pd.read_csv(path, dtype=str)


def publish_list(name: str, clips: pd.DataFrame) -> Path:
    """Write the list of a curated manifest and its checksum, for maintainers: a new list is a new test set."""
    path = LISTS / f"{name}.csv"
    with atomic_path(path) as partial:
        held_out_list(clips).to_csv(partial, index=False, lineterminator="\n")
    lines = [f"{sha256(file)}  {file.name}\n" for file in sorted(LISTS.glob("*.csv"))]
    with atomic_path(LISTS / SUMS) as partial:
        partial.write_text("".join(lines), encoding="utf-8")
    return path


def differences(name: str, clips: pd.DataFrame) -> list[str]:
    """Return how the held-out clips of a curated manifest differ from a published list, and what leaks; empty if nothing."""
    wanted, found = (
        {row["clip_id"]: row for row in table.to_dict("records")} for table in (read_list(name), held_out_list(clips))
    )
    lines = [f"{clip} is on the list and not held out here." for clip in wanted if clip not in found]
    lines += [f"{clip} is held out here and not on the list." for clip in found if clip not in wanted]
    for clip in (clip for clip in wanted if clip in found):
        for column, what in (("asset_sha256", "asset"), ("mesh_sha256", "mesh")):
            if wanted[clip][column] != found[clip][column]:
                lines.append(f"{clip}: its {what} is not the list's.")
    return lines + find_leaks(clips)


def name_of(clips: pd.DataFrame) -> str | None:
    """Return the name of the published list that equals the held-out clips of a curated manifest, or None."""
    return next((name for name in SOURCES if (LISTS / f"{name}.csv").is_file() and not differences(name, clips)), None)


@dataclass(frozen=True)
class Described:
    """A test set in words. where: how to get it. state: what is known about it."""

    name: str
    where: str
    state: str


def describe() -> list[Described]:
    """Describe our own lists, the data of every protocol, and other public test sets whose assets are kept out of training."""
    described = [
        Described(name, where, f"{len(read_list(name))} held-out clips, list as published")
        for name, where in SOURCES.items()
        if (LISTS / f"{name}.csv").is_file()
    ]
    for protocol in PROTOCOLS.values():
        assets = [asset for asset in reserved_assets() if asset.test_set == protocol.name]
        known = sum(bool(asset.asset_id or asset.mesh_sha256) for asset in assets)
        state = f"{known} of its {len(assets)} assets can be recognised in training data" if assets else "no asset list"
        described.append(Described(protocol.name, protocol.data, state))
    others = {asset.test_set: asset.source for asset in reserved_assets() if asset.test_set not in PROTOCOLS}
    for name, source in others.items():
        number = sum(asset.test_set == name for asset in reserved_assets())
        described.append(Described(name, source, f"its {number} assets are kept out of training"))
    return described
