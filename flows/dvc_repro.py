"""One stage brought up to date by `dvc repro`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from flows import processes

ROOT_FILE = "dvc.yaml"
UNCHANGED = "Stage '{}' didn't change"
# What DVC prints when another DVC process holds files of the stage, the only failure for which a retry helps.
BUSY = ("Unable to acquire lock", "is busy, it is being blocked by")

# Beginnings of the hints that DVC prints after every stage.
HINTS = ("To track the changes with git", "\tgit add", "To enable auto staging", "\tdvc config", "Use `dvc push`")


class StageFailed(RuntimeError):
    """`dvc repro` ended with an error; the message has its exit code and its last lines."""


class WorkspaceBusy(RuntimeError):
    """Another DVC process holds files of the stage."""


def repro(target: str, show: Callable[[str], None]) -> bool:
    """Bring a stage up to date whose upstream stages are, and return whether DVC had anything to run.

    DVC holds the lock of the repository while it reads and writes dvc.lock, but not while the stage's command runs.
    This call waits for it, so stages that do not depend on each other can run at the same time.
    show: called with every line of the output but DVC's hints; work/logs has all. Raises WorkspaceBusy or StageFailed.
    """
    unchanged = UNCHANGED.format(target)
    seen: set[str] = set()
    log = processes.ROOT / "work/logs" / f"{slug(target)}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8", buffering=1) as file:

        def note(line: str) -> None:
            if not line.startswith(HINTS):
                show(line)
            file.write(f"{line}\n")
            seen.update(phrase for phrase in (*BUSY, unchanged) if phrase in line)

        try:
            processes.run(["dvc", "--wait-for-lock", "repro", "--single-item", target], note)
        except processes.CommandFailed as error:
            raise (StageFailed if seen.isdisjoint(BUSY) else WorkspaceBusy)(str(error)) from None
    return unchanged not in seen


def slug(target: str) -> str:
    """Return a target's name in file names and keys: `ablations-vae-a-0` for `ablations/dvc.yaml:vae@A-0`."""
    file, _, stage = target.rpartition(":")
    name = f"{Path(file).parent}-{stage}" if file else stage
    return re.sub(r"[^a-z0-9]+", "-", name.lower())
