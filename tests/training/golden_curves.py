"""The stored curves in `golden/`: `python tests/training/golden_curves.py [NAME ...]` records them again after a change."""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from gvf.training.fit import fit  # noqa: E402
from gvf.workspace import Workspace  # noqa: E402
from tests.sections import execution_section, run_section  # noqa: E402
from tests.training import tiny_tasks  # noqa: E402

GOLDEN = Path(__file__).resolve().parent / "golden"
TASKS: dict[str, Callable[[], Any]] = {
    "train-vae-static": tiny_tasks.static_vae,
    "train-vae-joint": tiny_tasks.joint_vae,
    "train-vae-joint-motion-first": tiny_tasks.motion_first,
    "train-dit": tiny_tasks.dit,
    "train-dit-both": partial(tiny_tasks.dit, "both"),
    "train-structure-vae": tiny_tasks.structure_vae,
    "train-structure": tiny_tasks.structure_flow,
    "train-structure-both": partial(tiny_tasks.structure_flow, "both"),
    "train-dit-pixel-aligned": partial(tiny_tasks.dit, "pixel_aligned"),
    "train-appearance": tiny_tasks.slat_flow,
    "train-appearance-both": partial(tiny_tasks.slat_flow, "both"),
}


def record(name: str, folder: Path, device: str = "cpu", **training: Any) -> list[dict[str, float]]:
    """Train one of the tiny tasks for ten steps in a folder; return its curve as written there.

    training: settings of section `training` that replace the task's.
    """
    torch.set_num_threads(1)  # faster for networks this small
    workspace = Workspace(folder)
    execution = execution_section(log_every=1, checkpoint_every=1000)
    task = TASKS[name]()
    task = replace(task, config=replace(task.config, training=replace(task.training, **training)))
    fit(task, folder / "model", replace(run_section(), device=device), execution, workspace, log=_ignore)
    return read_curve(workspace.curve(task.name))


def read_curve(path: Path) -> list[dict[str, float]]:
    """Return the rows of a curve without times, each with the values that it has."""
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        return [{name: float(value) for name, value in row.items() if value and name != "seconds"} for row in rows]


def write_curve(rows: list[dict[str, float]], path: Path) -> None:
    """Write rows as CSV, with seven digits."""
    with path.open("w", newline="") as file:
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.7g}" for name, value in row.items()} for row in rows)


def _ignore(step: int, values: Mapping[str, Any]) -> None:
    pass


if __name__ == "__main__":
    for task_name in sys.argv[1:] or TASKS:
        with tempfile.TemporaryDirectory() as temporary:
            write_curve(record(task_name, Path(temporary)), GOLDEN / f"{task_name}.csv")
