"""Curation of folders with a manifest: splits by skeleton, caps per asset, variants."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gvf.config.curate import VariantsConfig
from gvf.data.curation.leakage import find_leaks
from gvf.data.mesh import AnimatedMesh
from gvf.errors import ConfigError
from gvf.workspace import Workspace
from tests.data.gltf.gltf_files import TRIANGLE, GltfFile
from tests.stages.curation import curate_source, decided_clips

VARIANTS = VariantsConfig(per_clip=2, yaw=(-90.0, 90.0), mirror=0.5, scale=(0.5, 1.5), window=(0.5, 1.0), reverse=0.5)


def _write(source: Path, name: str, height: float, reaches: list[float]) -> None:
    """An asset of its own shape, whose animation `move<i>` slides by `reaches[i]`."""
    file = GltfFile()
    node = file.node(mesh=file.triangle_mesh(TRIANGLE * np.array([1, height, 1], np.float32)))
    for i, reach in enumerate(reaches):
        file.animation(f"move{i}")
        file.channel(i, node, "translation", [0, 1], [[0, 0, 0], [reach, 0, 0]])
    file.glb(source / f"{name}.glb")


def _zoo(source: Path) -> None:
    """Six animals with three skeletons, two robots with two, one plant; four motions each."""
    rows = ["file,kind,rig,licence,author,pack"]
    for i in range(6):
        rows.append(f"animal{i}.glb,animal,cat{i // 2},CC0-1.0,Ana,cats")
        _write(source, f"animal{i}", 1 + 0.1 * i, [1, 2, 3, 4])
    for i in range(2):
        rows.append(f"robot{i}.glb,robot,bot{i},CC-BY-4.0,Bo,bots")
        _write(source, f"robot{i}", 2 + 0.1 * i, [1, 2, 3, 4])
    rows.append("plant.glb,plant,stem,CC0-1.0,Ana,plants")
    _write(source, "plant", 3, [1, 2, 3, 4])
    (source / "manifest.csv").write_text("\n".join(rows) + "\n")


def test_whole_skeletons_of_every_kind_are_held_out_and_some_motions_of_seen_assets(source: Path) -> None:
    _zoo(source)
    metrics = curate_source(source, split_by="skeleton", held_out_fraction=0.3, held_out_seen_fraction=0.2)
    clips = decided_clips()
    held_out = clips[clips["split"] == "held_out"]
    unseen = held_out[~held_out["skeleton_seen"]]
    assert unseen.groupby("kind")["skeleton"].nunique().to_dict() == {"animal": 1, "robot": 1}
    assert len(unseen) == 8 + 4
    train = clips[clips["split"] == "train"]
    assert set(train["skeleton"]).isdisjoint(unseen["skeleton"])
    assert set(train["kind"]) == {"animal", "robot", "plant"}
    seen = held_out[held_out["skeleton_seen"]]
    assert seen["asset_seen"].all()
    assert set(seen["kind"]) == {"animal", "robot", "plant"}
    motions = set(zip(train["skeleton"], train["animation"]))
    assert motions.isdisjoint(zip(seen["skeleton"], seen["animation"]))
    assert find_leaks(clips.reset_index()) == []
    assert clips.loc["robot0--move0", ["licence", "author", "pack"]].tolist() == ["CC-BY-4.0", "Bo", "bots"]
    assert (metrics["held_out"], metrics["held_out_skeleton_seen"]) == (len(held_out), len(seen))
    # Another asset of another kind moves none of the others.
    splits = clips["split"].to_dict()
    _write(source, "car", 4, [1, 2])
    curate_source(source, split_by="skeleton", held_out_fraction=0.3, held_out_seen_fraction=0.2)
    after = decided_clips()["split"]
    assert {name: after[name] for name in splits} == splits


def test_a_copy_joins_the_skeletons_of_both_names(source: Path) -> None:
    """One mesh under two skeletons: neither may be held out from the other."""
    _write(source, "one", 1, [1])
    _write(source, "copy", 1, [2])
    for i in range(3):
        _write(source, f"other{i}", 2 + i, [1])
    names = ["one", "copy", "other0", "other1", "other2"]
    rows = [f"{name}.glb,thing,{name}" for name in names]
    (source / "manifest.csv").write_text("\n".join(["file,kind,skeleton", *rows]))
    for seed in range(4):
        curate_source(source, seed=seed, split_by="skeleton", held_out_fraction=0.5)
        split = decided_clips()["split"]
        assert split["one--move0"] == split["copy--move0"]
        assert split.nunique() == 2


def test_the_cap_of_an_asset_keeps_its_most_varied_clips(source: Path) -> None:
    _write(source, "one", 1, [1, 1.05, 1.1, 9])
    _write(source, "two", 2, [1, 2])
    metrics = curate_source(source, max_clips_per_asset=2)
    clips = decided_clips()
    kept = set(clips[clips["decision"] == "accepted"].index)
    assert {"two--move0", "two--move1", "one--move3"} < kept
    assert len(kept) == 4
    dropped = clips[clips["reason"] == "cap"]
    assert metrics["rejected_cap"] == len(dropped) == 2
    assert dropped["message"].str.contains("not among the 2 most varied clips of its asset").all()


def test_training_clips_get_variants_and_held_out_clips_none(source: Path) -> None:
    _zoo(source)
    metrics = curate_source(source, split_by="skeleton", held_out_fraction=0.3, sampled_frames=6, variants=VARIANTS)
    clips = decided_clips()
    own, variants = clips[clips["variant_of"].isna()], clips[clips["variant_of"].notna()]
    train = own[own["split"] == "train"]
    assert sorted(variants["variant_of"]) == sorted([*train.index, *train.index])
    assert set(variants["split"]) == {"train"}
    assert metrics["variants"] == len(variants)
    name = train.index[0]
    assert set(variants[variants["variant_of"] == name].index) == {f"{name}--v1", f"{name}--v2"}
    assert variants.loc[f"{name}--v1", "licence"] == train.loc[name, "licence"]
    changes = [json.loads(text) for text in variants["variant"]]
    assert len({change["yaw"] for change in changes}) == len(changes)
    mesh = AnimatedMesh.load(Workspace().curated / f"{name}--v1.npz")
    change = json.loads(variants.loc[f"{name}--v1", "variant"])
    assert (mesh.num_frames, len(mesh.points if mesh.points is not None else ())) == (4, 4)
    assert np.abs(mesh.vertices[0]).max() <= 0.5
    assert np.isclose(mesh.times[-1], change["window"], atol=1e-3)  # the animation lasts one second
    curate_source(source, split_by="skeleton", held_out_fraction=0.3, sampled_frames=6, variants=VARIANTS)
    assert clips.equals(decided_clips())
    assert find_leaks(clips.reset_index()) == []


def test_seen_clips_are_held_out_only_where_the_split_has_none_anyway(source: Path) -> None:
    with pytest.raises((ConfigError, ValueError), match="holds out clips of seen assets anyway"):
        curate_source(source, split_by="clip", held_out_seen_fraction=0.2)
