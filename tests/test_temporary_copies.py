"""Experiments in temporary copies of the checkout: their clips lie outside it, their runs go into its store."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
GRAPH = """
stages:
  collect:
    cmd: gvf collect
    params: [run, collect]
    deps: ["${collect.watch}"]
    outs: [data/raw]
    metrics: [{reports/metrics/collect.json: {cache: false}}]
"""
GLB = {"asset": {"version": "2.0"}}  # nothing moves, which costs this clip alone


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the real configuration, whose one stage is `collect`."""
    checkout = tmp_path / "gvf"
    shutil.copytree(ROOT / "conf", checkout / "conf", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", ".gitignore"):
        shutil.copy(ROOT / name, checkout)
    (checkout / "dvc.yaml").write_text(GRAPH)
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), str(ROOT / "evaluation")]))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for variable, value in (("NAME", "tests"), ("EMAIL", "tests@example.org")):
        monkeypatch.setenv(f"GIT_AUTHOR_{variable}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{variable}", value)
    monkeypatch.chdir(checkout)
    for command in ("git init -q .", "dvc init -q"):
        subprocess.run(command.split(), check=True)
    shutil.copy(ROOT / ".dvc/config", ".dvc/config")
    for command in ("git add -A", "git commit -qm base"):
        subprocess.run(command.split(), check=True)
    for folder in ("outside", "gvf/inside"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "statue.gltf").write_text(json.dumps(GLB))
    return checkout


def experiment(*options: str) -> None:
    command = ["dvc", "exp", "run", *options, "-S", "data=glb"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(900)
def test_a_copy_finds_the_clips_and_logs_into_the_checkout(checkout: Path) -> None:
    """`inside` lies in the checkout, but Git does not track it, so that a copy has it no more than one outside."""
    folder = "../outside"
    for source in (folder, "inside"):
        experiment("--dry", "-S", f"collect.glb.directory={source}")
    assert not (checkout / "mlflow.db").exists()
    experiment("--temp", "-S", f"collect.glb.directory={folder}")
    connection = sqlite3.connect(checkout / "mlflow.db")
    assert connection.execute(
        "select e.name, status from runs join experiments e using (experiment_id)"
    ).fetchall() == [("collect", "FINISHED")]
    parameters = dict(connection.execute("select key, value from params"))
    connection.close()
    assert parameters["collect.glb.directory"] == folder
    assert parameters["collect.watch"] == str((checkout / folder).resolve())
    experiment("-S", f"collect.glb.directory={folder}")  # in place; DVC takes the outputs of the copy from its cache
    found = subprocess.run(
        [sys.executable, "-m", "gvf.tracking.run_records", "collect"], capture_output=True, text=True, check=True
    )
    assert json.loads(found.stdout)["run"]["stage"] == "collect"


def test_a_folder_that_git_tracks_keeps_its_relative_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    from hydra_plugins.watched_path import watched_path

    assert watched_path("src/gvf") == "src/gvf"
    assert watched_path("../elsewhere") == str(ROOT.parent / "elsewhere")
    assert watched_path("/data/clips") == "/data/clips"
