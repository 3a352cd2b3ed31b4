"""The report page: one HTML file with its style, charts and images inside, made from templates and plain data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gvf_evaluation.reporting.shown_clips import ShownClip
from gvf_evaluation.tables import as_text, numeric_columns


@dataclass(frozen=True)
class Table:
    """A table as text. numeric: per column, whether it is aligned to the right. strong: per row, whether it is bold."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[bool]
    strong: Sequence[bool]


@dataclass(frozen=True)
class Tile:
    """A headline value with its meaning in one line."""

    title: str
    value: str
    note: str


@dataclass(frozen=True)
class RunLink:
    """An MLflow run with its address in MLflow's UI."""

    stage: str
    name: str
    url: str


@dataclass(frozen=True)
class ShownShape:
    """The object of one clip's first frame. rows: label, number of views side by side, and these as a data URI."""

    clip_id: str
    caption: str
    rows: Sequence[tuple[str, int, str]]


@dataclass(frozen=True)
class ShapeSection:
    """Objects that were generated from first frames.

    num_better: objects, of `num_compared`, whose voxel IoU is above that of the nearest training object. shown: the worst ones.
    """

    caption: str
    table: Table
    groups: Table
    failed: Table | None
    num_better: int
    num_compared: int
    shown: Sequence[ShownShape]


@dataclass(frozen=True)
class Page:
    """Everything the template shows, in its order; charts are HTML.

    definitions: what each metric measures. shapes: None where no objects were generated. shown: by group. curves,
    stage_metrics: one entry per stage, with its name.
    """

    measurement: Mapping[str, Any]
    tiles: Sequence[Tile]
    quality: Table
    definitions: Mapping[str, str]
    failed: Table | None
    video_only: Table | None
    groups: Table
    shapes: ShapeSection | None
    shown: Mapping[str, Sequence[ShownClip]]
    num_failures: int
    over_time: Sequence[Markup]
    over_time_table: Table
    over_time_caption: str
    gaps: Markup
    gaps_table: Table
    curves: Sequence[tuple[str, Sequence[Markup]]]
    decisions: Markup
    rejected: Table | None
    num_rejected: int
    table_1: Table
    table_1_caption: str
    quality_against_time: Markup | None
    timing: str
    device: str
    runs: Sequence[RunLink]
    stage_metrics: Sequence[tuple[str, Table]]


def render_template(name: str, page: object) -> str:
    """Return one of the templates with `page` and the style filled in."""
    environment = Environment(
        loader=PackageLoader("gvf_evaluation.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _with_code
    style = Markup(environment.get_template("style.css").render())
    return environment.get_template(name).render(page=page, style=style) + "\n"


def table_of(frame: pd.DataFrame, strong: Callable[[list[str]], bool] = lambda row: False) -> Table:
    """Return a frame as a table of text. strong: which rows are bold, by their cells."""
    text = as_text(frame)
    rows = text.values.tolist()
    return Table(text.columns.tolist(), rows, numeric_columns(frame), [strong(row) for row in rows])


def _with_code(text: str) -> Markup:
    """Return a message as HTML, with what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))
