"""Meshes recognised under other names, the list of reserved assets, and leaks that a manifest shows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gvf.data.curation.leakage import find_leaks, refuse_leaks
from gvf.data.curation.mesh_hash import mesh_sha256
from gvf.data.curation.reserved import LIST, ReservedAsset, find_reserved, ids_in, reserve, reserved_assets
from gvf.errors import UserError
from gvf_evaluation.protocols import CONSISTENT4D

GENERATOR = np.random.default_rng(0)
VERTICES = GENERATOR.random((40, 3))
FACES = np.array([GENERATOR.choice(40, 3, replace=False) for _ in range(60)])


def test_a_mesh_is_recognised_after_changes_that_tools_make() -> None:
    digest = mesh_sha256(VERTICES, FACES)
    assert re.fullmatch("[0-9a-f]{64}", digest)
    order = GENERATOR.permutation(40)
    place = np.argsort(order)
    copies = {
        "moved and scaled": (100.0 * VERTICES - 7.0, FACES),
        "float32": (VERTICES.astype(np.float32), FACES.astype(np.int32)),
        "vertices in another order": (VERTICES[order], place[FACES]),
        "faces in another order and wound the other way": (VERTICES, FACES[::-1, ::-1]),
        "every corner a vertex of its own": (VERTICES[FACES].reshape(-1, 3), np.arange(180).reshape(-1, 3)),
        "with a face twice and one without area": (VERTICES, np.r_[FACES, FACES[:1], [[3, 3, 5]]]),
    }
    for what, copy in copies.items():
        assert mesh_sha256(*copy) == digest, what
    others = {
        "a vertex moved": (VERTICES + 0.02 * np.eye(40, 3), FACES),
        "a face less": (VERTICES, FACES[1:]),
        "stretched": (VERTICES * (1, 1, 1.1), FACES),
        "turned": (VERTICES[:, [0, 2, 1]], FACES),
    }
    for what, other in others.items():
        assert mesh_sha256(*other) != digest, what


def test_the_list_names_every_object_of_consistent4d_and_is_well_formed() -> None:
    assets = reserved_assets()
    assert tuple(a.name for a in assets if a.test_set == "consistent4d") == CONSISTENT4D.objects
    assert len([a for a in assets if a.asset_id]) == len({a.asset_id for a in assets if a.asset_id}) == 20
    for asset in assets:
        assert asset.source
        assert re.fullmatch("[0-9a-f]{32}|", asset.asset_id)
        assert re.fullmatch("[0-9a-f]{64}|", asset.mesh_sha256)


def test_reserved_assets_are_found_by_id_and_by_mesh() -> None:
    by_id = ReservedAsset("one", "a", "0aF3", "", "")
    by_mesh = ReservedAsset("two", "b", "", "m" * 64, "")
    unknown = ReservedAsset("three", "c", "", "", "")
    listed = (unknown, by_id, by_mesh)
    assert find_reserved({"0af3"}, None, listed) is by_id
    assert find_reserved({"x", "0AF3"}, "n" * 64, listed) is by_id
    assert find_reserved({"x"}, "m" * 64, listed) is by_mesh
    assert find_reserved({"sets/one/0AF3"}, None, listed) is by_id  # a path: its last part, or the folder of its model
    assert find_reserved({"sets/0AF3/scene"}, None, listed) is by_id
    assert find_reserved({"sets/x0AF3/scene"}, None, listed) is None
    assert find_reserved({"c"}, None, listed) is None
    assert find_reserved({""}, "", listed) is None


def test_a_list_of_ids_is_added_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = "0af3" * 8, "1b" * 32
    ids = tmp_path / "ids.txt"
    ids.write_text(f"glbs/000-001/{one.upper()}.glb\n{other},github\n{one}\nnot an id: {'a' * 40}\n")
    assert ids_in(ids) == [one, other]
    before = reserved_assets()
    listed = shutil.copy(LIST, tmp_path / "reserved.csv")
    monkeypatch.setattr("gvf.data.curation.reserved.LIST", listed)
    try:
        assert reserve("gvf", ids_in(ids), "a test") == 2
        assert reserve("gvf", ids_in(ids), "a test") == 0
        assert reserve("another", [one], "a test") == 1
        assert reserved_assets()[:-3] == before
        assert find_reserved({"x", other}, None) == ReservedAsset("gvf", other, other, "", "a test")
    finally:
        reserved_assets.cache_clear()
    ids.write_text("sofa\n")
    for path, words in ((ids, "holds no Objaverse id"), (tmp_path, "cannot be read")):
        with pytest.raises(UserError, match=words):
            ids_in(path)


def test_an_asset_whose_file_digest_is_reserved_is_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objaverse-XL's ids are digests of files."""
    asset = ReservedAsset("gvf", "chair", "5" * 64, "", "a test")
    monkeypatch.setattr("gvf.data.curation.reserved.reserved_assets", lambda: (asset,))
    row = {"clip_id": "a--b", "asset": "assets/a.glb", "family": "a", "asset_seen": False, "mesh_sha256": "6" * 64}
    row |= {"decision": "accepted", "split": "train", "asset_sha256": "5" * 64, "skeleton": "s", "skeleton_seen": False}
    assert find_leaks(pd.DataFrame([row])) == [
        "a--b (train) is chair of the test set gvf, which is reserved for testing."
    ]


def row(clip_id: str, split: str, mesh: str, **changes: Any) -> dict[str, Any]:
    return {
        "clip_id": clip_id,
        "asset": f"assets/{clip_id}.glb",
        "asset_sha256": clip_id,
        "family": "family",
        "mesh_sha256": mesh,
        "decision": "accepted",
        "split": split,
        "asset_seen": False,
        "skeleton": f"skeleton of {clip_id}",
        "skeleton_seen": changes.get("asset_seen", False),
        **changes,
    }


def test_each_kind_of_leak_is_reported() -> None:
    reserved = next(asset for asset in reserved_assets() if asset.asset_id)
    clean = [row("a", "train", "1"), row("b", "held_out", "2"), row("c", "held_out", "1", asset_seen=True)]
    assert find_leaks(pd.DataFrame(clean)) == []
    refuse_leaks(pd.DataFrame(clean))
    rejected = row("d", "train", "2", decision="rejected")
    assert find_leaks(pd.DataFrame([*clean, rejected])) == []
    for change, words in (
        (row("e", "held_out", "1"), "e is held out as unseen, but the training clip a has the same mesh"),
        (row("e", "held_out", "3", asset="assets/a.glb"), "but the training clip a has the same asset"),
        (row("e", "held_out", "3", asset_sha256="a"), "but the training clip a has the same file"),
        (row("e", "held_out", "3", skeleton="skeleton of a"), "but the training clip a has the same skeleton"),
        (row("e", "train", "3", asset=f"assets/{reserved.asset_id}.glb"), f"e (train) is {reserved}"),
    ):
        (leak,) = find_leaks(pd.DataFrame([*clean, change]))
        assert words in leak
        with pytest.raises(UserError, match="leaks found: 1"):
            refuse_leaks(pd.DataFrame([*clean, change]))
