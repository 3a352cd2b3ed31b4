"""Every way in which a command ends is one message and an exit code."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gvf import stage_runner
from gvf.cli import main as cli
from gvf.errors import UserError, advice, system_error
from tests import command_under_test
from tests.test_lifetime import workspace

__all__ = ["workspace"]  # the fixture


def run(workspace: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, command_under_test.__file__, *arguments],
        cwd=workspace,
        env=os.environ | {"PYTHONPATH": paths} | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("finishes", 0, ""),
        ("is_interrupted", 130, "Aborted."),
        (
            "fills_the_disk",
            1,
            "Error: data/raw/clip.glb: no space left on device. Free some space, then run the command again.",
        ),
        ("fails", 1, "Error: KeyError: 'a bug'. Its traceback is in work/collect-error.log; please report it "),
    ],
)
def test_a_command_ends_in_one_message_and_a_code(kind: str, code: int, message: str, workspace: Path) -> None:
    done = run(workspace, kind, "collect")
    assert done.returncode == code
    assert done.stderr.strip().startswith(message)
    assert len(done.stderr.strip().splitlines()) == (1 if message else 0)
    assert done.stdout == ""
    log = workspace / "work/collect-error.log"
    assert ("in fails" in log.read_text()) if kind == "fails" else not log.exists()


@pytest.mark.parametrize("arguments", [("--local_rank=1", "collect"), ("collect", "--local-rank", "1")])
def test_the_rank_that_a_launcher_passes_is_taken(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DeepSpeed's launcher puts it first, `torch.distributed.launch` as well; the variable, where set, has its say."""
    seen = []
    monkeypatch.setattr(stage_runner, "run_stage", lambda *_: seen.append(os.environ["LOCAL_RANK"]))
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    cli._gvf.main(list(arguments), standalone_mode=False)
    monkeypatch.setenv("LOCAL_RANK", "3")
    cli._gvf.main(list(arguments), standalone_mode=False)
    assert seen == ["1", "3"]
    assert "local" not in cli._gvf.get_help(cli._gvf.make_context("gvf", [], resilient_parsing=True))


def test_a_stage_that_does_not_train_refuses_several_processes(workspace: Path) -> None:
    for rank in "01":
        done = run(workspace, "finishes", "collect", WORLD_SIZE="2", RANK=rank)
        assert done.returncode == 2
        assert "collect runs in one process" in done.stderr


def test_the_number_of_a_failure_is_found_in_what_libraries_raise() -> None:
    cases = {
        errno.ENOSPC: RuntimeError("I/O error: No space left on device (os error 28)"),
        errno.EROFS: OSError(errno.EROFS, "Read-only file system", "reports/metrics"),
        errno.EDQUOT: OSError("[Errno 122] Error writing bytes. Detail: [errno 122] Disk quota exceeded"),
    }
    for number, error in cases.items():
        failure = system_error(error)
        assert failure is not None
        assert failure.errno == number
        wrapped = ValueError("cannot write")
        wrapped.__cause__ = error
        assert system_error(wrapped) is not None
    failure = system_error(cases[errno.EROFS])
    assert failure is not None
    assert advice(failure).startswith("reports/metrics: read-only file system. ")
    assert system_error(KeyError("28")) is None
    assert system_error(FileNotFoundError(errno.ENOENT, "No such file", "a")) is None


def test_without_a_place_for_the_traceback_it_is_part_of_the_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "absent"))
    assert cli._report(TypeError("a bug")) == 1
    assert "Please report it with this traceback:\nTypeError: a bug" in capsys.readouterr().err
    assert cli._report(UserError("a.glb: broken.")) == 2
    assert capsys.readouterr().err == "Error: a.glb: broken.\n"
