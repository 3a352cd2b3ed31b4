"""Stage collect: every clip of every file, readable or not."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gvf.config.collect import CollectConfig, GlbSourceConfig, ProceduralSourceConfig
from gvf.data.gltf.document import read_gltf
from gvf.data.manifest import read_manifest
from gvf.data.sources.glb import glb_files
from gvf.errors import ConfigError
from gvf.stages import collect
from gvf.storage.files import sha256
from gvf.workspace import Workspace
from tests.data.gltf.gltf_files import GltfFile, sliding_triangle
from tests.sections import execution_section, run_section

SHARED = {"run": run_section(), "execution": execution_section()}


def _params(folder: Path) -> Any:
    config = CollectConfig(sources=("glb",), watch=str(folder), glb=GlbSourceConfig(str(folder)))
    return SimpleNamespace(**SHARED, collect=config)


def test_every_clip_of_every_file_is_one_row(source: Path) -> None:
    two = sliding_triangle("Run Fast!", duration=2.0)
    second = two.animation("run fast?")
    two.channel(second, 0, "scale", [1, 1.5], np.ones((2, 3)))
    two.glb(source / "My Hero.glb")
    (source / "deeper").mkdir()
    sliding_triangle("hop").glb(source / "deeper" / "my hero.GLB")
    (source / "notes.txt").write_text("no asset")
    metrics = collect.run(_params(source), Workspace())
    clips = read_manifest(Workspace().raw_manifest)
    assert clips["clip_id"].tolist() == ["my-hero--run-fast", "my-hero--run-fast-2", "my-hero-2--hop"]
    assert clips["asset"].tolist() == [
        "assets/my-hero/my-hero.glb",
        "assets/my-hero/my-hero.glb",
        "assets/my-hero-2/my-hero-2.glb",
    ]
    assert clips["family"].tolist() == ["My Hero", "My Hero", "deeper/my hero"]
    assert clips["animation"].tolist() == ["Run Fast!", "run fast?", "hop"]
    assert clips["animation_index"].tolist() == [0, 1, 0]
    assert clips["duration"].tolist() == [2.0, 0.5, 1.0]
    assert clips["error"].isna().all()
    assert clips["asset_sha256"][0] == sha256(source / "My Hero.glb") == sha256("data/raw/assets/my-hero/my-hero.glb")
    assert (clips["source"] == "glb").all()
    assert clips["kind"].tolist() == clips["family"].tolist()
    assert clips["skeleton"].tolist() == clips["asset_sha256"].tolist()  # no joints
    assert clips[["licence", "author", "pack", "origin"]].isna().all(axis=None)
    assert metrics == {
        "assets": 2,
        "clips": 3,
        "unreadable": 0,
        "families": 2,
        "kinds": 2,
        "skeletons": 2,
        "assets_without_licence": 2,
        "seconds_of_animation": 3.5,
    }


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
    metrics = collect.run(_params(source), Workspace())
    clips = read_manifest(Workspace().raw_manifest).set_index("clip_id")
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
    collect.run(_params(source), Workspace())
    (clip,) = read_manifest(Workspace().raw_manifest).to_dict("records")
    assert clip["asset"] == "assets/model/model.gltf"
    copy = Workspace().raw / clip["asset"]
    assert (copy.parent / "buffer data.bin").read_bytes() == (source / "buffer data.bin").read_bytes()
    assert read_gltf(copy).animation_names == ["slide"]
    changed = bytearray((source / "buffer data.bin").read_bytes())
    changed[0] ^= 1
    (source / "buffer data.bin").write_bytes(changed)
    collect.run(_params(source), Workspace())
    assert read_manifest(Workspace().raw_manifest)["asset_sha256"][0] != clip["asset_sha256"]
    path.write_text(path.read_text().replace("buffer%20data.bin", "../secret.bin"))
    collect.run(_params(source), Workspace())
    assert "not a file in the folder" in read_manifest(Workspace().raw_manifest)["message"][0]


def test_textures_beside_a_glb_come_along_and_stay_apart(source: Path) -> None:
    """Two files share a folder of textures; a third, of equal name elsewhere, has another texture under that name."""
    for folder, content in ((source, b"one"), (source / "deeper", b"two")):
        (folder / "textures").mkdir(parents=True)
        (folder / "textures/map.png").write_bytes(content)
    for name in ("a.glb", "b.glb", "deeper/a.glb"):
        _with_image("textures/map.png").glb(source / name)
    _with_image("absent.png").glb(source / "c.glb")
    collect.run(_params(source), Workspace())
    clips = read_manifest(Workspace().raw_manifest)
    assert clips["family"].tolist() == ["a", "b", "c", "deeper/a"]
    assert clips["error"].isna().all()
    found = [Workspace().raw / Path(asset).parent / "textures/map.png" for asset in clips["asset"]]
    assert [path.read_bytes() if path.exists() else b"" for path in found] == [b"one", b"one", b"", b"two"]
    digests = clips.set_index("family")["asset_sha256"]
    assert digests["c"] == sha256(source / "c.glb")  # nothing beside it: the file's own
    parts = sha256(source / "a.glb") + sha256(source / "textures/map.png")
    assert digests["a"] == digests["b"] == hashlib.sha256(parts.encode()).hexdigest()
    assert digests["deeper/a"] != digests["a"]


def _with_image(uri: str) -> GltfFile:
    file = sliding_triangle()
    file.entry("images", uri=uri)
    return file


@pytest.mark.parametrize(
    "uri", ["../secret.png", "/etc/passwd", "http://x/a.png", "a\\b.png", "x" * 300 + ".png", "\ud800.png", "sub", 7]
)
def test_an_image_that_is_no_file_beside_a_glb_and_not_used_costs_nothing(source: Path, uri: Any) -> None:
    (source.parent / "secret.png").write_bytes(b"secret")
    (source / "sub").mkdir()
    _with_image(uri).glb(source / "a.glb")
    assert collect.run(_params(source), Workspace())["unreadable"] == 0
    assert [path.name for path in Path("data/raw/assets/a").iterdir()] == ["a.glb"]


def test_a_side_file_never_leaves_the_folder_and_never_takes_the_asset_s_place(source: Path) -> None:
    (source.parent / "secret").write_bytes(b"secret")
    (source / "shared.png").write_bytes(b"shared")
    (source / "deeper").mkdir()
    (source / "deeper/inside.png").symlink_to(source / "shared.png")
    (source / "deeper/outside.png").symlink_to(source.parent / "secret")
    for name in ("inside", "outside"):
        _with_image(f"{name}.png").glb(source / "deeper" / f"{name}.glb")
    _with_image("hero.glb").glb(source / "Hero.glb")
    _with_image("x.png").glb(source / "hero.glb")
    collect.run(_params(source), Workspace())
    clips = read_manifest(Workspace().raw_manifest).set_index("family")
    assert Path("data/raw/assets/inside/inside.png").read_bytes() == b"shared"
    assert clips.loc["deeper/outside", "error"] == "invalid"
    assert "'outside.png' is a link out of" in clips.loc["deeper/outside", "message"]
    assert not list(Path("data/raw").rglob("outside.png"))
    assert Path("data/raw/assets/hero/hero.glb").read_bytes() == (source / "Hero.glb").read_bytes()


def test_a_linked_folder_brings_its_assets_and_their_textures(source: Path) -> None:
    store = source.parent / "store"
    store.mkdir()
    _with_image("map.png").glb(store / "car.glb")
    (store / "map.png").write_bytes(b"map")
    (source / "link").symlink_to(store)
    collect.run(_params(source), Workspace())
    assert read_manifest(Workspace().raw_manifest)["family"].tolist() == ["link/car"]
    assert Path("data/raw/assets/car/map.png").read_bytes() == b"map"


def test_what_was_passed_over_is_said(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    sliding_triangle().glb(source / "a.glb")
    (source / "._a.glb").write_bytes(b"\0\5\x16\7")
    (source / "gone.glb").symlink_to("nowhere")
    assert collect.run(_params(source), Workspace())["assets"] == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"Skipped {source}/gone.glb: is a broken link.",
        "Skipped 1 files in which macOS stores attributes of other files.",
        "The licence of 1 files is unknown, since no manifest.csv lists them; the first is a.glb.",
    ]


def test_names_of_files_are_fit_for_paths_and_tables(source: Path) -> None:
    """Two names that are no UTF-8, one as long as a file system takes, one in another script, one of a hidden kind."""
    names = [b"b\xe8.glb", b"b\xe9.glb", b"x" * 251 + b".glb", "走る.glb".encode(), b"..glb"]
    content = sliding_triangle().glb(source.parent / "any.glb").read_bytes()
    for name in names:
        Path(os.fsdecode(os.fsencode(source) + b"/" + name)).write_bytes(content)
    collect.run(_params(source), Workspace())
    clips = read_manifest(Workspace().raw_manifest)
    assert clips["error"].isna().all()
    families = sorted(clips["family"])
    expected = [f"b\ufffd-{_digest('b' + half)}" for half in ("\udce8", "\udce9")]
    assert families == sorted([".", "x" * 251, "走る", *expected])
    assert clips["asset"].is_unique
    assert all((Workspace().raw / asset).read_bytes() == content for asset in clips["asset"])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def test_a_file_that_vanishes_costs_itself_and_a_full_disk_ends_the_run(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        sliding_triangle(name).glb(source / f"{name}.glb")
    copy = shutil.copyfile

    def vanished(path: Path, to: Path) -> None:
        if path.name == "a.glb":
            path.unlink()
        copy(path, to)

    monkeypatch.setattr("gvf.stages.collect.shutil.copyfile", vanished)
    assert collect.run(_params(source), Workspace())["unreadable"] == 1
    clips = read_manifest(Workspace().raw_manifest).set_index("clip_id")
    assert clips.loc["a--unreadable", "message"] == "a.glb: cannot be copied (No such file or directory)."
    before = Workspace().raw_manifest.read_bytes()

    def full(path: Path, to: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gvf.stages.collect.shutil.copyfile", full)
    [item] = glb_files(GlbSourceConfig(directory=str(source)), Path("x"), Workspace())
    with pytest.raises(OSError, match="No space left"):
        collect.collect_asset(item)
    assert Workspace().raw_manifest.read_bytes() == before


def test_ctrl_c_leaves_what_was_there(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command says then is tested in tests/cli/test_cli.py."""
    sliding_triangle().glb(source / "a.glb")
    collect.run(_params(source), Workspace())
    before = Workspace().raw_manifest.read_bytes()

    def interrupted(path: Path, to: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gvf.stages.collect.shutil.copyfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collect.run(_params(source), Workspace())
    assert Workspace().raw_manifest.read_bytes() == before
    assert [path.name for path in Path("data").iterdir()] == ["raw"]


def test_a_folder_without_assets_stops_at_once_and_keeps_what_was_there(source: Path) -> None:
    sliding_triangle().glb(source / "good.glb")
    collect.run(_params(source), Workspace())
    (source / "good.glb").unlink()
    for folder, words in ((source, r"holds no \.glb"), (source / "absent", "is not a folder")):
        with pytest.raises(ConfigError, match=words) as caught:
            collect.run(_params(folder), Workspace())
        assert caught.value.key == "collect.glb.directory"
    assert len(read_manifest(Workspace().raw_manifest)) == 1
    assert not Path("data/raw.partial").exists()


def test_procedural_assets_know_their_family(source: Path) -> None:
    settings = ProceduralSourceConfig(families=("fish", "ball"), clips_per_family=2)
    config = CollectConfig(sources=("procedural",), watch="src", procedural=settings)
    params: Any = SimpleNamespace(**SHARED, collect=config)
    assert collect.run(params, Workspace())["clips"] == 4
    clips = read_manifest(Workspace().raw_manifest)
    assert clips["family"].tolist() == ["fish", "fish", "ball", "ball"]
    assert clips["error"].isna().all()
    first = clips["asset_sha256"].tolist()
    collect.run(params, Workspace())
    assert read_manifest(Workspace().raw_manifest)["asset_sha256"].tolist() == first


def test_several_sources_are_collected_at_once(source: Path) -> None:
    """A file of a family's name, and a table that knows more of it."""
    sliding_triangle("hop").glb(source / "fish-000.glb")
    (source / "manifest.csv").write_text("file,kind,licence,author\nfish-000.glb,animal,CC0-1.0,Ana\n")
    settings = ProceduralSourceConfig(families=("fish",), clips_per_family=1)
    glb = GlbSourceConfig(str(source))
    config = CollectConfig(sources=("procedural", "glb"), watch="src", procedural=settings, glb=glb)
    metrics = collect.run(SimpleNamespace(**SHARED, collect=config), Workspace())  # type: ignore[arg-type]
    clips = read_manifest(Workspace().raw_manifest).set_index("source")
    assert clips["asset"].to_dict() == {"glb": "assets/fish-000/fish-000.glb", "procedural": "assets/fish-000.glb"}
    assert clips["kind"].to_dict() == {"glb": "animal", "procedural": "fish"}
    assert clips["licence"].to_dict() == {"glb": "CC0-1.0", "procedural": "Apache-2.0"}
    assert clips["author"].to_dict() == {"glb": "Ana", "procedural": "gvf"}
    assert clips["clip_id"].is_unique
    assert clips["skeleton"].is_unique
    assert (metrics["kinds"], metrics["assets_without_licence"]) == (2, 0)


def test_a_process_pool_finds_the_same(source: Path) -> None:
    for name in ("a", "b", "c"):
        sliding_triangle(name).glb(source / f"{name}.glb")
    params = _params(source)
    collect.run(params, Workspace())
    inline = read_manifest(Workspace().raw_manifest)
    params.execution = execution_section(executor="process")
    collect.run(params, Workspace())
    assert inline.equals(read_manifest(Workspace().raw_manifest))


def test_kaykit_has_380_clips(source: Path, shared: Path) -> None:
    for path in sorted((shared / "data" / "kaykit").glob("*.glb")):
        shutil.copyfile(path, source / path.name)
    metrics = collect.run(_params(source), Workspace())
    assert (metrics["clips"], metrics["unreadable"], metrics["assets"]) == (380, 0, 5)
    clips = read_manifest(Workspace().raw_manifest)
    poses = clips[clips["duration"] == 0.0]["animation"].unique()
    assert {"T-Pose", "Unarmed_Pose", "Lie_Pose"} <= set(poses)
