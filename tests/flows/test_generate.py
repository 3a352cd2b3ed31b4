"""Flow `generate` over a fake `gvf` on the path: its command, artifacts, and what is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prefect.artifacts import Artifact
from prefect.testing.utilities import prefect_test_harness
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from flows import dvc_stage
from flows.generate import Generation, GenerationFailed, generate
from tests.pipelines.cube_asset import sliding_cube, write_asset

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def prefect_server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=240):
        yield


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that replaces the repository, where runs are not tracked, with a finished asset to copy."""
    monkeypatch.setattr(dvc_stage, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["tracking"]["enabled"] = False
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    write_asset(tmp_path / "made", sliding_cube(tmp_path / "cube.glb"))
    return tmp_path


def fake_gvf(folder: Path, body: str) -> None:
    """Write a `gvf` that records its arguments, one per line, and then runs `body`."""
    script = folder / "gvf"
    script.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > arguments\n{body}\n')
    script.chmod(0o755)


def test_the_flow_animates_and_shows_page_frames_and_timings(workspace: Path) -> None:
    fake_gvf(workspace, 'echo "align 1.0 s"; mkdir -p work/assets; cp -r made work/assets/slide-1')
    generate(Generation(video="clips/slide (1).mp4", object_file="cube.glb", clip="slide", seed=3, fov=40.0))
    assert (workspace / "arguments").read_text().splitlines() == [
        "animate",
        f"--output={workspace}/work/assets/slide-1",
        "--clip=slide",
        "--seed=3",
        "--candidates=1",
        "--fov=40.0",
        "--device=auto",
        "--size=512",
        "--",
        "cube.glb",
        "clips/slide (1).mp4",
    ]
    page = Artifact.get("asset-slide-1-page")
    assert page is not None
    assert f"file://{workspace}/work/assets/slide-1/index.html" in str(page.data)
    shown = Artifact.get("asset-slide-1")
    assert shown is not None
    text = str(shown.data)
    assert "![frames](data:image/png;base64,iVBOR" in text
    assert "| frames | 3 |" in text
    assert "| seconds, align | 1.5 |" in text
    assert "MLflow run" not in text


def test_an_asset_that_cannot_be_read_is_shown_without_frames(workspace: Path) -> None:
    shutil.rmtree(workspace / "work", ignore_errors=True)
    (workspace / "made/asset.glb").write_bytes(b"glTF")
    fake_gvf(workspace, "cp -r made other")
    generate(Generation(video="walk", output="other", generator="someone/generator"))
    assert (workspace / "arguments").read_text().splitlines()[:3] == [
        "generate",
        f"--output={workspace}/other",
        "--model=someone/generator",
    ]
    shown = Artifact.get("asset-other")
    assert shown is not None
    assert "![frames]" not in str(shown.data)
    assert "| frames | 3 |" in str(shown.data)


def test_a_failed_command_fails_the_flow_with_its_last_lines(workspace: Path) -> None:
    fake_gvf(workspace, 'echo "Error: walk.mp4: there is no such file or folder."; exit 2')
    with pytest.raises(GenerationFailed, match=r"(?s)exited with 2.*walk.mp4: there is no such file"):
        generate(Generation(video="walk.mp4"))


def test_the_form_shows_every_field_and_wrong_values_are_refused() -> None:
    fields = parameter_schema(generate).model_dump_for_openapi()["definitions"]["Generation"]["properties"]
    assert all(field["description"] for field in fields.values())
    for wrong in (
        {"video": ""},
        {"video": "a.mp4", "candidates": 0},
        {"video": "a.mp4", "clip": "walk"},
        {"video": "a", "x": 1},
    ):
        with pytest.raises(ValidationError):
            Generation.model_validate(wrong)
    assert Generation(video="../..").folder == dvc_stage.ROOT / "work/assets/asset"
