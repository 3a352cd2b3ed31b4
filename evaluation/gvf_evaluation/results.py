"""Result files of scored methods, and Table 1, which shows them beside the published values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gvf.data.manifest import slug
from gvf.errors import UserError
from gvf.methods import DIT, REFINED
from gvf.metrics.metric import PointMetric
from gvf.metrics.table import METRICS
from gvf.storage.files import read_json, write_json
from gvf.workspace import Workspace
from gvf_evaluation.frame_folders import joint_digest
from gvf_evaluation.published import TABLE_1_DEVICE, table_1

PUBLISHED, MEASURED = "published", "measured"
# Video to 4D has no ground-truth surface to compare points with.
_METRICS = [name for name, metric in METRICS.items() if not isinstance(metric, PointMetric)]
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}  # of times, in seconds
_COLUMNS = ("method", "source", *_METRICS, "time", "time_in_all", "protocol", "data", "device")
# Fields of a result that Table 1 reads as text, and the times among its others.
_TEXTS = ("method", "protocol", "data", "ground_truth_sha256", "device")
_TIMES = ("seconds", "seconds_in_all")

TABLE_1_CAPTION = (
    "Table 1, video to 4D: published values beside measured ones. Published rows are Table 1 of the paper: n = 100 objects at "
    "512 x 512 pixels, time on one A100 without alignment and rendering; their evaluation code is not public. Measured rows "
    "are the last run of this pipeline and methods scored with gvf evaluate --predictions (files in reports/benchmark); the "
    "column Data says over how many objects or clips they are averaged. SSIM covers all pixels, as in torchmetrics since "
    "release 1.4.2 (September 2024); SSIM without border leaves out 5 pixels on each side, as earlier releases did, and holds "
    "the published values. Measured LPIPS uses VGG16, unless its column says AlexNet. The generation time of this pipeline is "
    "on the page (reports/index.html) and not in the table, so that the same models always give the same table. Compare only "
    "rows with the same protocol and data."
)


def file_name(method: str, protocol: str, data: str) -> str:
    """Return a file name without suffix that is unique to a method, protocol and data set.

    It reads `<slug of method>--<protocol>--<8 hex digits>`, the digits being a digest of method and data.
    """
    return f"{slug(method)}--{protocol}--{joint_digest([method, data])[:8]}"


def result_path(workspace: Workspace, method: str, protocol: str, ground_truth_sha256: str) -> Path:
    """Return the path of the result of a method under a protocol on a data set, given by its ground truth's digest."""
    return workspace.benchmark / f"{file_name(method, protocol, ground_truth_sha256)}.json"


def write_result(workspace: Workspace, result: Mapping[str, Any]) -> Path:
    """Write a result to its `result_path`, replacing an earlier one of the same method, protocol and ground truth."""
    path = result_path(workspace, result["method"], result["protocol"], result["ground_truth_sha256"])
    write_json(path, result)
    return path


def read_results(workspace: Workspace) -> list[dict[str, Any]]:
    """Return all results in the order of file names. Raises UserError for a file that is no result, saying why."""
    results = []
    for path in sorted(workspace.benchmark.glob("*.json")):
        result = read_json(path)
        if (flaw := _flaw(result)) is not None:
            raise UserError(
                f"{path}: not a result of `gvf evaluate --predictions`: {flaw}. Remove it or score the method again."
            )
        results.append(result)
    return results


def table_1_rows(results: Sequence[Mapping[str, Any]], pipeline: Sequence[Mapping[str, Any]] = ()) -> pd.DataFrame:
    """Return Table 1: published rows, the rows of this pipeline, then other measured ones.

    Metrics and times that no row has are left out.

    results: of `read_results`. pipeline: of `pipeline_rows`. Published SSIM is in the column `ssim_cropped`.
    """
    published = (
        table_1()
        .rename(columns={"ssim": "ssim_cropped"})
        .assign(
            time_in_all=None, source=PUBLISHED, protocol="the paper's own", data="100 objects", device=TABLE_1_DEVICE
        )
    )
    rows: list[Mapping[Any, Any]] = [
        *published.to_dict("records"),
        *pipeline,
        *(_row(result) for result in results),
    ]
    table = pd.DataFrame([{name: row.get(name) for name in _COLUMNS} for row in rows])
    return table.dropna(axis="columns", how="all")


def pipeline_rows(summary: pd.DataFrame, measurement: Mapping[str, Any], generated_on: str) -> list[dict[str, Any]]:
    """Return the rows of Table 1 for this pipeline's last run: the DiT, and its refined motion where that was sampled.

    summary, measurement: as the stage `evaluate` wrote them. generated_on: the device of the stage `sample`. The rows have no
    time, since tables must be the same after every `dvc repro`.
    """
    found = {row["method"]: row for row in summary[summary["group"] == "all"].to_dict("records")}
    facts = {
        "source": MEASURED,
        "protocol": "gvf's formulas, {num_frames} frames of {image_size} pixels, canonical from the mesh".format(
            **measurement
        ),
        "data": "{data}, {num_clips} held-out clips".format(**measurement),
        "device": devices(generated_on, measurement["device"]),
    }
    return [
        {
            "method": f"gvf, preset {measurement['preset']} ({label})",
            **{name: found[method].get(name) for name in _METRICS},
            **facts,
        }
        for method, label in ((DIT, "DiT"), (REFINED, "DiT, refined"))
        if method in found
    ]


def devices(generated_on: str | None, scored_on: str) -> str:
    """Return in words on which devices frames were generated, if known, and scored."""
    return f"generated on {generated_on}; scored on {scored_on}" if generated_on else f"scored on {scored_on}"


def _row(result: Mapping[str, Any]) -> dict[str, Any]:
    generation = result["generation"]
    seconds, in_all = (generation[name] for name in _TIMES)
    return {
        "method": result["method"],
        **result["metrics"],
        "time": None if seconds is None else time_of(seconds),
        "time_in_all": None if in_all is None else time_of(in_all),
        "source": MEASURED,
        "protocol": result["protocol"],
        "data": f"{result['data']} #{result['ground_truth_sha256'][:8]}",
        "device": devices(generation["device"], result["device"]),
    }


def seconds_of(time: str) -> float:
    """Return the seconds of a published time: `3.5 s`, `~20 min`, `~1.5 h`. Raises ValueError for anything else."""
    match = re.fullmatch(r"~?([0-9.]+) (s|min|h)", time)
    if match is None:
        raise ValueError(f"{time!r} is not a time like '3.5 s', '~20 min' or '~1.5 h'")
    return float(match[1]) * _UNITS[match[2]]


def time_of(seconds: float) -> str:
    """Return a time as Table 1 prints it, to three digits in the largest unit it reaches: `3.5 s`, `20 min`, `1.5 h`."""
    unit = next((name for name in ("h", "min") if seconds >= _UNITS[name]), "s")
    return f"{seconds / _UNITS[unit]:.3g} {unit}"


def _flaw(result: object) -> str | None:
    """Return why a parsed file is not a result, or None when it is one."""
    if not isinstance(result, dict):
        return "it must be a JSON object"
    for name in _TEXTS:
        if not isinstance(result.get(name), str):
            return f"its {name!r} is missing or not text"
    generation, metrics = result.get("generation"), result.get("metrics")
    if not isinstance(generation, dict) or not generation.keys() >= {*_TIMES, "device"}:
        return f"its 'generation' must have {', '.join(_TIMES)} and device"
    for name in _TIMES:
        if generation[name] is not None and not (_is_number(generation[name]) and generation[name] > 0):
            return f"its 'generation.{name}' is {generation[name]!r}, must be null or seconds above zero"
    if not isinstance(generation["device"], str | None):
        return "its 'generation.device' must be null or text"
    if not isinstance(metrics, dict) or not all(map(_is_number, metrics.values())):
        return "its 'metrics' must be finite numbers by name"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
