"""Tables 2, 3, 5 and 6: what the paper published for each variant beside what was measured here, seed by seed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from evaluation import published

METRICS = ("psnr", "ssim", "lpips", "clip", "fvd")
RISING = {"psnr", "ssim", "clip"}


@dataclass(frozen=True)
class AblationTable:
    """number: in the paper. model: whose variants. rows: variants in the order of the published table's rows.

    published: that table; its columns that are not metrics say what a row changes.
    """

    number: int
    title: str
    model: str
    rows: tuple[str, ...]
    published: pd.DataFrame


TABLES = (
    AblationTable(2, "Parts of the VAE", "vae", ("A", "B", "C", "ours"), published.table_2()),
    AblationTable(3, "Position embedding of the DiT", "dit", ("no-positions", "ours"), published.table_3()),
    AblationTable(5, "Finetuning of the Gaussian decoder", "vae", ("frozen-decoder", "ours"), published.table_5()),
    AblationTable(
        6,
        "Mesh-guided interpolation",
        "vae",
        ("k16", "ours", "k4", "k1", "beta10", "beta4", "beta1"),
        published.table_6(),
    ),
)


def tables_of(model: str, variant: str) -> list[int]:
    """The numbers of the tables a variant stands in."""
    return [table.number for table in TABLES if table.model == model and variant in table.rows]


def ablation_frame(table: AblationTable, results: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a variant: what it changes, then each metric published, measured (mean over seeds) and its deviation.

    results: of `gvf ablate`, of any model and variant. Columns: the settings of the published table, `seeds` (how many
    were measured), and for every metric `<name>_published`, `<name>`, `<name>_std` (of n - 1, NaN for one seed), the
    last two NaN where nothing was measured; `gap_closed` with its deviation at the end.
    """
    rows = []
    for variant, row in zip(table.rows, table.published.to_dict("records"), strict=True):
        figures = pd.DataFrame([r["figures"] for r in results if r["model"] == table.model and r["variant"] == variant])
        values: dict[str, Any] = {str(name): value for name, value in row.items() if name not in METRICS}
        values["seeds"] = len(figures)
        for name in (*METRICS, "gap_closed"):
            if name in METRICS and name not in row:
                continue
            column = f"{table.model}_{name}"
            measured = figures[column].dropna() if column in figures else pd.Series(dtype=float)
            if name in METRICS:
                values[f"{name}_published"] = row[name]
            values[name] = measured.mean()
            values[f"{name}_std"] = measured.std()
        rows.append(values)
    return pd.DataFrame(rows)


def compare_order(table: AblationTable, frame: pd.DataFrame, metric: str = "psnr") -> str:
    """Whether the variants come in the paper's order by a metric, in one or two sentences.

    Two variants count as told apart when their means differ by more than the two deviations' root sum of squares.
    frame: of `ablation_frame`.
    """
    measured = frame[metric].notna()
    if measured.sum() < 2:
        return f"Table {table.number}: fewer than two variants were measured."
    names = [name for name, there in zip(table.rows, measured) if there]
    rows = frame[measured].reset_index(drop=True)
    sign = 1.0 if metric in RISING else -1.0
    theirs = _ranked(names, rows[f"{metric}_published"], sign)
    ours = _ranked(names, rows[metric], sign)
    swapped: list[str] = []
    unclear: list[str] = []
    for first, second in itertools.combinations(range(len(names)), 2):
        expected = sign * (rows[f"{metric}_published"][first] - rows[f"{metric}_published"][second])
        found = sign * (rows[metric][first] - rows[metric][second])
        if expected * found >= 0:
            continue
        spread = float(rows[[f"{metric}_std"]].iloc[[first, second]].fillna(0.0).pow(2).sum().iloc[0]) ** 0.5
        pair = f"{names[first]} and {names[second]} ({abs(found):.2f} apart)"
        (swapped if abs(found) > spread else unclear).append(pair)
    text = f"Table {table.number} by {metric.upper()}, best first: the paper {' > '.join(theirs)}; here {' > '.join(ours)}."
    if swapped:
        text += f" The order differs for {', '.join(swapped)}."
    if unclear:
        text += f" Swapped within the spread over seeds: {', '.join(unclear)}."
    return text if swapped or unclear else f"{text} The same order."


def _ranked(names: Sequence[str], values: pd.Series, sign: float) -> list[str]:
    return [name for _, name in sorted(zip(-sign * values, names), key=lambda pair: pair[0])]
