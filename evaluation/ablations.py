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
MOST_LISTED = 6  # pairs of variants in a sentence; more are counted


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
    """How the order of variants by a metric compares with the paper's, in a few sentences.

    Two variants are told apart when their means differ by more than the two deviations' root sum of squares; with one
    seed nothing is. Only pairs that the paper has apart are compared. frame: of `ablation_frame`.
    """
    measured = frame[metric].notna()
    if measured.sum() < 2:
        return f"Table {table.number}: fewer than two variants were measured."
    names = [name for name, there in zip(table.rows, measured) if there]
    rows = frame[measured].reset_index(drop=True)
    sign = 1.0 if metric in RISING else -1.0
    theirs = _ranked(names, rows[f"{metric}_published"], sign)
    ours = _ranked(names, rows[metric], sign)
    agreeing: list[str] = []
    swapped: list[str] = []
    unclear: list[str] = []
    num_pairs = 0
    for first, second in itertools.combinations(range(len(names)), 2):
        expected = sign * (rows[f"{metric}_published"][first] - rows[f"{metric}_published"][second])
        if expected == 0:
            continue
        num_pairs += 1
        found = sign * (rows[metric][first] - rows[metric][second])
        spread = float(rows[f"{metric}_std"].iloc[[first, second]].pow(2).sum(skipna=False)) ** 0.5
        pair = f"{names[first]} and {names[second]} ({abs(found):.2f} apart)"
        told_apart = abs(found) > spread  # never, where a deviation is NaN
        (unclear if not told_apart else agreeing if expected * found > 0 else swapped).append(pair)
    text = f"Table {table.number} by {metric.upper()}, best first: the paper {' > '.join(theirs)}; here {' > '.join(ours)}."
    if not unclear and not swapped:
        return f"{text} The same order, every pair further apart than its spread over seeds."
    for kinds, words in (
        (agreeing, "As in the paper, further apart than the spread over seeds"),
        (swapped, "The other way round than in the paper, further apart than the spread over seeds"),
        (unclear, "Not told apart, since the spread over seeds is larger or not known"),
    ):
        listed = ", ".join(kinds) if len(kinds) <= MOST_LISTED else f"{len(kinds)} of {num_pairs} pairs"
        text += f" {words}: {listed}." if kinds else ""
    return text


def compare_to_standing_still(table: AblationTable, frame: pd.DataFrame) -> str | None:
    """A sentence when no variant of a table is better than its canonical Gaussians without motion, otherwise None.

    frame: of `ablation_frame`.
    """
    gaps = frame["gap_closed"].dropna()
    if gaps.empty or (gaps > 0).any():
        return None
    return (
        f"All of them are worse than not moving at all (gap closed {gaps.min():.1%} to {gaps.max():.1%}): the training is too "
        "short to say what the variants are worth."
    )


def _ranked(names: Sequence[str], values: pd.Series, sign: float) -> list[str]:
    return [name for _, name in sorted(zip(-sign * values, names), key=lambda pair: pair[0])]
