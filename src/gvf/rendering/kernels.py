"""How the loops of the CPU rasterisers are compiled, cached and run on several threads.

Threads are plain Python threads over functions that hold no interpreter lock. Numba's own threading layers either
refuse forked processes (OpenMP) or abort when two Python threads use them (workqueue), and neither knows torch's
thread count. Here `torch.set_num_threads` governs, or what torch would take where it is not loaded; forks and
data-loader workers are safe, and work items are shared out by an atomic counter, so uneven items cost no idle time.
"""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numba.core import event

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
_SOURCES = ("simd.py", "cpu_projection.py", "cpu_tiles.py", "texture.py", "mesh_shading.py", "mesh_raster.py")

helper = njit(forceinline=True, **_OPTIONS)  # a function that kernels call; compiled into them


def _source_stamp() -> str:
    digest = hashlib.sha256()
    for name in _SOURCES:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()


_STAMP = _source_stamp()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile on first call and keep the machine code on disk: in `__pycache__` beside the source, or, if that is
    read-only, in numba's folder under the user's cache directory, or in NUMBA_CACHE_DIR where that is set.

    Numba notices changes in the function's own file only; here a change in any of the kernels' files counts.
    """
    dispatcher = njit(**_OPTIONS)(function)
    try:
        dispatcher.enable_caching()
        if not hasattr(dispatcher._cache._cache_file, "_source_stamp"):
            raise RuntimeError("this numba keeps its cache in another way")
        dispatcher._cache._cache_file._source_stamp = _STAMP
    except (AttributeError, RuntimeError) as error:
        warnings.warn(
            f"The CPU rasteriser will be recompiled in every process ({error}); "
            "set NUMBA_CACHE_DIR to a folder that can be written.",
            stacklevel=2,
        )
        return njit(**_OPTIONS)(function)
    return dispatcher


class _CompileNotice(event.Listener):
    """Reports once per process that the first call takes long because kernels are compiled."""

    given = False

    def on_start(self, event: Any) -> None:
        if not _CompileNotice.given:
            _CompileNotice.given = True
            print(
                "gvf: compiling the CPU rasteriser (once per machine, under a minute)...", file=sys.stderr, flush=True
            )

    def on_end(self, event: Any) -> None:
        pass


_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def _forget_pool() -> None:
    global _pool, _pool_size
    _pool, _pool_size = None, 0  # its threads ended at the fork


os.register_at_fork(after_in_child=_forget_pool)


def _num_threads() -> int:
    if "torch" in sys.modules:
        return int(sys.modules["torch"].get_num_threads())
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else os.cpu_count() or 1


def _helpers(count: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    if _pool is None or _pool_size < count:
        _pool, _pool_size = ThreadPoolExecutor(count, thread_name_prefix="gvf-raster"), count
    return _pool


def run(function: Any, num_items: int, grain: int, *arguments: object) -> None:
    """Call `function(counter, *arguments)` on as many threads as torch may use until all items are taken.

    function: a `kernel` that draws items 0..num_items-1 with `take_next(counter)`. grain: the number of items that
    is worth a thread, about 0.1 ms of work.
    """
    counter = np.zeros(1, np.int64)
    if not function.overloads:  # compiled, or read from the cache, by one thread only
        with event.install_listener("numba:compile", _CompileNotice()):
            function(counter, *arguments)
        return
    helpers = min(_num_threads(), num_items // grain) - 1
    if helpers < 1:
        function(counter, *arguments)
        return
    pool = _helpers(helpers)
    others = [pool.submit(function, counter, *arguments) for _ in range(helpers)]
    function(counter, *arguments)
    for other in others:
        if not other.cancel():  # on a busy machine a helper may not have started yet: nothing is left for it to do
            other.result()
