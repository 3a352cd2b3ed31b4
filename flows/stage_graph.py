"""The graph of stages as DVC knows it, and the order in which stages start."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from flows import processes

_STAGE = re.compile(r'"([^"]+)";')
_EDGE = re.compile(r'"([^"]+)" -> "([^"]+)";')


class GraphUnknown(RuntimeError):
    """DVC cannot read its files; the message has what it printed."""


@dataclass(frozen=True)
class StageGraph:
    """Stages with the stages whose outputs they read.

    needs: direct upstream stages by stage. Names are DVC's; those of other files than dvc.yaml start with the file.
    """

    needs: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, stages: Iterable[str], edges: Iterable[tuple[str, str]]) -> StageGraph:
        """Return the graph of all stages with edges (upstream, downstream). Raises KeyError for an unknown stage."""
        needs: dict[str, set[str]] = {stage: set() for stage in stages}
        for upstream, downstream in edges:
            needs[downstream].add(upstream)
        return cls({stage: frozenset(found) for stage, found in needs.items()})

    @classmethod
    def from_dvc(cls, file: str) -> StageGraph:
        """Return the graph of a DVC file's stages and of all their upstream stages. Raises GraphUnknown."""
        lines = [line.strip() for line in _dvc("dag", "--dot", file).splitlines()]
        stages = [found[1] for line in lines if (found := _STAGE.fullmatch(line))]
        edges = [(found[1], found[2]) for line in lines if (found := _EDGE.fullmatch(line))]
        return cls.of(stages, edges)

    def up_to(self, targets: Iterable[str]) -> StageGraph:
        """Return the graph of the targets and all their upstream stages. Raises KeyError for an unknown target."""
        kept: set[str] = set()
        waiting = list(targets)
        while waiting:
            stage = waiting.pop()
            if stage not in kept:
                kept.add(stage)
                waiting += self.needs[stage]
        return StageGraph({stage: found for stage, found in self.needs.items() if stage in kept})

    def without(self, done: Collection[str]) -> StageGraph:
        """Return the graph of the stages that are not `done`."""
        return StageGraph({stage: found - set(done) for stage, found in self.needs.items() if stage not in done})

    def up_to_date(self, changed: Collection[str]) -> set[str]:
        """Return the stages that neither are among `changed` nor depend on one of them, directly or through others."""
        found: set[str] = set()
        for stage in sorted(self.needs, key=lambda name: -self.distances[name]):  # upstream stages first
            if stage not in changed and self.needs[stage] <= found:
                found.add(stage)
        return found

    @cached_property
    def distances(self) -> Mapping[str, int]:
        """Return the number of stages on the longest path from each stage, itself included, to the end of the graph."""
        readers: dict[str, list[str]] = {stage: [] for stage in self.needs}
        for stage, upstream in self.needs.items():
            for name in upstream:
                readers[name].append(stage)
        found: dict[str, int] = {}

        def distance(stage: str) -> int:
            if stage not in found:
                found[stage] = 1 + max(map(distance, readers[stage]), default=0)
            return found[stage]

        return {stage: distance(stage) for stage in self.needs}

    def ready(self, done: Collection[str], begun: Collection[str]) -> list[str]:
        """Return the stages that can start, the one with the longest path ahead first. begun: all that have started."""
        free = [stage for stage, upstream in self.needs.items() if stage not in begun and upstream <= set(done)]
        return sorted(free, key=lambda stage: -self.distances[stage])  # stable: DVC's order among equals


def changed_stages(file: str) -> set[str]:
    """Return the stages of a DVC file that DVC finds out of date by their own inputs and outputs. Raises GraphUnknown."""
    return set(json.loads(_dvc("status", "--json", file)))


def _dvc(*arguments: str) -> str:
    """Return what a DVC command prints. Raises GraphUnknown if it fails."""
    command = ["dvc", "--wait-for-lock", *arguments]
    done = subprocess.run(
        command, cwd=processes.ROOT, env=processes.environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise GraphUnknown(f"`{' '.join(command)}` exited with {done.returncode}. It printed:\n{said}")
    return done.stdout
