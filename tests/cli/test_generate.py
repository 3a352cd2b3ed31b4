"""`gvf animate` and `gvf generate` as commands: results, messages, exit codes, and nothing half after a failure."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from gvf.cli import main as cli
from gvf.cli.generate import _refinement
from gvf.config.load import load_params
from gvf.errors import UserError
from gvf.pipelines import asset_manifest as facts
from gvf.pipelines import hub
from gvf.pipelines.asset_manifest import read_manifest
from tests.data.gltf.gltf_files import GltfFile, cube_mesh
from tests.pipelines.small_generator import FAST, STATIC, small_generator

ROOT = Path(__file__).parents[2]
QUICK = ["--steps", "1", "--size", "64", "--azimuth", "0", "--elevation", "0", "--fov", "49.1", "--device", "cpu"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a generator, a model, and a video of three frames."""
    folder = tmp_path_factory.mktemp("inputs")
    small_generator(replace(STATIC, feature_channels=180)).save_pretrained(
        folder / "generator"
    )  # of EfficientNet-Lite0
    file = GltfFile()
    file.node(mesh=cube_mesh(file))
    file.glb(folder / "cube.glb")
    (folder / "video").mkdir()
    for index in range(3):
        frame = np.zeros((64, 64, 4), np.uint8)
        frame[20:44, 16 + 4 * index : 40 + 4 * index] = (200, 40, 90, 255)
        Image.fromarray(frame).save(folder / f"video/{index}.png")
    return folder


def arguments(inputs: Path, output: Path) -> list[str]:
    model = ["--model", str(inputs / "generator")]
    return ["animate", str(inputs / "cube.glb"), str(inputs / "video"), "-o", str(output), *model, *QUICK]


def command(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "gvf.cli", *words]


def test_scripts_get_the_manifest_and_events(inputs: Path, tmp_path: Path):
    done = CliRunner().invoke(cli._gvf, [*arguments(inputs, tmp_path / "asset"), "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result["output"] == str(tmp_path / "asset")
    assert result["num_frames"] == 3
    assert result["generator"]["licence"] == "unstated"
    assert len(result["generator"]["sha256"]) == 64
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {event["event"] for event in events} >= {"begin", "end"}
    assert {"align", "motion"} <= {event.get("step") for event in events}
    assert (tmp_path / "asset/index.html").is_file()


def test_people_are_told_what_the_refinement_changed(inputs: Path, tmp_path: Path):
    words = [*arguments(inputs, tmp_path / "asset"), "--refine", "2"]
    done = CliRunner().invoke(cli._gvf, words, catch_exceptions=False)
    assert done.exit_code == 0
    motion = read_manifest(tmp_path / "asset").motion
    (before,), (after,) = motion.candidates, motion.refinements
    assert before.chosen
    assert f"mask IoU {before.iou:.2f} -> {after.iou:.2f}, color error" in done.stdout
    assert f"color error {before.color_error:.3f} -> {after.color_error:.3f} (" in done.stdout


def test_the_fit_of_several_segments_is_their_mean():
    candidates = [
        facts.CandidateFacts(segment=0, seed=0, color_error=0.3, iou=0.5, chosen=False),
        facts.CandidateFacts(segment=0, seed=1, color_error=0.2, iou=0.6, chosen=True),
        facts.CandidateFacts(segment=1, seed=0, color_error=0.4, iou=0.8, chosen=True),
    ]
    refinements = [
        facts.RefinementFacts(segment=0, color_error=0.1, iou=0.8),
        facts.RefinementFacts(segment=1, color_error=0.2, iou=0.9),
    ]
    parts = {
        "seed": 0,
        "sampling": {},
        "segments": ((0, 5), (4, 9)),
        "network_calls": 4,
        "candidates": tuple(candidates),
    }
    assert "IoU 0.70 -> 0.85, color error 0.300 -> 0.150" in _refinement(
        facts.MotionFacts(**parts, refinements=tuple(refinements))
    )
    assert _refinement(facts.MotionFacts(**parts)) == ""


@pytest.mark.parametrize("name", ["animate", "generate"])
def test_the_help_lists_every_option_once_under_a_heading(name: str):
    done = CliRunner().invoke(cli._gvf, [name, "--help"], catch_exceptions=False)
    found = cli._gvf.get_command(click.Context(cli._gvf), name)
    assert found is not None
    for parameter in found.params:
        if isinstance(parameter, click.Option):
            assert len(re.findall(rf"^  (?:-\w, )?{parameter.opts[-1]}(?= |$)", done.stdout, re.MULTILINE)) == 1
    headings = ["Options:", "Video:", "Camera:", "Motion:", "Output:"]
    assert [line for line in done.stdout.splitlines() if line in headings] == headings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cube.glb": "missing.glb"}, r"missing\.glb: there is no such file or folder"),
        ({"video": "nothing.mp4"}, r"nothing\.mp4: there is no such file or folder"),
        ({"generator": "nowhere"}, "nowhere: no such folder"),
    ],
)
def test_what_is_missing_is_named(inputs: Path, tmp_path: Path, change: dict[str, str], message: str):
    words = arguments(inputs, tmp_path / "asset")
    for old, new in change.items():
        words = [str(inputs / new) if word == str(inputs / old) else word for word in words]
    with pytest.raises(UserError, match=message):
        CliRunner().invoke(cli._gvf, words, catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


def without_model(inputs: Path, output: Path) -> list[str]:
    return [word for word in arguments(inputs, output) if word not in ("--model", str(inputs / "generator"))]


def test_the_generator_that_comes_with_gvf_is_the_default(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    small_generator(replace(STATIC, feature_channels=180)).save_pretrained(tmp_path / "models/generator")
    shipped = tmp_path / "gvf-small"
    shutil.copytree(inputs / "generator", shipped)
    monkeypatch.setattr(hub, "shipped_generator", lambda: shipped)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli._gvf, without_model(inputs, tmp_path / "asset"), catch_exceptions=False)
    assert "by the generator gvf-small (A small generator)" in done.stdout
    assert "generator gvf-small: A small generator" in done.stderr
    assert read_manifest(tmp_path / "asset").generator.folder == "gvf-small"
    shutil.copy(ROOT / "params.yaml", tmp_path)
    words = [*without_model(inputs, tmp_path / "asset"), "--model", "models/generator", "--json"]
    done = CliRunner().invoke(cli._gvf, [w for w in words if w not in QUICK[:2]], catch_exceptions=False)
    result = json.loads(done.stdout)
    assert result["generator"]["folder"] == "generator", "the workspace's own, by the option"
    wanted = load_params(tmp_path / "params.yaml").sample
    assert (result["motion"]["sampling"]["solver"], result["motion"]["sampling"]["steps"]) == (
        wanted.solver,
        wanted.steps,
    )
    assert wanted.steps != FAST.steps, "so the test can tell them apart"


def test_without_it_a_generator_must_be_named(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "shipped_generator", lambda: None)
    with pytest.raises(UserError, match=r"comes with gvf is not here\. Name another with --model: .*models/generator"):
        CliRunner().invoke(cli._gvf, without_model(inputs, tmp_path / "asset"), catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing_half(inputs: Path, tmp_path: Path):
    words = [*arguments(inputs, tmp_path / "asset"), "--candidates", "64", "--steps", "1000", "--json"]
    process = subprocess.Popen(command(words), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if '"step": "motion"' in line:
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130, rest
    assert "Aborted." in rest
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_named_and_left_clean(inputs: Path, small_disk: Path):
    done = subprocess.run(
        command([*arguments(inputs, small_disk / "asset"), "--quiet"]), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "no space left on device" in done.stderr
    assert "Free some space" in done.stderr
    assert list(small_disk.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named_before_the_work(inputs: Path, tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        CliRunner().invoke(cli._gvf, arguments(inputs, tmp_path / "asset"), catch_exceptions=False)


def test_an_output_below_a_file_is_refused_before_the_work(inputs: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file"):
        CliRunner().invoke(cli._gvf, arguments(inputs, tmp_path / "file/asset"), catch_exceptions=False)
