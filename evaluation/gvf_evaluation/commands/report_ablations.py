"""Stage `report` of ablations/dvc.yaml: Tables 2, 3, 5 and 6, published beside measured, and one page of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import click
import numpy as np
import pandas as pd

from gvf.config.ablations import MODELS, Ablations, load_ablations
from gvf.config.load import read_yaml
from gvf.errors import UserError
from gvf.storage.files import atomic_path, fresh_directory, read_json
from gvf.storage.images import read_image
from gvf.workspace import Workspace
from gvf_evaluation.ablations import (
    TABLES,
    AblationTable,
    ablation_frame,
    compare_order,
    compare_to_standing_still,
    seed_noise,
)
from gvf_evaluation.commands.ablate import record_file
from gvf_evaluation.reporting.ablations_page import AblationsPage, Section, Strip, render
from gvf_evaluation.reporting.page import table_of
from gvf_evaluation.reporting.pictures import still_uri
from gvf_evaluation.tables import write_table

# What all results of a table must have in common: figures of other data or presets do not compare.
COMMON = ("preset", "data", "data_digest")


@click.command("report-ablations")
def command() -> None:
    """Write reports/ablations from ablations/results (the last stage of ablations/dvc.yaml)."""
    report(Workspace())


def report(workspace: Workspace) -> None:
    """Write the tables (csv, md, tex) and index.html. Raises UserError as `listed_results` does."""
    results = listed_results(workspace, load_ablations(workspace.ablation_params, read_yaml("params.yaml")))
    source = measured_caption(results)
    sections = []
    with fresh_directory(workspace.ablation_page) as folder:
        for table in TABLES:
            frame = ablation_frame(table, results)
            shown = presented(frame)
            caption = f"Table {table.number}: {table.title}, published beside measured. {source}"
            write_table(frame, folder, f"table_{table.number}", caption, shown)
            sections.append(
                Section(
                    title=f"Table {table.number}: {table.title}",
                    table=table_of(shown),
                    order=_order(table, frame, results),
                    strips=_strips(workspace, table, results),
                    compare=compare_url(_records(workspace, of_table(table, results))),
                )
            )
        page = AblationsPage(source, sections)
        with atomic_path(folder / "index.html") as partial:
            partial.write_text(render(page), encoding="utf-8")


def _order(table: AblationTable, frame: pd.DataFrame, results: Sequence[Mapping[str, Any]]) -> str:
    """What the order of a table's variants says, in sentences."""
    told = compare_order(table, frame, seed_noise(table.model, results)), compare_to_standing_still(table, frame)
    return " ".join(sentence for sentence in told if sentence)


def listed_results(workspace: Workspace, ablations: Ablations) -> list[dict[str, Any]]:
    """The results of the variants and seeds of ablations/params.yaml, as far as they were made; no others.

    Raises UserError when there is none, or when they are of several presets or data.
    """
    names = [
        f"{model}-{variant}-{seed}"
        for model in MODELS
        for variant in ablations.variants[model]
        for seed in ablations.seeds
    ]
    folder = workspace.ablation_results
    results = [read_json(path) for name in names if (path := folder / f"{name}.json").is_file()]
    if not results:
        raise UserError(
            f"{folder}: holds no result of {workspace.ablation_params}. Run `dvc repro ablations/dvc.yaml`."
        )
    for field in COMMON:
        if len(found := sorted({str(result.get(field)) for result in results})) > 1:
            raise UserError(
                f"{folder}: results whose {field} is {' and '.join(found)} do not compare. Run `dvc repro "
                "ablations/dvc.yaml`."
            )
    return results


def measured_caption(results: Sequence[Mapping[str, Any]]) -> str:
    """Where the measured figures come from, in one sentence."""
    told = {name: ", ".join(sorted({str(result[name]) for result in results})) for name in ("preset", "data", "code")}
    return (
        f"Measured: preset {told['preset']}, data {told['data']}, code {told['code']}, {len(results)} runs; mean and "
        "standard deviation over seeds. Gap closed stands between each variant's own references, which differ where its "
        "canonical Gaussians do. Published: the paper, with other models, data and picture size; only the order of variants "
        "can be compared."
    )


def presented(frame: pd.DataFrame) -> pd.DataFrame:
    """The same as people read it: each measured figure and its deviation in one column of text, `mean ± deviation`;
    published ones with as many decimals as the paper prints in that column.
    """
    formats = {
        "psnr": "{:.2f}",
        "ssim": "{:.4f}",
        "lpips": "{:.4f}",
        "clip": "{:.4f}",
        "fvd": "{:.1f}",
        "gap_closed": "{:.1%}",
    }
    columns: dict[str, Any] = {}
    for name in frame.columns:
        if name.endswith("_std"):
            continue
        if name.endswith("_published"):
            decimals = max(len(repr(value).partition(".")[2]) for value in frame[name].tolist())
            columns[name] = [f"{value:.{decimals}f}" for value in frame[name]]
        elif name in formats:
            form, spread = formats[name], frame[f"{name}_std"]
            columns[name] = [
                "n/a" if pd.isna(mean) else form.format(mean) + ("" if pd.isna(std) else f" ± {form.format(std)}")
                for mean, std in zip(frame[name], spread)
            ]
        else:
            columns[name] = frame[name]
    return pd.DataFrame(columns)


def of_table(table: AblationTable, results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The results that a table shows, variant by variant."""
    return [r for name in table.rows for r in results if (r["model"], r["variant"]) == (table.model, name)]


def _records(workspace: Workspace, results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where MLflow has these results, as far as they were tracked on this machine."""
    names = [f"{result['model']}-{result['variant']}-{result['seed']}" for result in results]
    paths = [record_file(workspace, name) for name in names]
    records = [read_json(path) for path in paths if path.is_file()]
    return [record for record in records if "parent_id" in record]


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


def _strips(workspace: Workspace, table: AblationTable, results: Sequence[Mapping[str, Any]]) -> list[Strip]:
    """The strip of every variant's first seed."""
    strips = []
    for variant in table.rows:
        made = [r for r in of_table(table, results) if r["variant"] == variant]
        if made:
            first = min(made, key=lambda result: result["seed"])
            path = workspace.ablation_results / f"{table.model}-{variant}-{first['seed']}.png"
            strips.append(Strip(variant, first["clip"], still_uri(np.asarray(read_image(path).convert("RGB")))))
    return strips
