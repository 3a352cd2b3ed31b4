"""Tables for people: one pandas frame to csv (all digits), md and tex (rounded, titled)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from gvf.storage.files import atomic_path

ABSENT = "n/a"
_TEX_SPECIAL = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}"}
    | {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "~": r"$\sim$", "×": r"$\times$", "±": r"$\pm$"}
)


@dataclass(frozen=True)
class Column:
    """A column of a table. format: of `str.format` for numbers (`{:.2f}`, `{:.1%}`); best: `max`, `min` or none."""

    key: str
    title: str
    format: str = "{}"
    best: str | None = None

    @property
    def heading(self) -> str:
        """The title with the direction in which the figure is better."""
        return self.title + {"max": " ↑", "min": " ↓", None: ""}[self.best]


# How each figure is called and rounded, wherever it is shown.
COLUMNS = {
    column.key: column
    for column in (
        Column("group", "Group"),
        Column("method", "Method"),
        Column("num_clips", "Clips"),
        Column("clip_id", "Clip"),
        Column("family", "Family"),
        Column("asset_seen", "Asset seen"),
        Column("psnr", "PSNR", "{:.2f}", "max"),
        Column("ssim", "SSIM", "{:.3f}", "max"),
        Column("ssim_cropped", "SSIM without border", "{:.3f}", "max"),
        Column("lpips", "LPIPS", "{:.3f}", "min"),
        Column("clip", "CLIP", "{:.3f}", "max"),
        Column("fvd", "FVD", "{:.2f}", "min"),
        Column("chamfer", "Chamfer", "{:.4f}", "min"),
        Column("gap_closed", "Gap closed", "{:.1%}", "max"),
        Column("time", "Time"),
        Column("time_in_all", "Time with alignment and rendering"),
    )
}


def columns_of(table: pd.DataFrame) -> list[Column]:
    """The columns of a frame as they are shown; a name not in COLUMNS titles itself."""
    return [_column(str(name)) for name in table.columns]


def _column(name: str) -> Column:
    figure, is_published = name.removesuffix("_published"), name.endswith("_published")
    if is_published and figure in COLUMNS:
        return replace(COLUMNS[figure], key=name, title=f"{COLUMNS[figure].title} published")
    return COLUMNS.get(name, Column(name, name.replace("_", " ").capitalize()))


def numeric_columns(table: pd.DataFrame) -> list[bool]:
    """Which columns hold numbers, or figures worded as text, and are aligned to the right."""
    kinds = table.dtypes
    numbers = [pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind) for kind in kinds]
    return [number or column.best is not None for number, column in zip(numbers, columns_of(table))]


def cell(value: object, column: Column) -> str:
    """One value as text; missing ones read n/a."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return column.format.format(value) if isinstance(value, int | float) else str(value)


def rows_of(table: pd.DataFrame, columns: Sequence[Column]) -> list[list[str]]:
    """Every row of a frame as text."""
    rows = table.astype(object).values.tolist()
    return [[cell(value, column) for value, column in zip(row, columns)] for row in rows]


def to_markdown(table: pd.DataFrame, caption: str) -> str:
    """A pipe table under its caption, padded so that it reads as plain text too."""
    columns = columns_of(table)
    rows = [[column.heading for column in columns], *rows_of(table, columns)]
    rows = [[text.replace("|", "\\|") for text in row] for row in rows]
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(columns))]
    numeric = numeric_columns(table)
    lines = [_pipe(text.rjust(w) if n else text.ljust(w) for text, w, n in zip(row, widths, numeric)) for row in rows]
    rule = _pipe("-" * (width - 1) + ":" if right else "-" * width for width, right in zip(widths, numeric))
    return "\n".join([caption, "", lines[0], rule, *lines[1:], ""])


def to_latex(table: pd.DataFrame, caption: str, label: str) -> str:
    """A booktabs table."""
    columns = columns_of(table)
    align = "".join("r" if numeric else "l" for numeric in numeric_columns(table))
    body = [" & ".join(text.translate(_TEX_SPECIAL) for text in row) + r" \\" for row in rows_of(table, columns)]
    heading = " & ".join(column.heading.translate(_TEX_SPECIAL) for column in columns) + r" \\"
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption.translate(_TEX_SPECIAL)}}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{{align}}}",
            r"\toprule",
            heading,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def write_table(table: pd.DataFrame, folder: Path, name: str, caption: str, shown: pd.DataFrame | None = None) -> None:
    """Write `name`.csv, .md and .tex in `folder`; `shown` is what people read in the latter two, by default the same."""
    shown = table if shown is None else shown
    written = {
        "csv": table.to_csv(index=False, lineterminator="\n"),
        "md": to_markdown(shown, caption),
        "tex": to_latex(shown, caption, name),
    }
    for suffix, text in written.items():
        with atomic_path(folder / f"{name}.{suffix}") as partial:
            partial.write_text(text, encoding="utf-8")


def _pipe(cells: object) -> str:
    return "| " + " | ".join(cells) + " |"  # type: ignore[arg-type]
