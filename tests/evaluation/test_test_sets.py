"""The published held-out lists are whole, and local data are recognised as theirs or not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pytest
import yaml

from gvf.cli.main import _gvf
from gvf.data.curation.mesh_hash import mesh_sha256
from gvf.data.curation.reserved import LIST
from gvf.data.gltf.baking import load_model, rest_vertices
from gvf.data.gltf.document import read_gltf
from gvf.data.manifest import RAW_SCHEMA, write_manifest
from gvf.errors import UserError
from gvf.procedural.assets import build_asset
from gvf.storage.files import sha256
from gvf.workspace import Workspace
from gvf_evaluation import test_sets as sets
from tests.evaluation.frame_sets import write_set
from tests.stages.curated_clips import write_curated

ROOT = Path(__file__).resolve().parents[2]


def manifest(name: str, **changes: Any) -> pd.DataFrame:
    """A curated manifest whose held-out clips are a published list, with one training clip of another asset."""
    rows = sets.read_list(name).assign(split="held_out").to_dict("records")
    rows.append({"clip_id": "other--run", "asset_sha256": "0", "mesh_sha256": "1", "split": "train"})
    table = pd.DataFrame(rows).assign(decision="accepted", family="f", asset_seen=False)
    table = table.assign(skeleton=table["asset_sha256"], skeleton_seen=False)
    table["asset"] = "assets/" + table["clip_id"].str.partition("--")[0] + ".glb"
    return table.assign(**changes)


@pytest.mark.parametrize("name", sets.SOURCES)
def test_lists_are_as_their_checksums_say(name: str) -> None:
    listed = sets.read_list(name)
    assert list(listed.columns) == list(sets.COLUMNS)
    assert listed["clip_id"].is_unique
    assert listed["asset_sha256"].str.fullmatch("[0-9a-f]{64}").all()
    assert listed["mesh_sha256"].str.fullmatch("[0-9a-f]{64}").all()
    assert sets.differences(name, manifest(name)) == []
    assert sets.name_of(manifest(name)) == name
    assert sets.name_of(manifest(name).iloc[1:]) is None


def test_the_procedural_list_is_what_the_generator_makes(tmp_path: Path) -> None:
    """Every listed asset, built again: the bytes and the mesh; the families are those of the default data."""
    families = yaml.safe_load((ROOT / "params.yaml").read_text())["collect"]["procedural"]["families"]
    for row in sets.read_list("procedural").to_dict("records"):
        family, _, index = row["clip_id"].partition("--")[0].rpartition("-")
        assert family in families
        path = tmp_path / f"{family}-{index}.glb"
        path.write_bytes(build_asset(family, int(index), seed=0))
        assert sha256(path) == row["asset_sha256"]
        model = load_model(read_gltf(path))
        assert mesh_sha256(rest_vertices(model), model.faces) == row["mesh_sha256"]


def test_the_glb_list_is_of_kaykit(shared: Path) -> None:
    files = {path.stem.lower(): path for path in (shared / "data/kaykit").glob("*.glb")}
    listed = sets.read_list("glb")
    for asset, rows in listed.groupby(listed["clip_id"].str.partition("--")[0]):
        path = files[str(asset)]
        model = load_model(read_gltf(path))
        assert set(rows["asset_sha256"]) == {sha256(path)}
        assert set(rows["mesh_sha256"]) == {mesh_sha256(rest_vertices(model), model.faces)}


def test_differences_are_told() -> None:
    table = manifest("procedural")
    other = table["clip_id"] == "ball-015--bounce"
    for change, words in (
        (table[~other], "ball-015--bounce is on the list and not held out here"),
        (table.assign(split=table["split"].mask(other, "train")), "ball-015--bounce is on the list and not held out"),
        (table.assign(clip_id=table["clip_id"].mask(other, "x--y")), "x--y is held out here and not on the list"),
        (table.assign(asset_sha256=table["asset_sha256"].mask(other, "2")), "its asset is not the list's"),
        (table.assign(mesh_sha256=table["mesh_sha256"].mask(other, "2")), "its mesh is not the list's"),
        (
            table.assign(mesh_sha256=table["mesh_sha256"].mask(other, "1")),
            "the training clip other--run has the same mesh",
        ),
    ):
        assert any(words in line for line in sets.differences("procedural", change))
        assert sets.name_of(change) is None


def test_a_list_that_was_edited_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "LISTS", tmp_path)
    row = {"clip_id": "a--b", "asset_sha256": "1" * 64, "mesh_sha256": "2" * 64}
    table = pd.DataFrame([{**row, "decision": "accepted", "split": "held_out"}])
    path = sets.publish_list("glb", table)
    assert (tmp_path / sets.SUMS).read_text() == f"{sha256(path)}  glb.csv\n"
    assert sets.read_list("glb")["clip_id"].tolist() == ["a--b"]
    path.write_text(path.read_text().replace("a--b", "a--c"))
    with pytest.raises(UserError, match="not the published list"):
        sets.read_list("glb")
    with pytest.raises(UserError, match="Choose one of procedural, glb"):
        sets.read_list("kaykit")


def gvf(*arguments: str) -> None:
    _gvf.main(["test-sets", *arguments], standalone_mode=False)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    gvf("list")
    shown = capsys.readouterr().out
    assert "procedural: generated objects" in shown
    assert "drive.google.com" in shown
    assert "0 of its 7 assets can be recognised" in shown
    assert "SV4D's test set. Its 20 assets are kept out of training." in shown
    write_curated({"a": "train", "b": "held_out"})
    with pytest.raises(UserError, match="b is held out here and not on the list"):
        gvf("verify", "glb")
    write_set(tmp_path / "set")
    with pytest.raises(UserError, match=r"lacks aurorus, .*has fox, owl.*drive\.google\.com"):
        gvf("verify", "consistent4d", "--frames", "set/gt")
    gvf("verify", "gvf", "--frames", "set/gt")
    assert "2 objects with all their frames. SHA-256 " in capsys.readouterr().out
    with pytest.raises(click.UsageError, match="--frames is required for"):
        gvf("verify", "consistent4d")
    for arguments in (("--manifest", "nowhere.parquet"), ("--frames", "nowhere"), ()):
        with pytest.raises(
            UserError, match=r"no test set 'consistent4dd'\. Choose one of procedural, glb, consistent4d, gvf\."
        ):
            gvf("verify", "consistent4dd", *arguments)
    shutil.copy(LIST, "reserved.csv")
    monkeypatch.setattr("gvf.data.curation.reserved.LIST", Path("reserved.csv"))
    Path("ids.txt").write_text(f"{'0a' * 32}\n{'1b' * 16}.glb\n")
    gvf("reserve", "ids.txt", "--test-set", "gvf")
    assert "2 ids, 2 of them new" in capsys.readouterr().out
    assert Path("reserved.csv").read_text().splitlines()[-1] == f"gvf,{'1b' * 16},{'1b' * 16},,ids.txt"
    Path("ball.glb").write_bytes(build_asset("ball", 15, seed=0))
    gvf("identify", "ball.glb")
    digest = sets.read_list("procedural").set_index("clip_id").at["ball-015--bounce", "mesh_sha256"]
    assert capsys.readouterr().out.splitlines()[-1] == f"ball,{digest}"


def test_the_manifest_of_another_stage_is_told_from_the_curated_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    row = {
        "clip_id": "a--b",
        "asset": "a.glb",
        "asset_sha256": "0",
        "source": "glb",
        "family": "a",
        "kind": "a",
        "animation_index": 0,
    }
    write_manifest(Workspace().raw_manifest, [row], RAW_SCHEMA)
    for command in ("verify", "publish"):
        with pytest.raises(UserError, match=r"data/raw/clips\.parquet: .*`collect`.* data/curated/clips\.parquet\."):
            gvf(command, "procedural", "--manifest", str(Workspace().raw_manifest))
