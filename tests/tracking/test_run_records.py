"""The link from outputs to the MLflow run that made them, in a small DVC project."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from dvc.exceptions import ReproductionError
from dvc.repo import Repo

from gvf.storage.files import write_json
from gvf.tracking import run_records
from gvf.workspace import Workspace

GRAPH = """
stages:
  render:
    cmd: "{python} stage.py"
    params: [amount]
    deps: [stage.py]
    outs: [out]
    metrics: [{{metrics.json: {{cache: false}}}}]
"""
# A stage that writes the same metrics whatever it wrote, and whose run is called after the amount.
STAGE = """
import json, os, sys
from pathlib import Path
from gvf.tracking import run_records
from gvf.workspace import Workspace
amount = int(Path("params.yaml").read_text().split()[1])
run_records.started_path(Workspace(), "render").unlink(missing_ok=True)
Path("work/runs").mkdir(parents=True, exist_ok=True)
run_records.started_path(Workspace(), "render").write_text(json.dumps({"run_name": f"run-{amount}"}))
if os.environ.get("STOP"):
    sys.exit(1)
Path("out/sub").mkdir(parents=True)
Path("out/sub/file").write_bytes(bytes(amount))
Path("out/other").write_bytes(bytes(3))
Path("metrics.json").write_text("{}")
run_records.finish(Workspace(), "render")
"""


def repro(amount: int) -> None:
    Path("params.yaml").write_text(f"amount: {amount}\n")
    with Repo() as project:
        project.reproduce()


def found() -> str | None:
    record = run_records.find(Workspace(), "render")
    return record and record["run_name"]


def test_the_link_stays_with_the_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True).close()
    (tmp_path / "dvc.yaml").write_text(GRAPH.format(python=sys.executable))
    (tmp_path / "stage.py").write_text(STAGE)
    repro(10)
    assert found() == "run-10"
    first = (tmp_path / "dvc.lock").read_text()
    repro(20)
    assert found() == "run-20"

    monkeypatch.setenv("STOP", "1")  # a run that ends early, by Ctrl-C say
    with pytest.raises(ReproductionError):
        repro(30)
    assert json.loads(run_records.started_path(Workspace(), "render").read_text())["run_name"] == "run-30"
    assert found() == "run-20"

    (tmp_path / "dvc.lock").write_text(first)  # back to the first outputs, as by git checkout
    with Repo() as project:
        project.checkout()
    assert (tmp_path / "out/sub/file").stat().st_size == 10
    assert found() == "run-10"
    repro(10)  # up to date: nothing runs
    assert found() == "run-10"


def test_outputs_of_an_untracked_run_have_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_json(run_records.started_path(Workspace(), "render"), {"run_name": "first"})
    run_records.finish(Workspace(), "render")
    assert found() == "first"
    run_records.finish(Workspace(), "render")  # the next run had no store
    assert found() is None


def test_images_are_those_of_the_run_that_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {render: {outs: [out.txt]}}")
    lock = "stages: {render: {outs: [{path: out.txt, md5: %s, size: 1}]}}"
    for name, md5 in (("a", "0cc175b9c0f1b6a831c399e269772661"), ("b", "92eb5ffee6ae2fec3ad71c777531578f")):
        (tmp_path / "out.txt").write_text(name)
        (tmp_path / "dvc.lock").write_text(lock % md5)
        write_json(run_records.started_path(Workspace(), "render"), {"run_name": name})
        run_records.finish(Workspace(), "render")
        assert found() == name
    image = Path("work/runs/render/knight.png")
    image.parent.mkdir(parents=True)
    image.touch()
    assert run_records.find_with_images(Workspace(), "render") == ({"run_name": "b"}, [image])
    (tmp_path / "dvc.lock").write_text(lock % "0cc175b9c0f1b6a831c399e269772661")
    assert run_records.find_with_images(Workspace(), "render") == ({"run_name": "a"}, [])
