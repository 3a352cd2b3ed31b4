"""The report page: one HTML file with its style and pictures inside, made from templates and plain data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gvf_evaluation.reporting.charts import LineChart, Lines, Scatter, line_chart
from gvf_evaluation.reporting.shown_clips import ShownClip
from gvf_evaluation.tables import columns_of, numeric_columns, rows_of

# Columns of a curve file that are settings rather than results.
_NOT_CURVES = ("step", "learning_rate")
AXIS_STEP, LOWEST = 0.25, -1.0  # of the chart of gaps closed; what lies below is drawn at its edge


@dataclass(frozen=True)
class Table:
    """headings and rows of text; numeric: which columns are right aligned; strong: rows to stress."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[bool]
    strong: Sequence[bool]


@dataclass(frozen=True)
class Tile:
    """A headline figure with its meaning in one line."""

    title: str
    figure: str
    note: str


@dataclass(frozen=True)
class Bar:
    """A count of clips. share: percent of the longest bar. kind: style of the bar."""

    label: str
    count: int
    share: float
    kind: str


@dataclass(frozen=True)
class GapRow:
    """A clip's gaps closed. vae, dit: positions on the axis in percent, None without a gap; text: the figures."""

    clip_id: str
    vae: float | None
    dit: float | None
    text: str


@dataclass(frozen=True)
class Curves:
    """All charts of one training stage."""

    stage: str
    charts: list[LineChart]


@dataclass(frozen=True)
class RunLink:
    """An MLflow run. url: its address in MLflow's UI."""

    stage: str
    name: str
    url: str


@dataclass(frozen=True)
class Page:
    """Everything the template shows, in its order."""

    measurement: Mapping[str, Any]
    tiles: Sequence[Tile]
    quality: Table
    groups: Table
    over_time: Sequence[Lines]
    over_time_table: Table
    over_time_caption: str
    shown: Sequence[ShownClip]
    failures: Sequence[ShownClip]
    num_failures: int
    gaps: Sequence[GapRow]
    axis: Sequence[tuple[float, str]]
    curves: Sequence[Curves]
    decisions: Sequence[Bar]
    rejected: Table | None
    table_1: Table
    table_1_caption: str
    quality_against_time: Scatter | None
    timing: str
    device: str
    runs: Sequence[RunLink]
    figures: Sequence[tuple[str, Table]]


def render(page: Page) -> str:
    """The page as HTML."""
    return render_template("index.html", page)


def render_template(name: str, page: object) -> str:
    """One of the templates with `page` and the style filled in."""
    environment = Environment(
        loader=PackageLoader("gvf_evaluation.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup(environment.get_template("style.css").render())
    return environment.get_template(name).render(page=page, style=style) + "\n"


def table_of(frame: pd.DataFrame, strong: Callable[[list[str]], bool] = lambda row: False) -> Table:
    """A frame as text; strong: which rows to stress."""
    columns = columns_of(frame)
    rows = rows_of(frame, columns)
    return Table([c.heading for c in columns], rows, numeric_columns(frame), [strong(row) for row in rows])


def curves_of(stage: str, curve: pd.DataFrame) -> Curves:
    """Charts of every column of a curve, the loss first."""
    names = [str(name) for name in curve.columns if name not in _NOT_CURVES]
    names.sort(key=lambda name: name != "loss")
    charts = [line_chart(name.replace("_", " "), curve["step"].tolist(), curve[name].tolist()) for name in names]
    return Curves(stage, [chart for chart in charts if chart is not None])


def decision_bars(clips: pd.DataFrame) -> list[Bar]:
    """Counts of clips by split and by reason of rejection. clips: the curated manifest."""
    kept = clips[clips["decision"] == "accepted"]["split"].value_counts()
    dropped = clips[clips["decision"] != "accepted"]["reason"].value_counts()
    counts = [
        ("accepted, training", int(kept.get("train", 0)), "kept"),
        ("accepted, held out", int(kept.get("held_out", 0)), "kept"),
    ]
    counts += [(f"rejected: {reason}", int(count), "dropped") for reason, count in sorted(dropped.items(), key=str)]
    longest = max(count for _, count, _ in counts) or 1
    return [Bar(label, count, round(100 * count / longest, 2), kind) for label, count, kind in counts]


def gap_rows(clips: pd.DataFrame, low: float) -> list[GapRow]:
    """Return one row per clip, the largest gap closed by the DiT first; clips without a gap last. low: start of the axis."""
    gaps = clips.pivot(index="clip_id", columns="method", values="gap_closed")
    gaps = gaps.sort_values(["dit", "vae"], ascending=False, na_position="last", kind="stable")
    rows = []
    for clip_id, gap in gaps.iterrows():
        vae, dit = float(gap["vae"]), float(gap["dit"])
        text = f"VAE {vae:.0%}, DiT {dit:.0%}" if dit == dit else "hardly moves in these views"
        rows.append(GapRow(str(clip_id), axis_position(vae, low), axis_position(dit, low), text))
    return rows


def axis_low(clips: pd.DataFrame) -> float:
    """Where the axis of gaps starts: a quarter below zero, or as many as the worst clip needs, down to -100 %."""
    worst = clips["gap_closed"].min(skipna=True)
    return max(LOWEST, min(-AXIS_STEP, math.floor(worst / AXIS_STEP) * AXIS_STEP)) if worst == worst else -AXIS_STEP


def axis_position(value: float, low: float) -> float | None:
    """Percent along the axis of gaps, from `low` to 1, held inside it; None for NaN."""
    if value != value:
        return None
    return round(100 * (min(max(value, low), 1.0) - low) / (1.0 - low), 2)


def gap_axis(low: float) -> list[tuple[float, str]]:
    """Ticks of the axis of gaps: position in percent, text."""
    step = AXIS_STEP if low > -2 * AXIS_STEP else 2 * AXIS_STEP
    ticks = [index * step for index in range(math.ceil(low / step), round(1 / step) + 1)]
    return [(axis_position(value, low) or 0.0, f"{value:.0%}") for value in ticks]
