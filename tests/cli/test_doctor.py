"""Command doctor."""

from __future__ import annotations

import json
import socket
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gvf.cli import diagnosis
from gvf.cli.doctor import command
from gvf.pipelines import hub
from gvf.storage.published_files import DIT
from tests.pipelines.small_generator import small_generator


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, without any weights and without a network."""
    for name in ("GVF_WEIGHTS", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "shipped_generator", lambda: None)

    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def _findings(result: Result) -> dict[str, dict[str, str]]:
    return {finding["name"]: finding for finding in json.loads(result.output)["findings"]}


def test_this_machine_works_and_absent_things_have_advice(nowhere: Path) -> None:
    result = _run("--json")
    assert result.exit_code == 0
    assert json.loads(result.output)["works"] is True
    found = _findings(result)
    assert found["torch"]["detail"] == metadata.version("torch")
    assert found["cpu rasteriser"]["state"] == "ok"
    assert found["generator"]["state"] == "absent"
    assert found["generator"]["detail"] == "gvf-small, which comes with gvf, is not here"
    assert found["generator"]["advice"].startswith("Copy pretrained/gvf-small of the repository into this checkout")
    assert found["dit"]["advice"] == "`gvf weights pull dit` fetches it."
    assert found["matting network"]["state"] == "ok" or "--matting-model" in found["matting network"]["advice"]
    assert found["checkout"]["state"] == "absent"
    assert {finding["section"] for finding in found.values()} == set(diagnosis.CHECKS)
    shown = _run()
    assert shown.exit_code == 0
    assert "Everything that is required works." in shown.output


def test_generators_weights_and_outputs_are_found(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_generator().save_pretrained(nowhere / "pretrained/gvf-small")
    monkeypatch.setattr(hub, "shipped_generator", lambda: nowhere / "pretrained/gvf-small")
    small_generator().save_pretrained(nowhere / "models/generator")
    place = nowhere / "nothing" / DIT.places[0]
    place.parent.mkdir(parents=True)
    place.touch()
    for name in ("params.yaml", "dvc.yaml"):
        (nowhere / name).touch()
    found = {finding.name: finding for check in (diagnosis.weights, diagnosis.data) for finding in check()}
    assert found["generator models/generator"].detail == "A small generator"
    assert found[f"generator {nowhere / 'pretrained/gvf-small'}"].detail == "A small generator"
    assert "generator" not in found
    assert found["dit"].state == "ok"
    assert found["outputs"].detail == "written by train-dit"
    assert found["missing outputs"].detail.startswith("collect, curate")
    (nowhere / "models/generator/generator.json").write_text("{")
    damaged = {finding.name: finding for finding in diagnosis.weights()}["generator models/generator"]
    assert damaged.state == "absent"
    assert damaged.detail.startswith("damaged: ")


def test_a_missing_or_old_package_is_a_problem(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    required = [
        "numpy>=99",
        "no-such-package>=1",
        "not-here; python_version < '3'",
        "nor-here; extra == 'usd'",
        "click",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: required)
    result = _run("--json")
    assert result.exit_code == 1
    problems = {name: one["detail"] for name, one in _findings(result).items() if one["state"] == "problem"}
    assert problems == {
        "numpy": f"{metadata.version('numpy')}, but gvf needs >=99",
        "no-such-package": "is not installed",
    }
    assert "2 problems: numpy, no-such-package." in _run().output


def test_a_check_that_fails_is_a_problem_and_the_others_go_on(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> list[diagnosis.Finding]:
        raise RuntimeError("driver\nmissing")

    monkeypatch.setattr(diagnosis, "CHECKS", {"devices": fails, "disk": diagnosis.disk})
    first, *others = diagnosis.diagnose()
    assert (first.state, first.detail) == ("problem", "RuntimeError: driver missing")
    assert [finding.name for finding in others] == ["this folder", "temporary files", "weights"]


def test_scarce_and_read_only_disks_are_told(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = diagnosis.shutil.disk_usage(nowhere)._replace(free=50 << 20)
    monkeypatch.setattr(diagnosis.shutil, "disk_usage", lambda path: usage)
    states = {finding.name: (finding.state, finding.advice) for finding in diagnosis.disk()}
    assert states["this folder"] == ("absent", "Free some space.")
    assert states["temporary files"] == ("problem", "Free some space.")
    monkeypatch.setattr(diagnosis.os, "access", lambda path, mode: False)
    assert "read-only" in next(diagnosis.disk()).detail
