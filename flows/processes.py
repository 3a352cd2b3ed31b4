"""Commands of a run: each under `guard.py`, its output line by line, and the end of all of them together."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
PROGRESS_SECONDS = 10.0  # a progress bar redraws many times per second; the log shows it at this interval
TAIL_LINES = 20

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_lock = threading.Lock()
_running: set[subprocess.Popen[bytes]] = set()
_ending = False


class Interrupted(RuntimeError):
    """The run is ending, so no command is started any more."""


class CommandFailed(RuntimeError):
    """A command ended with an error; the message has its exit code and its last lines."""

    def __init__(self, command: list[str], code: int, tail: list[str]) -> None:
        super().__init__(f"`{' '.join(command)}` exited with {code}. Its last lines:\n" + "\n".join(tail))


def run(command: list[str], show: Callable[[str], None]) -> None:
    """Run a command in the checkout until it ends and call `show` with every line of its output. Raises CommandFailed.

    When this process ends, in any way, so does every process of the command.
    """
    tail: list[str] = []
    with _guarded(command) as guard:
        for line in log_lines(guard.stdout):
            show(line)
            tail = [*tail[1 - TAIL_LINES :], line]
        code = guard.wait()
    if code != 0:
        raise CommandFailed(command, code, tail)


@contextmanager
def ended_together() -> Iterator[None]:
    """End the commands of all threads when the block raises, and start none from then on."""
    global _ending
    _ending = False
    try:
        yield
    except BaseException:
        with _lock:
            _ending = True
            for guard in _running:
                with suppress(ProcessLookupError):
                    guard.terminate()
        raise


def environment() -> dict[str, str]:
    """Return the environment of commands. A worker started as .venv/bin/prefect has no .venv/bin on its path, where dvc is."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PATH": path}


@contextmanager
def _guarded(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command under `guard.py`, which ends it when the block ends or this process does. Raises Interrupted."""
    with _lock:
        if _ending:
            raise Interrupted("The run is ending.")
        guard = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("guard.py")), *command],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _running.add(guard)
    try:
        with guard:
            yield guard
    finally:
        with _lock:
            _running.discard(guard)


def log_lines(stream: IO[bytes] | None) -> Iterator[str]:
    """Yield the lines of a process's output as they come, without colour codes and empty lines.

    Of what a progress bar overwrites (lines that end in a carriage return), one line per `PROGRESS_SECONDS` is kept.
    """
    assert stream is not None
    shown = -PROGRESS_SECONDS
    for raw in io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline=""):
        text = _ANSI.sub("", raw).rstrip()
        if not text:
            continue
        if raw.endswith("\r"):
            if time.monotonic() - shown < PROGRESS_SECONDS:
                continue
            shown = time.monotonic()
        yield text
