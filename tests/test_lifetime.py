"""A command ends on signals with all its child processes, and with the DVC process that started it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests import command_under_test

COMMAND = command_under_test.__file__
PYTHON = [sys.executable, COMMAND]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder with parameters, where stages run untracked."""
    root = Path(COMMAND).resolve().parents[1]
    text = (root / "params.yaml").read_text()
    assert "tracking:\n  enabled: true\n" in text
    (tmp_path / "params.yaml").write_text(text.replace("tracking:\n  enabled: true\n", "tracking:\n  enabled: false\n"))
    return tmp_path


def start(workspace: Path, command: list[str], **environment: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        command,
        cwd=workspace,
        env=os.environ | {"PYTHONPATH": paths} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def processes_when_ready(workspace: Path, started: subprocess.Popen[str]) -> list[psutil.Process]:
    """The stage's own processes once it is inside the stage."""
    ready = workspace / "ready"
    deadline = time.monotonic() + 120
    while not ready.exists():
        assert started.poll() is None, started.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    processes = [psutil.Process(int(number)) for number in ready.read_text().split()]
    ready.unlink()
    return processes


def assert_all_end(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "Terminated."), (signal.SIGINT, 130, "Aborted.")]
)
def test_a_signal_ends_the_command_and_everything_below_it(number: int, code: int, word: str, workspace: Path) -> None:
    started = start(workspace, [*PYTHON, "waits", "collect"])
    processes = processes_when_ready(workspace, started)
    started.send_signal(number)
    assert started.communicate(timeout=60)[0].split() == [word]
    assert started.returncode == code
    assert_all_end(processes)


def test_a_command_that_hangs_in_a_library_is_killed_after_a_while(workspace: Path) -> None:
    started = start(workspace, [*PYTHON, "hangs", "collect"])
    processes_when_ready(workspace, started)
    started.terminate()
    assert started.wait(30) == 143


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stage_ends_with_its_dvc(number: int, workspace: Path) -> None:
    """A shell stays in between, as dash does; bash replaces itself by the command."""
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "-q"], cwd=workspace, check=True)
    stage = f"stages:\n  collect:\n    cmd: {' '.join(PYTHON)} waits collect; exit $?\n"
    (workspace / "dvc.yaml").write_text(stage)
    started = start(workspace, [*dvc, "repro"], SHELL=shutil.which("sh") or "/bin/sh")
    processes = processes_when_ready(workspace, started)
    started.send_signal(number)
    assert_all_end(processes)
    started.wait(30)


def test_a_stage_started_by_hand_outlives_its_shell(workspace: Path) -> None:
    """A shell in the place of DVC is killed: with `DVC_STAGE` the stage ends too, without it the stage goes on."""
    for variable, ends in (("NOBODY", False), ("DVC_STAGE", True)):
        started = start(workspace, ["bash", "-c", f"{variable}=collect {' '.join(PYTHON)} waits collect & wait"])
        processes = processes_when_ready(workspace, started)
        started.kill()
        started.wait(30)
        if not ends:
            time.sleep(1.5)
            assert processes[0].is_running()
            processes[0].terminate()
        assert_all_end(processes)
