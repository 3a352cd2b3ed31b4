"""Stage curate: which accepted clips are kept, held out and baked again for sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gvf.data.curation import asset
from gvf.data.curation.leakage import find_leaks
from gvf.data.mesh import AnimatedMesh
from gvf.errors import ClipError, ConfigError
from gvf.workspace import Workspace
from tests.data.gltf.gltf_files import TRIANGLE, GltfFile
from tests.stages.curation import curate_source, decided_clips, write_good


def test_every_accepted_clip_is_on_one_side_and_the_seed_decides(source: Path) -> None:
    write_good(source, 8)
    metrics = curate_source(source)
    first = decided_clips()
    assert (metrics["train"], metrics["held_out"]) == (6, 2)
    assert not first["asset_seen"].any()  # one clip per asset
    curate_source(source)
    assert first.equals(decided_clips())
    sides = set()
    for seed in range(4):
        curate_source(source, seed=seed)
        sides.add(tuple(decided_clips()["split"]))
    assert len(sides) > 1


def test_seen_assets_and_whole_keys(source: Path) -> None:
    for name, height in (("one", 1), ("two", 2)):
        file = GltfFile()
        node = file.node(mesh=file.triangle_mesh(TRIANGLE * np.array([1, height, 1], np.float32)))
        for i in range(4):
            file.animation(f"move{i}")
            file.channel(i, node, "translation", [0, 1], [[0, 0, 0], [i + 1, 0, 0]])
        file.glb(source / f"{name}.glb")
    curate_source(source, split_by="clip")
    clips = decided_clips()
    assert clips[clips["split"] == "held_out"]["asset_seen"].tolist() == [True, True]
    assert not clips[clips["split"] == "train"]["asset_seen"].any()
    assert clips[clips["split"] == "held_out"]["family"].nunique() == 2  # evenly over files
    curate_source(source, split_by="animation")
    clips = decided_clips()
    assert clips[clips["split"] == "held_out"]["animation"].nunique() == 1
    assert clips["split"].value_counts().to_dict() == {"train": 6, "held_out": 2}
    curate_source(source, split_by="asset", held_out_fraction=0.5)
    clips = decided_clips()
    assert clips.groupby("asset")["split"].nunique().tolist() == [1, 1]
    assert not clips["asset_seen"].any()
    (source / "two.glb").unlink()
    with pytest.raises(ConfigError, match="Choose clip") as caught:
        curate_source(source, split_by="asset")
    assert caught.value.key == "curate.split_by"


def test_a_copy_under_another_name_stays_on_its_asset_s_side_and_counts_as_seen(source: Path) -> None:
    """The copy has its triangle's corners in another order, larger and elsewhere."""
    write_good(source, 3)
    file = GltfFile()
    node = file.node(mesh=file.triangle_mesh(3 * TRIANGLE[[2, 0, 1]] * np.array([1, 1.1, 1], np.float32)))
    file.json["nodes"][node]["translation"] = [5, 5, 5]
    file.animation("other")
    file.channel(0, node, "translation", [0, 1], [[5, 5, 5], [8, 5, 5]])
    file.glb(source / "copy.glb")
    for seed in range(4):
        curate_source(source, seed=seed, split_by="asset", held_out_fraction=0.5)
        clips = decided_clips()
        assert clips.loc["copy--other", "mesh_sha256"] == clips.loc["good1--slide1", "mesh_sha256"]
        assert clips.loc["copy--other", "split"] == clips.loc["good1--slide1", "split"]
        assert clips["mesh_sha256"].nunique() == 3
        curate_source(source, seed=seed, split_by="clip", held_out_fraction=0.5)
        clips = decided_clips()
        apart = clips.loc["copy--other", "split"] != clips.loc["good1--slide1", "split"]
        assert clips["asset_seen"].any() == apart
        assert find_leaks(clips.reset_index()) == []


def test_the_cap_keeps_some_of_each_file_and_says_so(source: Path) -> None:
    write_good(source, 6)
    metrics = curate_source(source, max_clips=4)
    clips = decided_clips()
    dropped = clips[clips["reason"] == "cap"]
    assert (metrics["accepted"], metrics["rejected_cap"], len(dropped)) == (4, 2, 2)
    assert dropped["message"].str.contains("not among the 4 clips drawn of 6").all()
    assert dropped["motion"].notna().all()
    kept = {path.stem for path in Workspace().curated.glob("*.npz")}
    assert kept == set(clips.index) - set(dropped.index)


def test_held_out_clips_have_the_frames_of_sampling(source: Path) -> None:
    write_good(source, 6)
    same_length = curate_source(source)
    splits = decided_clips()["split"].to_dict()
    found = curate_source(source, sampled_frames=7)
    assert found["held_out"] == same_length["held_out"] > 0
    clips = decided_clips()
    assert clips["split"].to_dict() == splits
    for clip_id, split in splits.items():
        mesh = AnimatedMesh.load(Workspace().curated / f"{clip_id}.npz")
        assert mesh.points is not None
        assert (mesh.num_frames, len(mesh.points)) == ((7, 7) if split == "held_out" else (4, 4))
        # The triangle slides at a constant speed, so its ends are the same however many frames lie between them.
        assert np.allclose(
            mesh.vertices[-1] - mesh.vertices[0], (mesh.vertices[1] - mesh.vertices[0]) * (mesh.num_frames - 1)
        )


def test_a_held_out_clip_that_fails_at_the_frames_of_sampling_is_rejected(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_good(source, 6)
    bake = asset.bake_clip

    def fails_at_seven(model: Any, animation: Any, times: np.ndarray) -> AnimatedMesh:
        if len(times) == 7:
            raise ClipError("invalid", "seven frames are too many.")
        return bake(model, animation, times)

    monkeypatch.setattr(asset, "bake_clip", fails_at_seven)
    found = curate_source(source, sampled_frames=7)
    clips = decided_clips()
    rejected = clips[clips["decision"] == "rejected"]
    assert found["held_out"] == 0
    assert len(rejected) > 0
    assert set(rejected["message"]) == {"seven frames are too many."}
    assert rejected["split"].isna().all()
    assert {path.stem for path in Workspace().curated.glob("*.npz")} == set(clips.index) - set(rejected.index)
