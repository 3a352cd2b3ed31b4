"""Several stages at once: each starts when its upstream stages are up to date."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol

import yaml

from flows import processes
from flows.stage_graph import StageGraph


class Future(Protocol):
    """What a thread pool's futures and Prefect's have in common."""

    def add_done_callback(self, function: Callable[[Any], None], /) -> object:
        """Call a function with the future when it has ended."""

    def result(self) -> Any:
        """Return the result, or raise what the call raised."""


class StagesFailed(RuntimeError):
    """Some stages failed; the message says which and why, and which stages were left out for that."""

    def __init__(self, failures: Mapping[str, BaseException], left_out: list[str]) -> None:
        parts = [f"{stage} failed. {error}" for stage, error in failures.items()]
        if left_out:
            parts.append(f"Not run, because they depend on it: {', '.join(left_out)}.")
        super().__init__("\n\n".join(parts))
        self.failures = dict(failures)


def stages_at_once() -> int:
    """Return `execution.stages_at_once` of params.yaml, or 1 where it is not a positive integer, which stages report."""
    try:
        values = yaml.safe_load((processes.ROOT / "params.yaml").read_text(encoding="utf-8"))
        return max(int(values["execution"]["stages_at_once"]), 1)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return 1


def run_graph(graph: StageGraph, submit: Callable[[str], Future], at_once: int) -> None:
    """Start every stage of a graph when its upstream stages have ended well, at most `at_once` at a time.

    submit: starts a stage. A stage that fails leaves out those that depend on it; all others still run. Raises
    StagesFailed at the end, if any has failed. When this function is interrupted, the commands of all stages end.
    """
    ended: SimpleQueue[tuple[str, Future]] = SimpleQueue()
    begun: set[str] = set()
    done: set[str] = set()
    failures: dict[str, BaseException] = {}
    with processes.ended_together():
        while True:
            free = at_once - (len(begun) - len(done) - len(failures))
            for stage in graph.ready(done, begun)[:free]:
                begun.add(stage)
                submit(stage).add_done_callback(partial(_put, ended, stage))
            if len(begun) == len(done) + len(failures):
                break
            stage, future = ended.get()
            try:
                future.result()
                done.add(stage)
            except Exception as error:
                failures[stage] = error
    if failures:
        raise StagesFailed(failures, [stage for stage in graph.needs if stage not in begun])


def _put(ended: SimpleQueue[tuple[str, Future]], stage: str, future: Future) -> None:
    ended.put((stage, future))
