"""How long a piece of work takes and how much memory its processes have at most."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

_SECONDS = 2.0  # between two looks at the memory; one takes about 20 ms per gigabyte, most of it in the kernel


@dataclass
class Usage:
    """seconds: of wall-clock time. peak_memory_bytes: of this process and its descendants together."""

    seconds: float = 0.0
    peak_memory_bytes: int = 0


@contextmanager
def measured() -> Iterator[Usage]:
    """Measure what happens in this block, and fill the yielded usage when it ends.

    Memory that was needed for less than `_SECONDS` may be missed.
    """
    usage = Usage()
    ended = threading.Event()

    def watch() -> None:
        while True:
            usage.peak_memory_bytes = max(usage.peak_memory_bytes, memory_bytes())
            if ended.wait(_SECONDS):
                return

    watcher = threading.Thread(target=watch, name="usage", daemon=True)
    began = time.monotonic()
    watcher.start()
    try:
        yield usage
    finally:
        ended.set()
        watcher.join()
        usage.seconds = time.monotonic() - began


def memory_bytes() -> int:
    """Return the memory of this process and its descendants; pages that several of them share count once, on Linux."""
    process = psutil.Process()
    return sum(map(_resident_bytes, [process, *process.children(recursive=True)]))


def _resident_bytes(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
        return int(getattr(memory, "pss", memory.rss))
    except psutil.Error:  # it has just ended
        return 0
