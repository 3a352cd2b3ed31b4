"""Run a command and end all its processes when the process that started this one ends: `python guard.py COMMAND...`.

Standard input is the lifeline. When its other end closes, because that process ended in any way (even by `kill -9`), or
when this process receives SIGTERM, every descendant gets SIGTERM and, `GRACE_SECONDS` later, SIGKILL. That includes
descendants that left the process group, as launchers start sessions of their own: on Linux this process is their
subreaper and inherits orphans. The exit code is the command's, or 128 plus the number of the signal that ended it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

import psutil

GRACE_SECONDS = 10.0
KILL_SECONDS = 5.0
_PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    """Run a command until it ends, or end it when the lifeline closes; return the exit code."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, _stop)
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        threading.Thread(target=_watch_lifeline, daemon=True).start()
        code = process.wait()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_descendants()
    return code if code >= 0 else 128 - code


def end_descendants() -> None:
    """Send SIGTERM, then SIGKILL, to every descendant of this process until none is left."""
    for number, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        deadline = time.monotonic() + patience
        signalled: set[int] = set()
        while alive := _descendants():
            for process in alive:
                if process.pid not in signalled:  # processes that appear late get a signal too
                    signalled.add(process.pid)
                    _send(process, number)
            psutil.wait_procs(alive, timeout=0.2)
            if (
                time.monotonic() > deadline
            ):  # checked last, so that even on a stalled machine every process gets a signal
                break


def _descendants() -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive=True) if _is_alive(process)]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _watch_lifeline() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
