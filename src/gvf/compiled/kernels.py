"""How loops for CPUs are compiled, cached and run on several threads.

Threads are plain Python threads over functions that hold no interpreter lock. Numba's own threading layers either
refuse forked processes (OpenMP) or abort when two Python threads use them (workqueue), and neither knows torch's
thread count. Here `torch.set_num_threads` governs, or what torch would take where it is not loaded; forks and
data-loader workers are safe, and work items are shared out by an atomic counter, so uneven items cost no idle time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numba.core import event

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
_IMPORT = re.compile(rb"^from gvf\.compiled\.\w+ import ", re.MULTILINE)

_logger = logging.getLogger(__name__)

helper = njit(forceinline=True, **_OPTIONS)  # a function that kernels call; compiled into them


@cache
def _source_stamp(folder: Path) -> str:
    """Return a digest of this package's files and of those in `folder` that hold kernels or helpers of them."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    for path in sorted(folder.glob("*.py")):
        if _IMPORT.search(source := path.read_bytes()):
            digest.update(source)
    return digest.hexdigest()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile on first call and keep the machine code on disk: in `__pycache__` beside the source, or, if that is
    read-only, in numba's folder under the user's cache directory, or in NUMBA_CACHE_DIR where that is set.

    Numba notices changes in the function's own file only; here a change in any of its folder's kernels counts.
    """
    dispatcher = njit(**_OPTIONS)(function)
    try:
        dispatcher.enable_caching()
        if not hasattr(dispatcher._cache._cache_file, "_source_stamp"):
            raise RuntimeError("this numba keeps its cache in another way")
        dispatcher._cache._cache_file._source_stamp = _source_stamp(Path(function.__code__.co_filename).parent)
    except (AttributeError, RuntimeError) as error:
        warnings.warn(
            f"CPU kernels will be recompiled in every process ({error}); "
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
            _logger.warning("gvf: compiling CPU kernels (once per machine, about a minute)...")

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
        _pool, _pool_size = ThreadPoolExecutor(count, thread_name_prefix="gvf-kernel"), count
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
