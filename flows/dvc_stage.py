"""The Prefect task of every stage: it runs `dvc repro` for one stage and watches it.

DVC knows the dependencies and what is up to date. This module adds only what DVC does not do: it starts stages that do not
depend on each other at the same time, logs their output, retries when the workspace is busy, leaves no process behind, and
shows a stage's metrics and images as an artifact with a link to its MLflow run.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import Task, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from flows import processes
from flows.dvc_repro import ROOT_FILE, WorkspaceBusy, repro, slug
from flows.scheduler import run_graph, stages_at_once
from flows.stage_graph import StageGraph

RETRY_SECONDS = [10.0, 30.0, 60.0]
MAX_IMAGES = 6
MAX_IMAGE_BYTES = 400_000


def is_busy(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Return whether a failed task may be retried, which is the case only when the workspace was busy."""
    return isinstance(state.result(raise_on_failure=False), WorkspaceBusy)


@task(
    name="dvc-repro",
    task_run_name="{stage}",
    retries=len(RETRY_SECONDS),
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=is_busy,
    cache_policy=NO_CACHE,
)
def dvc_stage(stage: str) -> None:
    """Bring a stage, whose upstream stages are up to date, up to date and show what it measured.

    stage: as DVC names it, with its file unless that is dvc.yaml. Raises WorkspaceBusy, which is retried, or StageFailed.
    When the flow run ends, in any way, so does every process of the stage.
    """
    changed = repro(stage, get_run_logger().info)
    variant = stage.rpartition(":")[2]
    shown = outcome(stage) if variant == stage else variant_outcome(variant)
    create_markdown_artifact(summary(variant, shown, not changed), key=slug(stage))


def run_stages(*targets: str, file: str = ROOT_FILE) -> None:
    """Bring targets, by default all stages of a DVC file, and their upstream stages up to date, one task per stage.

    At most `execution.stages_at_once` stages run at a time. Raises GraphUnknown, or StagesFailed when all stages that do
    not depend on a failed one have ended.
    """
    graph = StageGraph.from_dvc(file)
    run_graph(graph.up_to(targets) if targets else graph, dvc_stage.submit, stages_at_once())


@dataclass(frozen=True)
class Outcome:
    """Results of a stage.

    run: its MLflow run (`run_name`, `url`), if known. metrics: values by name. images: paths of PNG files.
    """

    run: Mapping[str, Any] | None
    metrics: Mapping[str, Any]
    images: Sequence[Path]


def outcome(stage: str) -> Outcome:
    """Return a root stage's outcome, with the MLflow run that made its outputs, which may be older than the latest run."""
    metrics = _read_json(processes.ROOT / "reports/metrics" / f"{stage}.json") or {}
    done = subprocess.run(
        [sys.executable, "-m", "gvf.tracking.run_records", stage],
        cwd=processes.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout) if done.returncode == 0 else {"run": None, "images": []}
    return Outcome(found["run"], metrics, [processes.ROOT / name for name in found["images"]][-MAX_IMAGES:])


def variant_outcome(stage: str) -> Outcome:
    """Return the outcome of a stage of the ablations, `model@variant-seed`."""
    name = stage.replace("@", "-")
    results = processes.ROOT / "ablations/results"
    result = _read_json(results / f"{name}.json") or {}
    run = _read_json(processes.ROOT / "work/runs/ablations" / f"{name}.json")
    image = results / f"{name}.png"
    images = [image] if image.is_file() else []
    return Outcome(run if run and "url" in run else None, result.get("figures", {}), images)


def summary(stage: str, shown: Outcome, skipped: bool) -> str:
    """Return Markdown with a stage's MLflow run, metrics and images, as far as they exist."""
    lines = [f"## {stage}", ""]
    if skipped:
        lines += [
            "Up to date: DVC had nothing to run. The values below are those of the run that made the outputs.",
            "",
        ]
    if shown.run:
        lines += [f"MLflow run: [{shown.run['run_name']}]({shown.run['url']})", ""]
    if shown.metrics:
        lines += ["| metric | value |", "| :-- | --: |"]
        lines += [f"| {name} | {number(value)} |" for name, value in shown.metrics.items()]
        lines += [""]
    for image in shown.images:
        if image.stat().st_size <= MAX_IMAGE_BYTES:
            data = base64.b64encode(image.read_bytes()).decode()
            lines += [f"**{image.stem}**", "", f"![{image.stem}](data:image/png;base64,{data})", ""]
    return "\n".join(lines)


def number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
