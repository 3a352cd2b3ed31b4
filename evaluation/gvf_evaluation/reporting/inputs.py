"""Read and check the files of the other stages that the report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gvf.data.manifest import read_manifest
from gvf.errors import UserError
from gvf.methods import DIT, VAE
from gvf.stage_table import STAGES, TRAINING_STAGES
from gvf.storage.files import read_json
from gvf.tracking import run_records
from gvf.workspace import Workspace
from gvf_evaluation.results import read_results
from gvf_evaluation.score_files import ScoreFiles

COMPARED = (VAE, DIT)  # methods that the page compares with the references and with each other
SHOWN_STAGES = tuple(name for name in STAGES if name != "report")


@dataclass(frozen=True)
class ReportInputs:
    """Tables and records of the other stages.

    measurement, clips, summary, frames: as `evaluate` wrote them. manifest: the curated one. generation: on which device
    `sample` generated, and in which batches. shapes: objects of first frames by clip and by group, None where none were
    generated. results: of `read_results`. curves, metrics: by stage. runs: records
    of the MLflow runs behind the stages' outputs, of those that were tracked on this machine.
    """

    measurement: Mapping[str, Any]
    clips: pd.DataFrame
    summary: pd.DataFrame
    frames: pd.DataFrame
    manifest: pd.DataFrame
    generation: Mapping[str, Any]
    shapes: tuple[pd.DataFrame, pd.DataFrame] | None
    results: Sequence[Mapping[str, Any]]
    curves: Mapping[str, pd.DataFrame]
    metrics: Mapping[str, Mapping[str, float]]
    runs: Mapping[str, Mapping[str, Any]]


def read_inputs(workspace: Workspace) -> ReportInputs:
    """Read what the report needs. Raises UserError when a file is missing or broken, or lacks a method to compare."""
    files = ScoreFiles(workspace.scores)
    measurement = read_json(files.measurement)
    clips, summary, frames = (_read_table(path) for path in (files.clips, files.summary, files.frames))
    check_methods(summary, files.summary)
    return ReportInputs(
        measurement=measurement,
        clips=clips,
        summary=summary,
        frames=frames,
        manifest=read_manifest(workspace.curated_manifest),
        generation=read_json(workspace.generation),
        shapes=(_read_table(files.shapes), _read_table(files.shape_summary)) if workspace.shapes.is_dir() else None,
        results=read_results(workspace),
        curves={stage: _read_table(workspace.curve(stage)) for stage in TRAINING_STAGES},
        metrics={stage: read_json(workspace.metrics(stage)) for stage in SHOWN_STAGES},
        runs={stage: record for stage in SHOWN_STAGES if (record := run_records.find(workspace, stage)) is not None},
    )


def check_methods(summary: pd.DataFrame, path: Path) -> None:
    """Raise UserError when a summary lacks one of the methods that the page compares. path: where it was read from."""
    if absent := [name for name in COMPARED if name not in set(summary["method"])]:
        raise UserError(
            f"{path}: has no values for {' and '.join(absent)}, and the report compares {' with '.join(COMPARED)}. Set "
            f"sample.methods to [{', '.join(COMPARED)}] and run `dvc repro`."
        )


def _read_table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run the stage that writes it (`dvc repro`).") from None
