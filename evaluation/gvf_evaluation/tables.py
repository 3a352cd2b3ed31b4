"""Tables as files: CSV with all digits, and Markdown and LaTeX with titles and rounded values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from gvf.methods import DIT, NEAREST, REFINED, VAE, VIDEO_ONLY
from gvf.metrics.table import METRICS
from gvf.storage.files import atomic_path

ABSENT = "n/a"
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}"}
    | {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "~": r"$\sim$", "×": r"$\times$", "±": r"$\pm$"}
)


@dataclass(frozen=True)
class Column:
    """How a column is shown. format: of `str.format` for numbers. higher_is_better: None when it is no metric."""

    title: str
    format: str = "{}"
    higher_is_better: bool | None = None

    @property
    def heading(self) -> str:
        """Return the title, with an arrow in the direction of better values."""
        return self.title if self.higher_is_better is None else f"{self.title} {'↑' if self.higher_is_better else '↓'}"


# Columns that are not metrics and whose names are not titles.
_COLUMNS = {
    "num_clips": Column("Clips"),
    "clip_id": Column("Clip"),
    "iou": Column("Voxel IoU", "{:.3f}", higher_is_better=True),
    "displacement_error": Column("Displacement error", "{:.3f}", higher_is_better=False),
    "motion": Column("Motion", "{:.2f}"),
    "gap_closed": Column("Gap closed", "{:.1%}", higher_is_better=True),
    "psnr_gained": Column("PSNR gained, dB", "{:+.2f}", higher_is_better=True),
    "motion_source": Column("Motion"),
    "time_in_all": Column("Time with alignment and rendering"),
}


_METHODS = {VAE: "VAE", DIT: "DiT", REFINED: "Refined", VIDEO_ONLY: "Video only", NEAREST: "Nearest object"}


def column(name: str) -> Column:
    """Return how a column is shown: a metric, its published values, that of one method (`dit_gap_closed`), or any other."""
    if name.endswith("_published"):
        measured = column(name.removesuffix("_published"))
        return replace(measured, title=f"{measured.title} (published)")
    method, _, measured_name = name.partition("_")
    if method in _METHODS and (measured_name in _COLUMNS or measured_name in METRICS):
        measured = column(measured_name)
        title = measured.title if measured.title.isupper() else measured.title[:1].lower() + measured.title[1:]
        return replace(measured, title=f"{_METHODS[method]}: {title}")
    if name in METRICS:
        metric = METRICS[name]
        return Column(metric.title, metric.format, metric.higher_is_better)
    return _COLUMNS.get(name, Column(_sentence_case(name)))


def definitions(table: pd.DataFrame) -> dict[str, str]:
    """Return what each metric of a table measures, by title."""
    return {METRICS[name].title: METRICS[name].definition for name in METRICS if name in table.columns}


def numeric_columns(table: pd.DataFrame) -> list[bool]:
    """Return for each column whether it holds numbers, or metrics written as text, and is aligned to the right."""
    return [
        (pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind))
        or column(str(name)).higher_is_better is not None
        for name, kind in table.dtypes.items()
    ]


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of the same shape with headings as column names, rounded values, and n/a for missing ones."""
    shown = [column(str(name)) for name in table.columns]
    rows = [[cell(value, one.format) for value, one in zip(row, shown)] for row in table.astype(object).values.tolist()]
    return pd.DataFrame(rows, columns=[one.heading for one in shown], dtype=str)


def cell(value: object, number_format: str = "{}") -> str:
    """Return one value as a line of text: n/a for missing ones, yes or no for booleans."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number_format.format(value) if isinstance(value, int | float) else " ".join(str(value).split())


def to_markdown(table: pd.DataFrame, caption: str) -> str:
    """Return a pipe table under its caption; it reads as plain text too."""
    text = as_text(table).map(_escape_pipes).rename(columns=_escape_pipes)
    align = ["right" if is_numeric else "left" for is_numeric in numeric_columns(table)]
    body = text.to_markdown(index=False, tablefmt="pipe", disable_numparse=True, colalign=align)
    return f"{caption}\n\n{body}\n"


def to_latex(table: pd.DataFrame, caption: str, label: str) -> str:
    """Return a booktabs table with its caption."""
    text = as_text(table).map(_escape_latex).rename(columns=_escape_latex)
    return text.style.hide(axis="index").to_latex(
        hrules=True,
        column_format=_alignment(numeric_columns(table)),
        caption=_escape_latex(caption),
        label=f"tab:{label}",
        position_float="centering",
    )


def write_table(table: pd.DataFrame, folder: Path, name: str, caption: str, shown: pd.DataFrame | None = None) -> None:
    """Write `name`.csv, .md and .tex in `folder`. shown: what the latter two hold instead of `table`, if given."""
    shown = table if shown is None else shown
    texts = {
        "csv": table.to_csv(index=False, lineterminator="\n"),
        "md": to_markdown(shown, caption),
        "tex": to_latex(shown, caption, name),
    }
    for suffix, text in texts.items():
        with atomic_path(folder / f"{name}.{suffix}") as partial:
            partial.write_text(text, encoding="utf-8")


def _alignment(is_numeric: Iterable[bool]) -> str:
    return "".join("r" if right else "l" for right in is_numeric)


def _escape_pipes(text: str) -> str:
    return text.replace("|", "\\|")


def _escape_latex(text: str) -> str:
    return text.translate(_LATEX)


def _sentence_case(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
