"""Tables 2, 3, 5 and 6: what the paper published for each variant beside what was measured here, seed by seed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import studentized_range

from gvf_evaluation import published

METRICS = ("psnr", "ssim", "lpips", "clip", "fvd")
RISING = {"psnr", "ssim", "clip"}
MOST_LISTED = 6  # pairs of variants in a sentence; more are counted
SIGNIFICANCE = 0.05  # how often equal variants of one table may be told apart, in any of its pairs


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
    """Return one row per variant: what it changes, then each metric published, measured (mean over seeds) and its deviation.

    results: of `gvf ablate`, of any model and variant. Columns: `variant`, the settings of the published table, `seeds` (how
    many were measured), and for every metric `<name>_published`, `<name>`, `<name>_std` (of n - 1, NaN for one seed), the
    last two NaN where nothing was measured; `gap_closed` with its deviation at the end.
    """
    rows = []
    for variant, row in zip(table.rows, table.published.to_dict("records"), strict=True):
        figures = pd.DataFrame([r["figures"] for r in results if r["model"] == table.model and r["variant"] == variant])
        settings = {str(name): value for name, value in row.items() if name not in METRICS}
        values: dict[str, Any] = {"variant": variant, **settings}
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


@dataclass(frozen=True)
class SeedNoise:
    """How far seeds of one variant lie apart. deviation: pooled over a model's variants. degrees: of freedom in it."""

    deviation: float
    degrees: int

    def told_apart(self, difference: float, counts: tuple[int, int], num_variants: int) -> bool:
        """Whether the means of two of `num_variants` variants over so many seeds differ: the Tukey-Kramer test."""
        if self.degrees == 0:
            return False
        error = self.deviation * (sum(1 / count for count in counts) / 2) ** 0.5
        return abs(difference) > error * float(studentized_range.ppf(1 - SIGNIFICANCE, num_variants, self.degrees))


def seed_noise(model: str, results: Sequence[Mapping[str, Any]], metric: str = "psnr") -> SeedNoise:
    """Of all variants of a model; the seeds are taken to scatter alike in each. results: of `gvf ablate`."""
    values = pd.DataFrame(
        [(r["variant"], r["figures"].get(f"{model}_{metric}")) for r in results if r["model"] == model],
        columns=["variant", "value"],
    ).dropna()
    groups = [group.to_numpy(dtype=float) for _, group in values.groupby("variant")["value"]]
    degrees = sum(len(group) - 1 for group in groups)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    return SeedNoise((squares / degrees) ** 0.5 if degrees else float("nan"), degrees)


def compare_order(table: AblationTable, frame: pd.DataFrame, noise: SeedNoise, metric: str = "psnr") -> str:
    """How the order of variants by a metric compares with the paper's, in a few sentences.

    Only pairs that the paper has apart are compared; which of them are told apart, `SeedNoise` says. frame: of
    `ablation_frame`. noise: of the table's model by that metric.
    """
    frame = frame[frame[metric].notna()]
    if len(frame) < 2:
        return f"Table {table.number}: fewer than two variants were measured."
    sign = 1.0 if metric in RISING else -1.0
    rows = frame.to_dict("records")
    agreeing: list[str] = []
    swapped: list[str] = []
    unclear: list[str] = []
    for first, second in itertools.combinations(rows, 2):
        expected = sign * (first[f"{metric}_published"] - second[f"{metric}_published"])
        if expected == 0:
            continue
        found = sign * (first[metric] - second[metric])
        apart = noise.told_apart(found, (first["seeds"], second["seeds"]), len(rows))
        pair = f"{first['variant']} and {second['variant']} ({abs(found):.2f} apart)"
        (unclear if not apart else agreeing if expected * found > 0 else swapped).append(pair)
    theirs, ours = (_ranked(frame, column, sign) for column in (f"{metric}_published", metric))
    text = f"Table {table.number} by {metric.upper()}, best first: the paper {' > '.join(theirs)}; here {' > '.join(ours)}."
    num_pairs = len(agreeing) + len(swapped) + len(unclear)
    for pairs, words in (
        (agreeing, "Told apart, as in the paper"),
        (swapped, "Told apart, the other way round than in the paper"),
        (unclear, "Not told apart"),
    ):
        many = pairs is not swapped and len(pairs) > MOST_LISTED
        listed = f"{len(pairs)} of {num_pairs} pairs" if many else ", ".join(pairs)
        text += f" {words}: {listed}." if pairs else ""
    return text


def compare_to_standing_still(table: AblationTable, frame: pd.DataFrame) -> str | None:
    """A sentence when no variant of a table is better than its canonical Gaussians without motion, otherwise None.

    frame: of `ablation_frame`.
    """
    gaps = frame["gap_closed"].dropna()
    if gaps.empty or (gaps > 0).any():
        return None
    return (
        f"None of them is better than not moving at all (gap closed {gaps.min():.1%} to {gaps.max():.1%}), so their order says "
        "little."
    )


def _ranked(frame: pd.DataFrame, column: str, sign: float) -> list[str]:
    """Variants by a column, the best first."""
    return [
        str(name) for name in frame["variant"].to_numpy()[np.argsort(-sign * frame[column].to_numpy(), kind="stable")]
    ]
