"""The Prefect task of every stage: it runs `dvc repro STAGE` and watches it.

DVC knows the dependencies and what is up to date, so a task names its stage, and DVC brings everything that the stage
needs up to date first. This module adds only what DVC does not do: it logs the output, retries when the workspace is busy,
leaves no process behind, and shows the stage's metrics and images as an artifact with a link to its MLflow run.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from prefect import Task, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

ROOT = Path(__file__).resolve().parent.parent
ROOT_FILE = "dvc.yaml"
CURATE = ("collect", "curate", "render", "featurize")
TRAIN_VAE = ("train-vae-static", "train-vae-joint", "encode")
TRAIN_DIT = ("train-dit",)
TRAIN_IMAGE_TO_3D = ("train-structure", "train-appearance")
EVALUATE = ("sample", "evaluate", "report")

# What DVC prints when another DVC process holds the workspace, the only failure for which a retry helps.
BUSY = ("Unable to acquire lock", "is busy, it is being blocked by")
UNCHANGED = "Stage '{}' didn't change"
RETRY_SECONDS = [10.0, 30.0, 60.0]
PROGRESS_SECONDS = 10.0  # a progress bar redraws many times per second; the log shows it at this interval
TAIL_LINES = 20
MAX_IMAGES = 6
MAX_IMAGE_BYTES = 400_000

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class StageFailed(RuntimeError):
    """`dvc repro` ended with an error; the message has its exit code and its last lines."""


class WorkspaceBusy(RuntimeError):
    """Another DVC process holds the workspace's lock."""


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
def dvc_stage(stage: str, file: str = ROOT_FILE) -> None:
    """Bring a stage of a DVC file up to date with `dvc repro` and show what it measured.

    Raises WorkspaceBusy, which is retried, or StageFailed. When the flow run ends, in any way, so does every process of the
    stage.
    """
    logger = get_run_logger()
    target = stage if file == ROOT_FILE else f"{file}:{stage}"
    command = ["dvc", "repro", target]
    tail: list[str] = []
    seen = ""
    unchanged = UNCHANGED.format(target)
    with guarded(command) as guard:
        for line in log_lines(guard.stdout):
            logger.info(line)
            tail = [*tail[1 - TAIL_LINES :], line]
            seen = next((phrase for phrase in (*BUSY, unchanged) if phrase in line), seen)
        code = guard.wait()
    if code != 0:
        kind = WorkspaceBusy if seen in BUSY else StageFailed
        raise kind(f"`{' '.join(command)}` exited with {code}. Its last lines:\n" + "\n".join(tail))
    shown = outcome(stage) if file == ROOT_FILE else variant_outcome(stage)
    key = stage if file == ROOT_FILE else f"{Path(file).parent}-{stage}"
    create_markdown_artifact(summary(stage, shown, seen == unchanged), key=re.sub(r"[^a-z0-9]+", "-", key.lower()))


def run_stages(stages: Iterable[str], file: str = ROOT_FILE) -> None:
    """Run one task per stage, one after the other; two DVC processes in one workspace would only wait for each other."""
    for stage in stages:
        dvc_stage(stage, file)


@contextmanager
def guarded(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command under `guard.py`, which ends it when the block ends or this process does."""
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        # A worker started as .venv/bin/prefect has no .venv/bin on its path, where dvc and gvf are.
        "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)]),
    }
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("guard.py")), *command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as guard:
        yield guard


def log_lines(stream: IO[bytes] | None) -> Iterator[str]:
    """Yield the lines of a process's output as they come, without colour codes and empty lines.

    Of what a progress bar overwrites (lines that end in a carriage return), one line per `PROGRESS_SECONDS` is kept.
    """
    assert stream is not None
    shown = -PROGRESS_SECONDS
    for raw in io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline=""):
        text = _ANSI.sub("", raw).rstrip()
        if not text:
            continue
        if raw.endswith("\r"):
            if time.monotonic() - shown < PROGRESS_SECONDS:
                continue
            shown = time.monotonic()
        yield text


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
    metrics = _read_json(ROOT / "reports/metrics" / f"{stage}.json") or {}
    done = subprocess.run(
        [sys.executable, "-m", "gvf.tracking.run_records", stage], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout) if done.returncode == 0 else {"run": None, "images": []}
    return Outcome(found["run"], metrics, [ROOT / name for name in found["images"]][-MAX_IMAGES:])


def variant_outcome(stage: str) -> Outcome:
    """Return the outcome of a stage of the ablations, `model@variant-seed`."""
    name = stage.replace("@", "-")
    results = ROOT / "ablations/results"
    result = _read_json(results / f"{name}.json") or {}
    run = _read_json(ROOT / "work/runs/ablations" / f"{name}.json")
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
