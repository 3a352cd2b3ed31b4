"""The number of threads that a training computes with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def limited_threads(count: int | None, device: torch.device) -> Iterator[None]:
    """Compute with `count` threads in this block on CPU, unless it is None or OMP_NUM_THREADS is set.

    The compiled kernels (`gvf.compiled.kernels`) follow torch's number.
    """
    if count is None or device.type != "cpu" or os.environ.get("OMP_NUM_THREADS"):
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
