"""The whole pipeline with stages side by side, and a table of its minutes and memory: `python -m flows.repro [STAGE...]`.

This is what `make repro` runs. It is the scheduler of the flow `pipeline` without Prefect, whose server takes longer to start
than a run that is up to date, and memory that trainings could use.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from flows import processes
from flows.dvc_repro import ROOT_FILE, repro
from flows.scheduler import StagesFailed, run_graph, stages_at_once
from flows.stage_graph import GraphUnknown, StageGraph, changed_stages

INTERRUPTED = 128 + signal.SIGINT


@dataclass(frozen=True)
class Span:
    """When a stage ran, in seconds since the start of the run. changed: whether DVC had anything to run."""

    begin: float
    end: float
    changed: bool


@dataclass
class Run:
    """A run so far: the stages that have ended well."""

    began: float = field(default_factory=time.monotonic)
    spans: dict[str, Span] = field(default_factory=dict)

    def stage(self, stage: str) -> None:
        """Bring a stage up to date, showing its output. Raises StageFailed or WorkspaceBusy."""
        begin = time.monotonic() - self.began
        changed = repro(stage, lambda line: _print(f"{stage:<16} | {line}"))
        self.spans[stage] = Span(begin, time.monotonic() - self.began, changed)


def main(targets: list[str]) -> int:
    """Bring the targets, by default all stages of dvc.yaml, up to date; return the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    run, at_once = Run(), stages_at_once()
    try:
        graph = StageGraph.from_dvc(ROOT_FILE)
        if unknown := [target for target in targets if target not in graph.needs]:
            _print(f"dvc.yaml has no stage {', '.join(unknown)}. Choose from {', '.join(graph.needs)}.")
            return 2
        fresh = graph.up_to_date(changed_stages(ROOT_FILE))
        graph = (graph.up_to(targets) if targets else graph).without(fresh)
        with ThreadPoolExecutor(at_once) as pool:
            run_graph(graph, lambda stage: pool.submit(run.stage, stage), at_once)
        if not graph.needs:
            _print("Data and pipelines are up to date.")
        code = 0
    except (GraphUnknown, StagesFailed) as error:
        _print(f"\n{error}")
        code = 1
    except KeyboardInterrupt:
        _print("\nInterrupted; a training resumes from its last checkpoint in the next run.")
        return INTERRUPTED
    if run.spans:
        _print("\n" + table(run, time.monotonic() - run.began))
    return code


def table(run: Run, seconds: float) -> str:
    """Return a Markdown table of the run's stages: start and duration in minutes, and peak memory.

    The memory is that of the run that made a stage's outputs. seconds: duration of the whole run.
    """
    peaks = {stage: peak_memory(stage) for stage in run.spans}
    lines = ["| stage | start (min) | minutes | peak memory (GB) |", "| :-- | --: | --: | --: |"]
    for stage, span in sorted(run.spans.items(), key=lambda item: item[1].begin):
        minutes = f"{(span.end - span.begin) / 60:.1f}" if span.changed else "unchanged"
        memory = f"{peak / 1e9:.2f}" if (peak := peaks[stage]) else "-"
        lines.append(f"| {stage} | {span.begin / 60:.1f} | {minutes} | {memory} |")
    together = max(
        sum(
            peaks[name] or 0
            for name, other in run.spans.items()
            if other.changed and other.begin <= span.begin < other.end
        )
        for span in run.spans.values()
    )
    memory = f"at most {together / 1e9:.2f}" if together else "-"
    return "\n".join([*lines, f"| all | 0.0 | {seconds / 60:.1f} | {memory} |"])


def peak_memory(stage: str) -> int | None:
    """Return the bytes that a stage's processes had at most, as the stage recorded it; None without a record."""
    path = processes.ROOT / "work/usage" / f"{stage}.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["peak_memory_bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _print(text: str) -> None:
    """Write in one call, so that lines of stages that run at the same time do not mix."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _terminate(number: int, frame: FrameType | None) -> Any:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
