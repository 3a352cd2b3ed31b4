"""The page of ablations: Tables 2, 3, 5 and 6 with images of every variant."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pandas as pd

from gvf_evaluation.ablations import (
    PUBLISHED_METRICS,
    AblationTable,
    ablation_frame,
    compare_beyond,
    compare_order,
    compare_to_standing_still,
    seed_noise,
)
from gvf_evaluation.reporting.page import Table, render_template, table_of
from gvf_evaluation.tables import cell, column


@dataclass(frozen=True)
class Strip:
    """Frames of one clip side by side, as a data URI. name: the variant that generated or reconstructed them."""

    name: str
    clip: str
    image: str


@dataclass(frozen=True)
class Section:
    """One table. order: how the order of its variants compares with the published one.

    compare: address of MLflow's page that compares its runs; None where they were not tracked.
    """

    title: str
    table: Table
    order: str
    strips: Sequence[Strip]
    compare: str | None


@dataclass(frozen=True)
class AblationsPage:
    """Everything the template shows, in its order."""

    caption: str
    sections: Sequence[Section]


def render(page: AblationsPage) -> str:
    """Return the page as HTML."""
    return render_template("ablations.html", page)


def build_section(
    table: AblationTable,
    results: Sequence[Mapping[str, Any]],
    strips: Sequence[Strip],
    records: Sequence[Mapping[str, str]],
) -> Section:
    """Return a section: a table and how its order of variants compares. records: its MLflow runs, for `compare_url`."""
    frame = ablation_frame(table, results)
    noise = seed_noise(table.model, results)
    sentences = (
        compare_order(table, frame, noise),
        compare_beyond(table, frame, noise),
        compare_to_standing_still(table, frame),
    )
    return Section(
        title=f"Table {table.number}: {table.title}",
        table=table_of(presented(frame)),
        order=" ".join(sentence for sentence in sentences if sentence),
        strips=strips,
        compare=compare_url(records),
    )


def measured_caption(results: Sequence[Mapping[str, Any]]) -> str:
    """Return sentences that say how the values of the tables were measured and what can be compared."""
    common = {name: ", ".join(sorted({str(result[name]) for result in results})) for name in ("preset", "data", "code")}
    return (
        "Measured: preset {preset}, data {data}, code {code}, {num_runs} runs; mean ± standard deviation over seeds. Gap closed "
        "is relative to each variant's own references, which differ if its canonical Gaussians do. Published: values of the "
        "paper, with larger models, other data and another image size. Only the order of variants can be compared with "
        "them.".format(**common, num_runs=len(results))
    )


def presented(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table for readers: each measured mean and its deviation in one column of text, `mean ± deviation`.

    Published values have as many decimals as the paper prints in that column. frame: of `ablation_frame`.
    """
    columns: dict[str, Any] = {}
    for name in (name for name in frame.columns if not name.endswith("_std")):
        if name.endswith("_published"):
            decimals = max(len(repr(value).partition(".")[2]) for value in frame[name].tolist())
            columns[name] = [cell(value, f"{{:.{decimals}f}}") for value in frame[name]]
        elif name in (*PUBLISHED_METRICS, "gap_closed"):
            columns[name] = [_mean_and_deviation(name, *pair) for pair in zip(frame[name], frame[f"{name}_std"])]
        else:
            columns[name] = frame[name]
    return pd.DataFrame(columns)


def _mean_and_deviation(name: str, mean: float, deviation: float) -> str:
    form = column(name).format
    return cell(mean, form) if pd.isna(deviation) else f"{cell(mean, form)} ± {cell(deviation, form)}"


def compare_url(records: Sequence[Mapping[str, str]]) -> str | None:
    """Return the address where MLflow compares these runs' parents, the variants; None for fewer than two.

    records: as `ablate` writes them.
    """
    runs = list(dict.fromkeys(record["parent_id"] for record in records))
    if len(runs) < 2:
        return None
    ui = records[0]["url"].partition("/#/")[0]
    experiments = sorted({record["experiment_id"] for record in records})
    return f"{ui}/#/compare-runs?runs={quote(json.dumps(runs))}&experiments={quote(json.dumps(experiments))}"
