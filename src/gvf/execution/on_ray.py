"""Clips on Ray, on this machine or on the cluster that RAY_ADDRESS names, each under a limit of time and of memory.

A worker is an actor that processes one clip at a time, as in `processes`. It has imported everything before the time of
its clip starts to count, which cannot be known for a plain Ray task, and it is replaced when it dies or is killed.
"""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gvf.config.execution import ExecutionConfig
from gvf.errors import StageError, UserError
from gvf.execution.allocator import keep_freed_memory
from gvf.execution.limits import limit_memory, single_threaded
from gvf.execution.rejected import CRASHED, MEMORY, TIMEOUT, Rejected, answer, is_out_of_memory
from gvf.text import clean

_MOST_FAILED_STARTS = 3  # of workers in a row
# Attempts at a clip whose worker died: Ray does not say whether the clip, another program or a lost node caused it.
_MOST_ATTEMPTS = 2
_OBJECT_STORE = 256 << 20  # bytes; only small values pass through it


class _Host:
    """The actor: a process with the driver's working folder and import path."""

    def __init__(self, folder: str, path: list[str], module: str, gigabytes: float) -> None:
        os.chdir(folder)  # the paths in tasks are relative to the driver's folder; Ray starts workers in one of its own
        sys.path += [entry for entry in path if entry not in sys.path]
        keep_freed_memory()
        importlib.import_module(module)
        limit_memory(gigabytes)

    def place(self) -> tuple[str, int]:
        """Return the id of the worker's node and its process id there."""
        import ray

        return ray.get_runtime_context().get_node_id(), os.getpid()

    def work(self, task: bytes) -> bytes:
        """Answer one task; a MemoryError reaches the driver as Ray's error, and the next clip gets a new worker."""
        return answer(task)


@dataclass
class _Slot:
    """A worker and its task. item: index of its current clip, None while it starts. deadline: time limit of that clip.

    process_id: None unless the worker is on this machine.
    """

    actor: Any
    process_id: int | None = None
    item: int | None = None
    deadline: float = float("inf")


def run_on_ray(
    function: Callable[[Any], Any], items: Sequence[Any], ids: Sequence[str], execution: ExecutionConfig
) -> Generator[tuple[int, Any], None, None]:
    """Yield (index, value or Rejected) of every item in order of completion. Raises an error that ends the run."""
    try:
        import ray
    except ImportError:
        raise UserError(
            "execution.executor is 'ray', but Ray is not installed. Run `pip install 'gvf[ray]'`."
        ) from None
    with connected(execution.workers):
        here = ray.get_runtime_context().get_node_id()
        start = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Host).remote
        waiting, attempts, failed_starts = deque(range(len(items))), Counter[int](), 0
        pending: dict[Any, _Slot] = {}

        def open_slot() -> None:
            slot = _Slot(start(str(Path.cwd()), sys.path, function.__module__, execution.clip_memory_gb))
            pending[slot.actor.place.remote()] = slot

        def close(slot: _Slot) -> None:
            ray.kill(slot.actor)
            if slot.process_id is not None:
                _kill(slot.process_id)

        def go_on(slot: _Slot) -> None:
            """Give the worker the next clip, if there is one."""
            if not waiting:
                close(slot)
                return
            slot.item = waiting.popleft()
            attempts[slot.item] += 1
            task = pickle.dumps((function, items[slot.item], ids[slot.item]))
            pending[slot.actor.work.remote(task)] = slot
            slot.deadline = time.monotonic() + execution.clip_seconds

        try:
            for _ in range(min(execution.workers, len(items))):
                open_slot()
            while pending:
                soonest = min(slot.deadline for slot in pending.values())
                left = None if soonest == float("inf") else max(0.0, soonest - time.monotonic())
                ready, _ = ray.wait(list(pending), num_returns=1, timeout=left)
                late = [ref for ref, slot in pending.items() if slot.deadline <= time.monotonic()]
                for ref in ready or late:
                    slot = pending.pop(ref)
                    outcome = _result(ref, wait=bool(ready))
                    if slot.item is None:
                        if isinstance(outcome, _Lost):
                            close(slot)
                            failed_starts += 1
                            if failed_starts == _MOST_FAILED_STARTS:
                                raise StageError(f"Ray's workers cannot start: {outcome.message}")
                            open_slot()
                        else:
                            node, process_id = outcome
                            slot.process_id, failed_starts = process_id if node == here else None, 0
                            go_on(slot)
                        continue
                    item = slot.item
                    if isinstance(outcome, _Lost):
                        close(slot)
                        again = outcome.reason == CRASHED and attempts[item] < _MOST_ATTEMPTS
                        if again:
                            waiting.append(item)
                        if waiting:
                            open_slot()
                        if not again:
                            yield item, outcome.rejected(ids[item], execution)
                        continue
                    value = pickle.loads(outcome)  # written by our own worker
                    if isinstance(value, BaseException):
                        raise value
                    go_on(slot)
                    yield item, value
        finally:
            for slot in pending.values():
                close(slot)


@dataclass(frozen=True)
class _Lost:
    """The fate of a worker that did not answer. message: as Ray reports it."""

    reason: str
    exception: str
    message: str = ""

    def rejected(self, item_id: str, execution: ExecutionConfig) -> Rejected:
        messages = {
            TIMEOUT: f"took longer than {execution.clip_seconds:g} s (execution.clip_seconds).",
            MEMORY: f"needs more than {execution.clip_memory_gb:g} GB of memory (execution.clip_memory_gb).",
            CRASHED: "its worker process died.",
        }
        return Rejected(item_id, self.reason, messages[self.reason], self.exception)


def _result(ref: Any, wait: bool) -> Any:
    """Return the result of a call, or a _Lost. wait: False once its time limit has passed."""
    import ray
    from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

    if not wait:
        return _Lost(TIMEOUT, TimeoutError.__name__)
    try:
        return ray.get(ref)
    except OutOfMemoryError:  # raised by Ray's memory monitor of the node
        return _Lost(MEMORY, MemoryError.__name__)
    except RayTaskError as error:
        if is_out_of_memory(error.cause):
            return _Lost(MEMORY, MemoryError.__name__)
        return _Lost(CRASHED, type(error.cause).__name__, clean(str(error.cause)))
    except RayError as error:
        return _Lost(CRASHED, type(error).__name__, clean(str(error)))


@contextmanager
def connected(workers: int) -> Iterator[None]:
    """Connect to Ray, or start it here with `workers` CPUs. Usage statistics are off unless the user turned them on."""
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS")
    size: dict[str, int] = {} if address else {"num_cpus": workers, "object_store_memory": _OBJECT_STORE}
    with single_threaded():
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **size)
        try:
            yield
        finally:
            ray.shutdown()


def _kill(process_id: int) -> None:
    """Kill a worker with SIGKILL: Ray's own request to exit has no effect on a stopped process."""
    try:
        os.kill(process_id, signal.SIGKILL)
    except ProcessLookupError:
        pass
