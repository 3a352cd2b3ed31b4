"""The number of threads that a stage computes with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gvf.devices import resolve_device


@contextmanager
def limited_threads(count: int | None, device: str) -> Iterator[None]:
    """Let torch compute with `count` threads in this block, where it has been imported and computes on the CPU.

    The number stays as it is where `count` is None or OMP_NUM_THREADS is set. The compiled kernels (`gvf.compiled.kernels`)
    follow torch's number. device: as in `run.device`.
    """
    torch = sys.modules.get("torch")
    if count is None or torch is None or os.environ.get("OMP_NUM_THREADS") or resolve_device(device).type != "cpu":
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
