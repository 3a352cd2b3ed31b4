"""End a command with all its child processes on SIGTERM, Ctrl-C or the end of the DVC process that started it.

When SIGTERM or SIGKILL ends DVC, the command it runs is not signalled. A command started by DVC (`DVC_STAGE` is set)
therefore watches the DVC process and terminates when it is gone. A command started by hand does not: `nohup gvf ... &`
outlives its shell.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import psutil

TERMINATED = 128 + signal.SIGTERM
INTERRUPTED = 128 + signal.SIGINT
# Time to write a checkpoint and end the tracked run; less than the 10 s that `docker stop` and flows/guard.py allow.
GRACE_SECONDS = 8.0
_POLL_SECONDS = 0.5
# These processes end by themselves after this one and clean up: the run's status, shared memory.
_LEFT_ALONE = ("gvf.tracking.writer", "multiprocessing.resource_tracker")

_received: int | None = None


def begin() -> None:
    """Install the handlers of this process; called once, in the main thread, before anything else.

    SIGTERM raises SystemExit(143) in the main thread. Where that does not end the process within `GRACE_SECONDS`, for
    example in a collective whose other ranks are gone, the process and its descendants are killed.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # The interpreter writes signal numbers here even while the main thread is inside a library.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # background jobs ignore SIGINT
        signal.signal(signal.SIGINT, _interrupt)
    os.register_at_fork(after_in_child=_forget)
    threading.Thread(target=_watch, args=(reader, _starter()), name="lifetime", daemon=True).start()


def exit_code() -> int | None:
    """Return 143 after SIGTERM, 130 after Ctrl-C, and None if neither was received."""
    return None if _received is None else 128 + _received


@contextmanager
def deferred_termination() -> Iterator[Callable[[], bool]]:
    """Defer SIGTERM to the end of the block; the yielded function returns whether it was received.

    Raises SystemExit(143) at the end of the block if it was. Outside the main thread nothing is deferred.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    arrived = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        global _received
        _received = number
        arrived.set()

    previous = signal.signal(signal.SIGTERM, note)
    try:
        yield arrived.is_set
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if previous is None else previous)
    if arrived.is_set():
        raise SystemExit(TERMINATED)


def end_now(code: int) -> NoReturn:
    """End this process and its descendants without the interpreter's own clean-up, which may take seconds or block."""
    _end_descendants()
    os._exit(code)


def _end_descendants() -> None:
    """Kill every descendant except those that clean up; used when a signal has ended the command."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        try:
            command = " ".join(process.cmdline())
            if not any(name in command for name in _LEFT_ALONE):
                process.kill()
        except psutil.Error:
            pass  # the process has just ended


def _terminate(number: int, frame: FrameType | None) -> None:
    global _received
    if _received == signal.SIGTERM:
        return  # the clean-up after the first signal continues
    _received = number
    raise SystemExit(TERMINATED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _received
    _received = _received or number
    raise KeyboardInterrupt


def _forget() -> None:
    """Detach a forked child, so that signals sent to it do not reach the parent's watch."""
    signal.set_wakeup_fd(-1)
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _watch(reader: int, starter: psutil.Process | None) -> None:
    """Wait for SIGTERM or for the end of `starter`, then make sure that this process ends."""
    deadline: float | None = None
    while True:
        if deadline is not None:
            timeout: float | None = max(deadline - time.monotonic(), 0.0)
        else:
            timeout = None if starter is None else _POLL_SECONDS
        ready, _, _ = select.select([reader], [], [], timeout)
        if ready:
            if signal.SIGTERM in os.read(reader, 64) and deadline is None:
                deadline = time.monotonic() + GRACE_SECONDS
        elif deadline is not None:
            end_now(TERMINATED)
        elif starter is not None and not _is_alive(starter):
            starter = None
            os.kill(os.getpid(), signal.SIGTERM)


def _starter() -> psutil.Process | None:
    """Return the DVC process that runs this command, or None for a command started by hand.

    DVC sets `DVC_STAGE` for the shell, the launcher and this process; the nearest ancestor without it is DVC.
    """
    stage = os.environ.get("DVC_STAGE")
    if stage is None:
        return None
    import psutil

    for process in psutil.Process().parents():
        try:
            if process.environ().get("DVC_STAGE") != stage:
                return process
        except psutil.Error:
            return process  # another user's process, or one that has just ended
    return None


def _is_alive(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
