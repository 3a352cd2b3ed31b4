"""Run a command so that nothing of it outlives whoever started this: `python guard.py COMMAND...`.

Standard input is the lifeline: when the other end closes it, by ending in any way (`kill -9` too), or when this process
is sent SIGTERM, every descendant gets SIGTERM and, `GRACE_SECONDS` later, SIGKILL. That includes descendants that left
the process group (launchers start sessions of their own): on Linux this process is their subreaper and inherits orphans.
Exits with the command's code, 128 + the signal's number when a signal ended it.
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
    """Run `command` to its end, or end it when nobody waits for it any more; returns the exit code."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, _stop)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_watch_lifeline, daemon=True).start()
    try:
        code = process.wait()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_descendants()
    return code if code >= 0 else 128 - code


def end_descendants() -> None:
    """SIGTERM, then SIGKILL, to everything below this process until nothing is left."""
    for number, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        deadline = time.monotonic() + patience
        asked: set[int] = set()
        while alive := _descendants():
            for process in alive:
                if process.pid not in asked:  # a process that appears late is asked too
                    asked.add(process.pid)
                    _send(process, number)
            psutil.wait_procs(alive, timeout=0.2)
            if time.monotonic() > deadline:  # looked at last, so that a stalled machine has signalled at least once
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
