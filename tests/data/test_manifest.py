"""Clip tables and their checks."""

from __future__ import annotations

import hashlib
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
    "source": "glb",
    "family": "Knight",
    "kind": "humanoid",
    "skeleton": "0123",
    "licence": "CC0-1.0",
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
    "skeleton_seen": False,
    "variant_of": None,
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
    taken: dict[str, int] = {}
    assert [unique(slug(text), taken) for text in ("A b/c", "a B.c", "../..", "", "Ünter_1", "a-b-c-2", "a.b.c")] == [
        "a-b-c",
        "a-b-c-2",
        "unnamed",
        "unnamed-2",
        "unter_1",
        "a-b-c-2-2",
        "a-b-c-3",
    ]


def test_slugs_are_short_and_stay_apart_where_letters_are_lost() -> None:
    long = "Armature|mixamo.com|Layer0_" * 10
    assert slug(long) == "armature-mixamo-com-layer0_armature-mixamo-com-layer0_a-" + _digest(long.lower())
    assert len(slug(long)) == 64
    assert slug(long + "2") != slug(long)
    assert slug("a" * 64) == "a" * 64  # a SHA-256 stays whole
    assert slug("走る") == "unnamed-" + _digest("走る")
    assert slug("歩く") != slug("走る")
    assert slug("Бег 2") == "2-" + _digest("бег 2")
    assert slug("Größe") == "gro-e-" + _digest("größe")
    assert slug("Café ½ ①") == "cafe-1-2-1"
    assert slug("run \ud83d") == slug("run 🏃") == "run"  # half a pair, and an emoji: neither letters nor digits
    assert slug("b\udce9n\n\x00") == "b-n"  # a byte of a file's name that is no UTF-8
    for text in (long, "走る", "Бег 2", "Größe", "x" * 65):
        assert slug(slug(text)) == slug(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def test_a_clip_of_the_longest_names_fits_every_file_name() -> None:
    taken: dict[str, int] = {}
    names = [unique(f"{slug('名' * 300)}--{slug('x' * 300)}", taken) for _ in range(3)]
    assert len(set(names)) == 3
    assert max(len(f".{name}.4194304.partial.safetensors") for name in names) < 255
