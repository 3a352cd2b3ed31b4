"""One function over many clips: here, in a process pool, or on Ray."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from gvf.config.run import RunConfig
from gvf.errors import ClipError, StageError, UserError

Item = TypeVar("Item")
Value = TypeVar("Value")

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Rejected:
    """A clip that could not be processed: `reason` is a slug for the manifest, `message` is for people."""

    item_id: str
    reason: str
    message: str


@dataclass(frozen=True)
class _Call(Generic[Item, Value]):
    """Top-level picklable wrapper that turns a ClipError into a Rejected."""

    function: Callable[[Item], Value]

    def __call__(self, item: Item, item_id: str) -> Value | Rejected:
        try:
            return self.function(item)
        except ClipError as error:
            return Rejected(item_id, error.reason, error.message)


def map_clips(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    run: RunConfig,
    describe: str,
    item_id: Callable[[Item], str] = str,
) -> list[Value | Rejected]:
    """Apply a top-level function to every item; results come in the order of the items.

    describe: text of the progress bar. item_id: name of an item in a Rejected and in errors.
    A ClipError costs its item only; any other exception ends the map and names the item.
    """
    results: dict[int, Value | Rejected] = {}
    ids = [item_id(item) for item in items]
    call = _Call[Item, Value](function)
    done = _executors[run.executor](call, items, ids, run.workers)
    for index, value in tqdm(done, total=len(items), desc=describe, unit="clip", disable=not items, mininterval=1.0):
        results[index] = value
    return [results[index] for index in range(len(items))]


def _inline(call, items, ids, workers) -> Iterator[tuple[int, Any]]:  # type: ignore[no-untyped-def]
    for index, item in enumerate(items):
        try:
            yield index, call(item, ids[index])
        except Exception as error:
            raise _named(ids[index], error) from error


def _single_threaded() -> None:
    """Workers share the machine's cores: one thread each, set before numpy or torch start their pools."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = "1"


def _process(call, items, ids, workers) -> Iterator[tuple[int, Any]]:  # type: ignore[no-untyped-def]
    if workers == 1 or len(items) <= 1:
        yield from _inline(call, items, ids, workers)
        return
    # A fork server starts clean, without the parent's threads; importing the function's module once makes workers cheap.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([call.function.__module__ if hasattr(call.function, "__module__") else "gvf"])
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    _single_threaded()
    try:
        with ProcessPoolExecutor(min(workers, len(items)), mp_context=context) as pool:
            futures = {pool.submit(call, item, ids[index]): index for index, item in enumerate(items)}
            try:
                for future in as_completed(futures):
                    index = futures[future]
                    try:
                        yield index, future.result()
                    except Exception as error:
                        raise _named(ids[index], error) from error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _ray(call, items, ids, workers) -> Iterator[tuple[int, Any]]:  # type: ignore[no-untyped-def]
    try:
        import ray
    except ImportError:
        raise UserError("run.executor is 'ray', but Ray is not installed. Run `pip install 'gvf[ray]'`.") from None
    started_here = not ray.is_initialized()
    if started_here:
        address = os.environ.get("RAY_ADDRESS")
        ray.init(address=address, num_cpus=None if address else workers, include_dashboard=False, log_to_driver=False)
    try:
        remote = ray.remote(num_cpus=1)(call.__call__)
        pending = {remote.remote(item, ids[index]): index for index, item in enumerate(items)}
        while pending:
            (ready, *_), _rest = ray.wait(list(pending), num_returns=1)
            index = pending.pop(ready)
            try:
                yield index, ray.get(ready)
            except Exception as error:
                raise _named(ids[index], error) from error
    finally:
        if started_here:
            ray.shutdown()


def _named(item_id: str, error: Exception) -> Exception:
    if isinstance(error, UserError | StageError):
        return error
    return StageError(f"{item_id}: {type(error).__name__}: {error}")


_executors = {"inline": _inline, "process": _process, "ray": _ray}
