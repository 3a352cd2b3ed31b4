"""Stage collect: every clip of every file, readable or not."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gvf.config.collect import CollectConfig, GlbSourceConfig, ProceduralSourceConfig
from gvf.config.run import RunConfig
from gvf.data.gltf import read_gltf
from gvf.data.manifest import RAW_MANIFEST, read_manifest
from gvf.errors import ConfigError
from gvf.files import sha256
from gvf.stages import collect
from tests.data.gltf_files import GltfFile, sliding_triangle

RUN = RunConfig(preset="cpu", seed=0, device="cpu", executor="inline", workers=1, clip_seconds=60.0, clip_memory_gb=4.0)


def _params(folder: Path) -> Any:
    config = CollectConfig(source="glb", watch=str(folder), glb=GlbSourceConfig(str(folder)))
    return SimpleNamespace(run=RUN, collect=config)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty source folder beside an empty working folder."""
    (tmp_path / "work").mkdir()
    (tmp_path / "source").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "source"


def test_every_clip_of_every_file_is_one_row(source: Path) -> None:
    two = sliding_triangle("Run Fast!", duration=2.0)
    second = two.animation("run fast?")
    two.channel(second, 0, "scale", [1, 1.5], np.ones((2, 3)))
    two.glb(source / "My Hero.glb")
    (source / "deeper").mkdir()
    sliding_triangle("hop").glb(source / "deeper" / "my hero.GLB")
    (source / "notes.txt").write_text("no asset")
    metrics = collect.run(_params(source))
    clips = read_manifest(RAW_MANIFEST)
    assert clips["clip_id"].tolist() == ["my-hero--run-fast", "my-hero--run-fast-2", "my-hero-2--hop"]
    assert clips["asset"].tolist() == ["assets/my-hero.glb", "assets/my-hero.glb", "assets/my-hero-2.glb"]
    assert clips["family"].tolist() == ["My Hero", "My Hero", "my hero"]
    assert clips["animation"].tolist() == ["Run Fast!", "run fast?", "hop"]
    assert clips["animation_index"].tolist() == [0, 1, 0]
    assert clips["duration"].tolist() == [2.0, 0.5, 1.0]
    assert clips["error"].isna().all()
    assert clips["asset_sha256"][0] == sha256(source / "My Hero.glb") == sha256("data/raw/assets/my-hero.glb")
    assert metrics == {"assets": 2, "clips": 3, "unreadable": 0, "families": 2, "seconds_of_animation": 3.5}


def test_unreadable_files_are_rows_and_the_run_goes_on(source: Path) -> None:
    (source / "empty.glb").touch()
    good = sliding_triangle().glb(source / "good.glb").read_bytes()
    (source / "half.glb").write_bytes(good[: len(good) // 2])
    still = GltfFile()
    still.node(mesh=still.triangle_mesh())
    still.glb(source / "still.glb")
    cyclic = sliding_triangle()
    cyclic.json["nodes"] += [{"children": [2]}, {"children": [1]}]
    cyclic.glb(source / "cyclic.glb")
    partly = sliding_triangle("fine")
    partly.animation("hollow")
    partly.glb(source / "partly.glb")
    metrics = collect.run(_params(source))
    clips = read_manifest(RAW_MANIFEST).set_index("clip_id")
    reasons = clips["error"].dropna()
    assert reasons.to_dict() == {
        "cyclic--unreadable": "invalid",
        "empty--unreadable": "invalid",
        "half--unreadable": "invalid",
        "still--unreadable": "motion",
        "partly--hollow": "invalid",
    }
    messages = clips["message"]
    assert "part of a cycle" in messages["cyclic--unreadable"]
    assert "empty" in messages["empty--unreadable"]
    assert "cut short" in messages["half--unreadable"]
    assert "no animation" in messages["still--unreadable"]
    assert metrics["clips"] == 3
    assert metrics["unreadable"] == 5


def test_a_gltf_brings_its_side_files_in_a_folder_of_its_own(source: Path) -> None:
    path = sliding_triangle().gltf(source / "Model.gltf", embedded=False)
    collect.run(_params(source))
    (clip,) = read_manifest(RAW_MANIFEST).to_dict("records")
    assert clip["asset"] == "assets/model/model.gltf"
    copy = RAW_MANIFEST.parent / clip["asset"]
    assert (copy.parent / "buffer data.bin").read_bytes() == (source / "buffer data.bin").read_bytes()
    assert read_gltf(copy).animation_names == ["slide"]
    changed = bytearray((source / "buffer data.bin").read_bytes())
    changed[0] ^= 1
    (source / "buffer data.bin").write_bytes(changed)
    collect.run(_params(source))
    assert read_manifest(RAW_MANIFEST)["asset_sha256"][0] != clip["asset_sha256"]
    path.write_text(path.read_text().replace("buffer%20data.bin", "../secret.bin"))
    collect.run(_params(source))
    assert "not a file in the folder" in read_manifest(RAW_MANIFEST)["message"][0]


def test_a_folder_without_assets_stops_at_once_and_keeps_what_was_there(source: Path) -> None:
    sliding_triangle().glb(source / "good.glb")
    collect.run(_params(source))
    (source / "good.glb").unlink()
    for folder, words in ((source, r"holds no \.glb"), (source / "absent", "is not a folder")):
        with pytest.raises(ConfigError, match=words) as caught:
            collect.run(_params(folder))
        assert caught.value.key == "collect.glb.directory"
    assert len(read_manifest(RAW_MANIFEST)) == 1
    assert not Path("data/raw.partial").exists()


def test_procedural_assets_know_their_family(source: Path) -> None:
    settings = ProceduralSourceConfig(("fish", "ball"), 2)
    config = CollectConfig(source="procedural", watch="src", procedural=settings)
    params: Any = SimpleNamespace(run=RUN, collect=config)
    assert collect.run(params)["clips"] == 4
    clips = read_manifest(RAW_MANIFEST)
    assert clips["family"].tolist() == ["fish", "fish", "ball", "ball"]
    assert clips["error"].isna().all()
    first = clips["asset_sha256"].tolist()
    collect.run(params)
    assert read_manifest(RAW_MANIFEST)["asset_sha256"].tolist() == first


def test_a_process_pool_finds_the_same(source: Path) -> None:
    for name in ("a", "b", "c"):
        sliding_triangle(name).glb(source / f"{name}.glb")
    params = _params(source)
    collect.run(params)
    inline = read_manifest(RAW_MANIFEST)
    params.run = RunConfig(
        preset="cpu", seed=0, device="cpu", executor="process", workers=2, clip_seconds=60.0, clip_memory_gb=4.0
    )
    collect.run(params)
    assert inline.equals(read_manifest(RAW_MANIFEST))


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"source": "objaverse"}, "collect.source"),
        ({"source": "glb"}, "collect.glb"),
        (
            {"source": "glb", "glb": GlbSourceConfig("x"), "procedural": ProceduralSourceConfig(("a",), 1)},
            "collect.procedural",
        ),
        ({"source": "glb", "glb": GlbSourceConfig("elsewhere")}, "collect.watch"),
    ],
)
def test_the_config_has_the_source_that_it_names_and_no_other(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CollectConfig(watch="x", **values)
    assert caught.value.key == key


def test_kaykit_has_380_clips(source: Path, shared: Path) -> None:
    for path in sorted((shared / "data" / "kaykit").glob("*.glb")):
        shutil.copyfile(path, source / path.name)
    metrics = collect.run(_params(source))
    assert (metrics["clips"], metrics["unreadable"], metrics["assets"]) == (380, 0, 5)
    clips = read_manifest(RAW_MANIFEST)
    poses = clips[clips["duration"] == 0.0]["animation"].unique()
    assert {"T-Pose", "Unarmed_Pose", "Lie_Pose"} <= set(poses)
