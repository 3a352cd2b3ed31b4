"""`gvf demo`: assets from nothing, in a folder of their own."""

from __future__ import annotations

import re
import webbrowser
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gvf.cli import demo
from gvf.errors import StageError, UserError
from gvf.pipelines import demo as library
from gvf.pipelines import hub
from gvf.pipelines.asset_manifest import read_manifest
from gvf.pipelines.demo import DemoOptions
from gvf.procedural.assets import build_asset
from gvf.progress import Progress
from tests.pipelines.small_generator import STATIC, small_generator
from tests.pipelines.test_own_image_networks import write_own


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generator") / "generator"
    small_generator(replace(STATIC, feature_channels=180)).save_pretrained(folder)  # of EfficientNet-Lite0
    return folder


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator with networks from an image."""
    folder = tmp_path_factory.mktemp("complete") / "generator"
    write_own(folder)
    return folder


def run(*words: str) -> str:
    return CliRunner().invoke(demo.command, list(words), catch_exceptions=False, standalone_mode=False).output


def test_a_demo_needs_nothing_but_a_generator(complete: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(hub, "shipped_generator", lambda: complete)
    monkeypatch.setattr(library, "DemoOptions", partial(DemoOptions, frames=3, size=64))
    monkeypatch.chdir(tmp_path)
    output = run("--browser")
    assert re.search(
        r"work/demo/index.html: 3 frames of [\d,]+ Gaussians with the model and [\d,]+ from the video", output
    )
    assert "`gvf view work/demo`" in output
    assert opened == [(tmp_path / "work/demo/index.html").as_uri()]
    assert (tmp_path / "work/demo/object.glb").read_bytes() == build_asset("biped", 3, 2026)
    manifest = read_manifest(tmp_path / "work/demo/asset")
    assert (manifest.canonical.file, manifest.canonical.clip) == ("object.glb", "dance")
    assert manifest.video.name == "video.mp4"
    alone = read_manifest(tmp_path / "work/demo/video_only")
    assert (alone.canonical.origin, alone.video.name) == ("image", "video.mp4")
    text = (tmp_path / "work/demo/index.html").read_text()
    assert re.findall(r'<iframe src="([^"]*)"', text) == ["asset/index.html", "video_only/index.html"]
    assert "<code>gvf animate object.glb video.mp4 --clip dance -o asset</code>" in text
    assert "<code>gvf generate video.mp4 -o video_only</code>" in text


def test_without_networks_from_an_image_the_page_says_so(
    generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "DemoOptions", partial(DemoOptions, frames=3, size=64))
    for name in ("object.glb", "index.html", "video_only/manifest.json"):  # of an earlier demo
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    output = run("--model", str(generator), "-o", str(tmp_path), "--no-browser")
    assert "Gaussians with the model. Open" in output
    assert not (tmp_path / "video_only").exists()
    text = (tmp_path / "index.html").read_text()
    assert re.findall(r'<iframe src="([^"]*)"', text) == ["asset/index.html"]
    assert "The generator has no networks from an image (folder image_to_3d)" in text
    assert f"gvf animate object.glb video.mp4 --clip dance --model {generator} -o asset" in text
    assert "gvf generate" not in text


def test_a_video_alone_that_fails_costs_the_second_way_only(complete: Path, tmp_path: Path) -> None:
    class Failing:
        folder = complete

        def __call__(self, *values: object, **more: object) -> None:
            raise StageError("no voxel is active.")

    generator: Any = Failing()
    assert library._of_video(generator, tmp_path, 64, Progress()) == (None, "It failed: no voxel is active.")


def test_object_and_motion_are_not_those_of_the_training_data() -> None:
    shown = DemoOptions()
    assert shown.seed != 0, "which the presets train on"
    assert build_asset(shown.family, shown.index, shown.seed) not in [
        build_asset(shown.family, index, 0) for index in range(20)
    ]


def test_what_cannot_be_done_is_said_before_the_work(generator: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(UserError, match=r"holds something other than a demo \(mine\.txt\)"):
        run("--model", str(generator), "-o", str(tmp_path))
    with pytest.raises(UserError, match=r"no procedural family 'bipet'\. Did you mean 'biped'"):
        run("--model", str(generator), "-o", str(tmp_path / "out"), "--family", "bipet")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "10.0.0.1 22 10.0.0.2 22"}, False),
    ],
)
def test_a_browser_is_opened_where_there_is_a_display(
    variables: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert demo.has_display() is expected
