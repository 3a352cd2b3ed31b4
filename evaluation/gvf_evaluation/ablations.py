"""Tables 2, 3, 5 and 6: published values of each variant beside values measured here over several seeds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import studentized_range

from gvf.config.ablations import MODELS, Ablations
from gvf.errors import UserError
from gvf.storage.files import read_json
from gvf.workspace import Workspace
from gvf_evaluation import published
from gvf_evaluation.tables import column

COMMON = ("preset", "data", "data_digest")  # fields that all results must agree in to be compared
PUBLISHED_METRICS = ("psnr", "ssim", "lpips", "clip", "fvd")  # of which each table has some
MOST_LISTED = 6  # pairs of variants listed in a sentence; more are only counted
SIGNIFICANCE = 0.05  # probability of calling any pair of a table significant when all its variants are equal


@dataclass(frozen=True)
class AblationTable:
    """One of the paper's tables of ablations.

    number: in the paper. model: vae or dit. rows: variants in the order of the published rows. published: the published
    table; its columns that are not metrics are the settings that a row changes. beyond: variants that the paper does not have,
    with the same settings.
    """

    number: int
    title: str
    model: str
    rows: tuple[str, ...]
    published: pd.DataFrame
    beyond: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def variants(self) -> tuple[str, ...]:
        """Return all variants of the table, the paper's first."""
        return *self.rows, *self.beyond


TABLES = (
    AblationTable(2, "Parts of the VAE", "vae", ("A", "B", "C", "ours"), published.table_2()),
    AblationTable(
        3,
        "Conditions of the DiT",
        "dit",
        ("no-positions", "ours"),
        published.table_3().assign(image_condition="tokens"),
        beyond={"pixel-aligned": {"position_embedding": True, "image_condition": "pixel_aligned"}},
    ),
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
    """Return the numbers of the tables that show a variant."""
    return [table.number for table in TABLES if table.model == model and variant in table.variants]


def of_table(table: AblationTable, results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the results that a table shows, variant by variant."""
    return [r for name in table.variants for r in results if (r["model"], r["variant"]) == (table.model, name)]


def result_name(result: Mapping[str, Any]) -> str:
    """Return the name of a result's files, without suffix."""
    return f"{result['model']}-{result['variant']}-{result['seed']}"


def listed_results(workspace: Workspace, ablations: Ablations) -> list[dict[str, Any]]:
    """Return the results of all variants and seeds of ablations/params.yaml that have been measured, and no others.

    Raises UserError when there is none, or when they come from different presets or data.
    """
    folder = workspace.ablation_results
    names = [
        result_name({"model": model, "variant": variant, "seed": seed})
        for model in MODELS
        for variant in ablations.variants[model]
        for seed in ablations.seeds
    ]
    results = [read_json(path) for name in names if (path := folder / f"{name}.json").is_file()]
    if not results:
        raise UserError(
            f"{folder}: holds no result of a variant in {workspace.ablation_params}. Run `dvc repro ablations/dvc.yaml`."
        )
    for name in COMMON:
        if len(found := sorted({str(result.get(name)) for result in results})) > 1:
            raise UserError(
                f"{folder}: holds results with different values of {name} ({' and '.join(found)}), which cannot be compared. "
                "Run `dvc repro ablations/dvc.yaml`."
            )
    return results


def ablation_frame(table: AblationTable, results: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per variant with its settings and each metric as published and as measured.

    results: of `gvf ablate`, for any models and variants. Columns: `variant`, the settings of the published table, `seeds`
    (number of runs), and for every metric `<name>_published`, `<name>` (mean over seeds) and `<name>_std` (sample standard
    deviation), NaN where they are undefined; `gap_closed` and its deviation come last. Variants beyond the paper come last.
    """
    rows = []
    metrics_of_paper = dict.fromkeys((name for name in PUBLISHED_METRICS if name in table.published), float("nan"))
    published_rows: list[dict[str, Any]] = [
        *({str(name): value for name, value in row.items()} for row in table.published.to_dict("records")),
        *({**settings, **metrics_of_paper} for settings in table.beyond.values()),
    ]
    for variant, row in zip(table.variants, published_rows, strict=True):
        metrics = pd.DataFrame([r["figures"] for r in results if r["model"] == table.model and r["variant"] == variant])
        settings = {name: value for name, value in row.items() if name not in PUBLISHED_METRICS}
        values: dict[str, Any] = {"variant": variant, **settings}
        values["seeds"] = len(metrics)
        for name in (*PUBLISHED_METRICS, "gap_closed"):
            if name in PUBLISHED_METRICS and name not in row:
                continue
            measured = metrics.get(f"{table.model}_{name}", pd.Series(dtype=float)).dropna()
            if name in PUBLISHED_METRICS:
                values[f"{name}_published"] = row[name]
            values[name] = measured.mean()
            values[f"{name}_std"] = measured.std()
        rows.append(values)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class SeedNoise:
    """Variation of a metric that neither variants nor seeds explain: its standard deviation and degrees of freedom."""

    deviation: float
    degrees: int

    def is_significant(self, difference: float, counts: tuple[int, int], num_variants: int) -> bool:
        """Return whether the means of two of `num_variants` variants differ, by the Tukey-Kramer test.

        counts: the number of seeds of each of the two.
        """
        if self.degrees == 0:
            return False
        error = self.deviation * (sum(1 / count for count in counts) / 2) ** 0.5
        return abs(difference) > error * _critical_range(num_variants, self.degrees)


def seed_noise(model: str, results: Sequence[Mapping[str, Any]], metric: str = "psnr") -> SeedNoise:
    """Return the noise of a model's variants, assuming that all have the same. results: of `gvf ablate`.

    Variants with the same seed are trained on the same clips in the same order, so they are compared seed by seed: what a seed
    does to all variants is not noise. The noise is what is left of an additive model of variants and seeds (randomised
    complete blocks, where no result is missing).
    """
    values = pd.DataFrame(
        [(r["variant"], str(r["seed"]), r["figures"].get(f"{model}_{metric}")) for r in results if r["model"] == model],
        columns=["variant", "seed", "value"],
    ).dropna()
    if values.empty:
        return SeedNoise(float("nan"), 0)
    design = pd.get_dummies(values[["variant", "seed"]]).to_numpy(dtype=float)
    measured = values["value"].to_numpy(dtype=float)
    effects, _, rank, _ = np.linalg.lstsq(design, measured - measured.mean(), rcond=None)
    degrees = len(measured) - int(rank)
    squares = float(((measured - measured.mean() - design @ effects) ** 2).sum())
    return SeedNoise((squares / degrees) ** 0.5 if degrees else float("nan"), degrees)


def compare_order(table: AblationTable, frame: pd.DataFrame, noise: SeedNoise, metric: str = "psnr") -> str:
    """Return sentences that compare the order of variants by a metric with the order in the paper.

    Pairs with the same published value, or without one, are left out. frame: of `ablation_frame`. noise: of the table's model
    and this metric.
    """
    num_variants = int(frame[metric].notna().sum())
    frame = frame[frame[metric].notna() & frame[f"{metric}_published"].notna()]
    if len(frame) < 2:
        return f"Fewer than two variants of Table {table.number} were measured, so there is no order to compare."
    sign = 1.0 if column(metric).higher_is_better else -1.0
    rows = frame.to_dict("records")
    agreeing: list[str] = []
    swapped: list[str] = []
    unclear: list[str] = []
    for first, second in itertools.combinations(rows, 2):
        expected = sign * (first[f"{metric}_published"] - second[f"{metric}_published"])
        if expected == 0:
            continue
        found = sign * (first[metric] - second[metric])
        is_significant = noise.is_significant(found, (first["seeds"], second["seeds"]), num_variants)
        pair = f"{first['variant']} and {second['variant']} (difference {abs(found):.2f})"
        (unclear if not is_significant else agreeing if expected * found > 0 else swapped).append(pair)
    theirs, ours = (_ranked(frame, name, sign) for name in (f"{metric}_published", metric))
    text = f"Order by {metric.upper()}, best first. Published: {' > '.join(theirs)}. Measured: {' > '.join(ours)}."
    num_pairs = len(agreeing) + len(swapped) + len(unclear)
    for pairs, words in (
        (agreeing, "Significant differences in the published order"),
        (swapped, "Significant differences in the opposite order"),
        (unclear, "Differences within the seed-to-seed variation"),
    ):
        many = pairs is not swapped and len(pairs) > MOST_LISTED
        listed = f"{len(pairs)} of {num_pairs} pairs" if many else ", ".join(pairs)
        text += f" {words}: {listed}." if pairs else ""
    return text


def compare_beyond(table: AblationTable, frame: pd.DataFrame, noise: SeedNoise, metric: str = "psnr") -> str | None:
    """Return sentences that compare each variant beyond the paper with `ours`; None where there is nothing to compare.

    frame, noise: as in `compare_order`.
    """
    measured = {row["variant"]: row for row in frame[frame[metric].notna()].to_dict("records")}
    ours, texts = measured.get("ours"), []
    for variant in table.beyond:
        if ours is None or (row := measured.get(variant)) is None:
            continue
        difference = float(row[metric] - ours[metric])
        is_significant = noise.is_significant(difference, (row["seeds"], ours["seeds"]), len(measured))
        what = "a significant difference" if is_significant else "within the seed-to-seed variation"
        texts.append(f"Beyond the paper, {variant} changes {metric.upper()} by {difference:+.2f} against ours: {what}.")
    return " ".join(texts) or None


def compare_to_standing_still(table: AblationTable, frame: pd.DataFrame) -> str | None:
    """Return a sentence if no variant of a table is better than the static reference, otherwise None.

    frame: of `ablation_frame`.
    """
    gaps = frame["gap_closed"].dropna()
    if gaps.empty or (gaps > 0).any():
        return None
    return (
        f"No variant is better than the static reference (gap closed from {gaps.min():.1%} to {gaps.max():.1%}), so their "
        "order means little."
    )


@cache
def _critical_range(num_variants: int, degrees: int) -> float:
    """Return the quantile of the studentized range for the level SIGNIFICANCE; finding one takes a tenth of a second."""
    return float(studentized_range.ppf(1 - SIGNIFICANCE, num_variants, degrees))


def _ranked(frame: pd.DataFrame, name: str, sign: float) -> list[str]:
    """Return the variants sorted by a column, best first."""
    return [
        str(variant)
        for variant in frame["variant"].to_numpy()[np.argsort(-sign * frame[name].to_numpy(), kind="stable")]
    ]
