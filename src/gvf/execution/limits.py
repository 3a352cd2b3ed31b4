"""Limits of a worker: memory and threads."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def limit_memory(gigabytes: float) -> None:
    """Limit this process's private memory to `gigabytes` (1e9 bytes) beyond its current use, by RLIMIT_DATA.

    Address space that is only reserved, as torch, numba and CUDA do, does not count; with RLIMIT_AS it would.
    """
    status = Path("/proc/self/status").read_text()
    present = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData:"))
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = present + int(gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


@contextmanager
def single_threaded() -> Iterator[None]:
    """Make processes started in this block use one thread each, since together they use all cores."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
