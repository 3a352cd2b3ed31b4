"""Results of scored methods as files, and the rows that Table 1 makes of them beside the published ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.published import TABLE_1_DEVICE, table_1
from gvf.data.manifest import slug
from gvf.errors import UserError
from gvf.files import read_json, write_json

RESULTS = Path("reports/benchmark")
PUBLISHED, MEASURED = "published", "measured"
_MEASURES = ("psnr", "lpips", "ssim", "clip", "fvd")
_COLUMNS = ("method", "source", *_MEASURES, "time", "time_in_all", "protocol", "data", "device")
# Fields of a result that Table 1 reads.
_FIELDS = {"method", "protocol", "data", "truth_sha256", "device", "generation", "metrics"}

TABLE_1_CAPTION = (
    "Video to 4D, published beside measured. Published: Table 1 of the paper, on 100 objects at 512 x 512 pixels, time on one "
    "A100 without alignment and rendering; its evaluation code is not public. Measured: by gvf evaluate --predictions (the "
    "files in reports/benchmark), and this pipeline's own last run. Only rows of one protocol and one data set compare."
)


def result_path(method: str, protocol: str) -> Path:
    """Where a method's result under a protocol lies; names that differ in more than letters and digits share it."""
    return RESULTS / f"{slug(method)}--{protocol}.json"


def write_result(result: Mapping[str, Any]) -> Path:
    """Write a result as `result_path` says."""
    path = result_path(result["method"], result["protocol"])
    write_json(path, result)
    return path


def read_results() -> list[dict[str, Any]]:
    """Every result, in the order of file names. Raises UserError for a file that is not one."""
    results = []
    for path in sorted(RESULTS.glob("*.json")):
        result = read_json(path)
        if not isinstance(result, dict) or not result.keys() >= _FIELDS:
            raise UserError(
                f"{path}: not a result of `gvf evaluate --predictions`. Remove it or score the method again."
            )
        results.append(result)
    return results


def table_1_rows(results: Sequence[Mapping[str, Any]], pipeline: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Table 1: published rows, then this pipeline's, then other measured ones, each with source, protocol, data, device.

    results: of `read_results`. pipeline: of `pipeline_row`.
    """
    published = table_1().assign(
        time_in_all=None, source=PUBLISHED, protocol="the paper's own", data="100 objects", device=TABLE_1_DEVICE
    )
    rows: list[Mapping[Any, Any]] = [
        *published.to_dict("records"),
        *([pipeline] if pipeline else []),
        *(_row(result) for result in results),
    ]
    return pd.DataFrame([{name: row.get(name) for name in _COLUMNS} for row in rows], columns=list(_COLUMNS))


def pipeline_row(summary: pd.DataFrame, measurement: Mapping[str, Any]) -> dict[str, Any]:
    """The DiT of this pipeline's last run. summary, measurement: what the stage `evaluate` wrote.

    Without its time: tables are the same after every `dvc repro`, times are not.
    """
    (row,) = summary[(summary["group"] == "all") & (summary["method"] == "dit")].to_dict("records")
    return {
        "method": f"gvf, preset {measurement['preset']} (DiT)",
        **{name: row.get(name) for name in _MEASURES},
        "source": MEASURED,
        "protocol": "gvf's formulas, {num_frames} frames of {image_size} pixels, canonical from the mesh".format(
            **measurement
        ),
        "data": "{data}, {num_clips} held-out clips".format(**measurement),
        "device": measurement["device"],
    }


def _row(result: Mapping[str, Any]) -> dict[str, Any]:
    generation = result["generation"]
    made_on = f"{generation['device']}; " if generation["device"] else ""
    return {
        "method": result["method"],
        **result["metrics"],
        "time": _seconds(generation["seconds"]),
        "time_in_all": _seconds(generation["seconds_in_all"]),
        "source": MEASURED,
        "protocol": result["protocol"],
        "data": f"{result['data']} #{result['truth_sha256'][:8]}",
        "device": f"{made_on}scored on {result['device']}",
    }


def seconds_of(time: str) -> float:
    """Seconds of a time as Table 1 words it: `3.5 s`, `~20 min`, `~1.5 h`. Raises ValueError for anything else."""
    match = re.fullmatch(r"~?([0-9.]+(?:e[+-]?[0-9]+)?) (s|min|h)", time)
    if match is None:
        raise ValueError(f"{time!r} is no time of Table 1")
    return float(match[1]) * {"s": 1.0, "min": 60.0, "h": 3600.0}[match[2]]


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g} s"
