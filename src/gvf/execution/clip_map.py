"""Map one function over many clips: in worker processes, on Ray, or in this process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, TypeVar

from tqdm import tqdm

from gvf.config.execution import ExecutionConfig
from gvf.execution.rejected import Rejected, attempt

Item = TypeVar("Item")
Value = TypeVar("Value")

__all__ = ["Rejected", "attempt", "map_clips"]


def map_clips(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    execution: ExecutionConfig,
    describe: str,
    item_id: Callable[[Item], str] = str,
) -> list[Value | Rejected]:
    """Apply a top-level function to every item; results come in the order of the items.

    describe: text of the progress bar. item_id: names an item in a Rejected. execution: the executor, and the limits on time
    and memory per item, which every executor but `inline` enforces.

    Any failure of an item (an exception, a limit exceeded, a worker that dies) rejects that item alone. Only errors of
    the run (`gvf.errors.ends_the_run`) end the map; they are raised unchanged.
    """
    results: dict[int, Value | Rejected] = {}
    if items:
        with closing(
            _executors[execution.executor](function, items, [item_id(item) for item in items], execution)
        ) as done:
            for index, value in tqdm(done, total=len(items), desc=describe, unit="clip", mininterval=1.0):
                results[index] = value
    return [results[index] for index in range(len(items))]


def _inline(
    function: Callable[[Any], Any], items: Sequence[Any], ids: Sequence[str], execution: ExecutionConfig
) -> Generator[tuple[int, Any], None, None]:
    for index, item in enumerate(items):
        yield index, attempt(ids[index], function, item)


# Imported when used: neither executor needs the other, and `gvf --help` needs neither.
def _process(*arguments: Any) -> Generator[tuple[int, Any], None, None]:
    from gvf.execution.processes import run_in_processes

    yield from run_in_processes(*arguments)


def _ray(*arguments: Any) -> Generator[tuple[int, Any], None, None]:
    from gvf.execution.on_ray import run_on_ray

    yield from run_on_ray(*arguments)


_executors = {"inline": _inline, "process": _process, "ray": _ray}
