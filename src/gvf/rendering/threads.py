"""Running compiled loops on several threads: plain Python threads over functions that hold no interpreter lock.

Numba's own threading layers either refuse forked processes (OpenMP) or abort when two Python threads use them
(workqueue), and neither knows torch's thread count. Here `torch.set_num_threads` governs, forks and data-loader
workers are safe, and work items are shared out by an atomic counter, so uneven items cost no idle time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba.core import event

_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_announced = False


def _forget_pool() -> None:
    global _pool, _pool_size
    _pool, _pool_size = None, 0  # its threads did not survive the fork


os.register_at_fork(after_in_child=_forget_pool)


def _helpers(count: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    if _pool is None or _pool_size < count:
        _pool, _pool_size = ThreadPoolExecutor(count, thread_name_prefix="gvf-raster"), count
    return _pool


class _CompileNotice(event.Listener):
    """Says once a process that compilation is why the first call takes long."""

    def on_start(self, event: Any) -> None:
        global _announced
        if not _announced:
            _announced = True
            print("gvf: compiling the CPU rasteriser (once a machine, under a minute)...", file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        pass


def run(kernel: Callable[..., None], num_items: int, *arguments: object) -> None:
    """Call `kernel(counter, *arguments)` on up to `torch.get_num_threads()` threads until all items are taken.

    kernel: a numba function compiled with `nogil=True` that draws items 0..num_items-1 with `take_next(counter)`.
    """
    counter = np.zeros(1, np.int64)
    if not kernel.signatures:  # type: ignore[attr-defined]  # compiled, or read from the cache, by one thread only
        with event.install_listener("numba:compile", _CompileNotice()):
            kernel(counter, *arguments)
        return
    helpers = min(torch.get_num_threads(), num_items) - 1
    if helpers < 1:
        kernel(counter, *arguments)
        return
    pool = _helpers(helpers)
    others = [pool.submit(kernel, counter, *arguments) for _ in range(helpers)]
    kernel(counter, *arguments)
    for other in others:
        other.result()
