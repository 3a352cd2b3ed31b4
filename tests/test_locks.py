"""One process at a time runs a stage in a folder, and only where it can write its results."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gvf import locks
from gvf.errors import StageError, UserError
from gvf.locks import demand_writable, exclusive
from gvf.workspace import Workspace

HOLDER = """
import sys, time
from gvf.locks import exclusive
from gvf.workspace import Workspace
with exclusive(Workspace(), "train-dit"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def holder() -> subprocess.Popen[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_stage_that_runs_already_is_named(holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0.3)
    message = rf"train-dit is running in .* already \(process {holder.pid} on .*, since 2"
    with pytest.raises(StageError, match=message), exclusive(Workspace(), "train-dit"):
        pass
    with exclusive(Workspace(), "train-vae-static"):
        pass


def test_one_that_is_being_killed_is_waited_for(
    holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "_logger", KillOnWarning(holder))
    with exclusive(Workspace(), "train-dit"):
        pass
    assert holder.wait() == -9


class KillOnWarning:
    """In the place of the logger: kills the holder once somebody waits for it."""

    def __init__(self, holder: subprocess.Popen[str]) -> None:
        self.holder = holder

    def warning(self, message: str, *values: object) -> None:
        assert message.startswith("%s is running here already")
        self.holder.kill()


def test_a_file_system_without_locks_costs_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with exclusive(Workspace(), "collect"):
        pass
    assert "this file system has no locks" in caplog.text


def test_writable_paths_leave_no_trace(folder: Path) -> None:
    (folder / "models/dit").mkdir(parents=True)
    demand_writable([Path("models/dit"), Path("reports/curves/train-dit.csv"), Path("work/train_dit")])
    assert sorted(path.name for path in folder.rglob("*")) == ["dit", "models"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EROFS, "read-only file system. Make it writable"),
        (errno.ENOSPC, "no space left on device. Free some space"),
    ],
)
def test_a_folder_that_cannot_be_written_is_named(
    number: int, remedy: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write everywhere, so the system call is replaced by one that refuses."""
    (folder / "reports").mkdir()
    create = tempfile.NamedTemporaryFile

    def refuse(dir: Path, prefix: str) -> object:
        if Path(dir) == Path("reports"):
            raise OSError(number, os.strerror(number))
        return create(dir=dir, prefix=prefix)

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    demand_writable([Path("models/dit")])
    with pytest.raises(UserError, match=rf"^reports/curves/a\.csv cannot be written\. reports: {remedy}"):
        demand_writable([Path("models/dit"), Path("reports/curves/a.csv")])


def test_a_file_in_the_place_of_a_folder_is_named(folder: Path) -> None:
    (folder / "reports").write_text("not a folder")
    with pytest.raises(UserError, match=r"reports/metrics/collect\.json cannot be written\. reports"):
        demand_writable([Path("reports/metrics/collect.json")])
    (folder / "data").mkdir()
    (folder / "data/raw").write_text("not a folder")
    with pytest.raises(UserError, match=r"^data/raw is a file, where a folder will be written"):
        demand_writable([Path("data/raw")])


def test_a_linked_folder_is_checked_where_it_leads(folder: Path) -> None:
    (folder / "models").symlink_to("disk/models")  # nothing is there yet
    demand_writable([Path("models"), Path("models/dit")])
    (folder / "disk").write_text("not a folder")
    with pytest.raises(UserError, match=r"^models cannot be written"):
        demand_writable([Path("models")])
