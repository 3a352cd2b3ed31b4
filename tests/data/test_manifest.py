"""Clip tables and their checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gvf.data.manifest import CURATED_SCHEMA, RAW_SCHEMA, read_manifest, slug, unique, write_manifest
from gvf.errors import UserError

READABLE: dict[str, Any] = {
    "clip_id": "knight--run",
    "asset": "assets/knight.glb",
    "asset_sha256": "ab",
    "family": "Knight",
    "animation": "Run",
    "animation_index": 3,
    "duration": 1.5,
    "error": None,
    "message": None,
}
BROKEN = {
    **READABLE,
    "clip_id": "x--unreadable",
    "animation": None,
    "animation_index": -1,
    "duration": None,
    "error": "invalid",
}
DECISION: dict[str, Any] = {
    "decision": "accepted",
    "reason": None,
    "motion": 0.1,
    "num_vertices": 3,
    "num_triangles": 1,
    "mesh_sha256": "cd",
    "aesthetic_score": None,
    "aesthetic_note": "not scored",
    "split": "train",
    "asset_seen": False,
}


def test_rows_come_back_with_their_types(tmp_path: Path) -> None:
    write_manifest(tmp_path / "raw.parquet", [READABLE, BROKEN], RAW_SCHEMA)
    clips = read_manifest(tmp_path / "raw.parquet")
    assert list(clips.columns) == RAW_SCHEMA.names
    assert clips["animation_index"].tolist() == [3, -1]
    assert clips["error"].isna().tolist() == [True, False]
    assert clips[clips["animation"] == "Run"]["duration"].tolist() == [1.5]
    write_manifest(tmp_path / "curated.parquet", [{**READABLE, **DECISION}], CURATED_SCHEMA)
    assert read_manifest(tmp_path / "curated.parquet")["asset_seen"].dtype == bool


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"animation_index": "three"}, "do not fit"),
        ({"clip_id": None}, "column 'clip_id' has empty entries"),
        ({"split": "test"}, "column 'split' holds 'test'"),
        ({"decision": "perhaps"}, "column 'decision' holds 'perhaps'"),
    ],
)
def test_rows_that_do_not_fit_are_not_written(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        write_manifest(tmp_path / "a.parquet", [{**READABLE, **DECISION, **change}], CURATED_SCHEMA)
    with pytest.raises(ValueError, match="names a clip twice"):
        write_manifest(tmp_path / "a.parquet", [READABLE, READABLE], RAW_SCHEMA)
    assert list(tmp_path.iterdir()) == []


def test_broken_tables_are_named(tmp_path: Path) -> None:
    path = tmp_path / "clips.parquet"
    with pytest.raises(UserError, match="no such file"):
        read_manifest(path)
    path.write_bytes(b"PAR1 or not")
    with pytest.raises(UserError, match="not a readable parquet"):
        read_manifest(path)
    pd.DataFrame({"clip_id": ["a"]}).to_parquet(path)
    with pytest.raises(UserError, match="columns must be"):
        read_manifest(path)


def test_names_are_safe_and_stay_distinct() -> None:
    taken: set[str] = set()
    assert [unique(slug(text), taken) for text in ("A b/c", "a B.c", "../..", "", "Ünter_1")] == [
        "a-b-c",
        "a-b-c-2",
        "unnamed",
        "unnamed-2",
        "nter_1",
    ]
