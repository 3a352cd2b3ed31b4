"""Clips in worker processes, each clip under a limit of time and of memory.

The pools are Pebble's: it kills and replaces only the worker whose task takes too long, and a worker that dies fails only
its own task. concurrent.futures and loky (joblib) have no time limit per task, and when one worker dies they fail every
unfinished task, whichever caused it. Here every worker has its own pool and one clip at a time, so that the failure of one
worker, at whatever moment, cannot affect the clip of another.
"""

from __future__ import annotations

import importlib
import multiprocessing.connection
import multiprocessing.forkserver
import os
import pickle
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import popen_forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.process import BaseProcess
from typing import Any

from pebble import ProcessExpired, ProcessPool

from gvf.config.execution import ExecutionConfig
from gvf.execution.allocator import keep_freed_memory
from gvf.execution.limits import limit_memory, single_threaded
from gvf.execution.rejected import CRASHED, MEMORY, TIMEOUT, Rejected, answer

_QUIT = 256  # replaces exit code 0 of a worker that exited in the middle of a clip; no process has this code
_OUT_OF_MEMORY = 112  # our exit code for a worker that reached its memory limit
# Pebble's workers turn SIGTERM into a positive exit code.
_KILLED_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM, int(signal.SIGTERM)}
# In place of an outcome: the clip is to be retried, because its worker was killed from outside or never began it.
_AGAIN, _NOT_BEGUN = object(), object()
_MOST_ATTEMPTS = 2  # at a clip whose worker was killed from outside
_PATIENCE = 5.0  # seconds in which a worker ends by itself once all clips are done
_MOST_STARTS = 3  # of workers in a row that end before they begin a clip


class _Handle(popen_forkserver.Popen):
    """The parent's handle of a worker. Several of Pebble's threads read its exit code, which can be read only once."""

    def __init__(self, process: BaseProcess) -> None:
        self._reading = threading.Lock()
        super().__init__(process)

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """Return the exit code, or None while the worker runs; flag 0 waits for its end."""
        if flag == 0:
            multiprocessing.connection.wait([self.sentinel])
        with self._reading:
            return super().poll(os.WNOHANG)


class _Worker(ForkServerProcess):
    """A process for Pebble: exiting by itself counts as a failure, and terminating it means SIGKILL."""

    def __init__(self, patience: list[float], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience = patience

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> _Handle:
        return _Handle(process_obj)

    @property
    def exitcode(self) -> int | None:
        """Return the exit code, but never 0, which Pebble takes for a regular end."""
        code = super().exitcode
        return _QUIT if code == 0 else code

    def terminate(self) -> None:
        """Kill the process: a stopped one, or one inside native code, does not react to SIGTERM.

        Files are written under temporary names, so none is left incomplete. A worker without work, whose channel was closed,
        is given time to end by itself, and to write what others keep at the end of a process, such as measured coverage.
        """
        self.join(self._patience[0])
        self.kill()


class _Context(ForkServerContext):
    """A context with a fork server: it has none of the parent's threads, and its forks have all imports done.

    patience: seconds in which a worker may end by itself before it is killed, in a list that all workers share.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patience = [0.0]

    def Process(self, *args: Any, **kwargs: Any) -> _Worker:  # type: ignore[override]
        """Return a worker that has not started yet."""
        return _Worker(self.patience, *args, **kwargs)


@dataclass(frozen=True)
class _Attempt:
    """A clip assigned to a worker.

    worker, item: the index of each. number: of attempts, this one included. starts: of workers that were to make this
    attempt, this one included.
    """

    worker: int
    item: int
    number: int = 1
    starts: int = 1


def run_in_processes(
    function: Callable[[Any], Any], items: Sequence[Any], ids: Sequence[str], execution: ExecutionConfig
) -> Generator[tuple[int, Any], None, None]:
    """Yield (index, value or Rejected) of every item in order of completion. Raises an error that ends the run."""
    with single_threaded(), _pools(function, execution, min(execution.workers, len(items))) as (pools, new_pool):
        waiting = iter(range(len(items)))
        running: dict[Future[bytes], _Attempt] = {}

        def begin(attempt: _Attempt) -> None:
            task = pickle.dumps((function, items[attempt.item], ids[attempt.item]))
            try:
                future = pools[attempt.worker].schedule(_work, args=(task,), timeout=execution.clip_seconds)
            except RuntimeError:  # the worker died between two clips, and its pool with it
                pools[attempt.worker] = new_pool()
                future = pools[attempt.worker].schedule(_work, args=(task,), timeout=execution.clip_seconds)
            running[future] = attempt

        for worker, item in zip(range(len(pools)), waiting):
            begin(_Attempt(worker, item))
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                attempt = running.pop(future)
                outcome = _outcome(future, ids[attempt.item], execution, attempt)
                if outcome is _AGAIN:
                    begin(_Attempt(attempt.worker, attempt.item, attempt.number + 1))
                    continue
                if outcome is _NOT_BEGUN:  # the pool was about to notice that its last worker had died
                    pools[attempt.worker] = new_pool()
                    begin(replace(attempt, starts=attempt.starts + 1))
                    continue
                following = next(waiting, None)
                if following is not None:
                    begin(_Attempt(attempt.worker, following))
                yield attempt.item, outcome


@contextmanager
def _pools(
    function: Callable[[Any], Any], execution: ExecutionConfig, count: int
) -> Iterator[tuple[list[ProcessPool], Callable[[], ProcessPool]]]:
    """Yield pools of one worker each and a function that creates another; all workers have ended when the block ends."""
    context = _Context()
    context.set_forkserver_preload([__name__, function.__module__])
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited: workers ignore Ctrl-C
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    made: list[ProcessPool] = []

    def new_pool() -> ProcessPool:
        pool = ProcessPool(
            1, initializer=_prepare, initargs=(function.__module__, execution.clip_memory_gb), context=context
        )
        made.append(pool)
        return pool

    try:
        yield [new_pool() for _ in range(count)], new_pool
        context.patience[0] = _PATIENCE
    finally:
        for pool in made:
            pool.stop()
        for pool in made:
            pool.join()


def _outcome(future: Future[bytes], item_id: str, execution: ExecutionConfig, attempt: _Attempt) -> Any:
    """Return the value, a Rejected, or _AGAIN or _NOT_BEGUN unless this is the last attempt or start."""
    try:
        outcome = pickle.loads(future.result())  # written by our own worker
    except TimeoutError:
        message = f"took longer than {execution.clip_seconds:g} s (execution.clip_seconds)."
        return Rejected(item_id, TIMEOUT, message, TimeoutError.__name__)
    except ProcessExpired as death:
        if death.exitcode == _OUT_OF_MEMORY:
            message = f"needs more than {execution.clip_memory_gb:g} GB of memory (execution.clip_memory_gb)."
            return Rejected(item_id, MEMORY, message, MemoryError.__name__)
        if death.exitcode in _KILLED_FROM_OUTSIDE and attempt.number < _MOST_ATTEMPTS:
            return _AGAIN
        return Rejected(item_id, CRASHED, _cause_of_death(death.exitcode), ProcessExpired.__name__)
    except BrokenProcessPool:
        if attempt.starts < _MOST_STARTS:
            return _NOT_BEGUN
        message = "its worker process died before it could begin."
        return Rejected(item_id, CRASHED, message, BrokenProcessPool.__name__)
    except Exception as error:  # in Pebble's own part of the worker, e.g. without memory
        return Rejected.of(item_id, error)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _cause_of_death(code: int) -> str:
    if code == -signal.SIGKILL:
        return "its worker process was killed (SIGKILL), as the system does when memory runs out."
    if code < 0:
        return f"its worker process died of {signal.Signals(-code).name}."
    return f"its worker process ended with exit code {code % _QUIT}."


def _prepare(module: str, gigabytes: float) -> None:
    """Initialise a new worker before its first clip, so that imports do not count towards the clip's time."""
    keep_freed_memory()
    importlib.import_module(module)
    limit_memory(gigabytes)


def _work(task: bytes) -> bytes:
    """Answer one task, or leave at once when memory runs out: the next clip gets a new worker."""
    try:
        return answer(task)
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)
