"""Stage `report` of ablations/dvc.yaml: Tables 2, 3, 5 and 6 as files, and one page of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
import numpy as np

from gvf.config.ablations import load_ablations
from gvf.config.load import read_yaml
from gvf.storage.files import atomic_path, fresh_directory, read_json
from gvf.storage.images import read_image
from gvf.workspace import Workspace
from gvf_evaluation.ablations import TABLES, AblationTable, ablation_frame, listed_results, of_table, result_name
from gvf_evaluation.commands.ablate import record_file, result_files
from gvf_evaluation.reporting.ablations_page import (
    AblationsPage,
    Strip,
    build_section,
    measured_caption,
    presented,
    render,
)
from gvf_evaluation.reporting.images import still_uri
from gvf_evaluation.tables import write_table


@click.command("report-ablations")
def command() -> None:
    """Write reports/ablations from ablations/results (the last stage of ablations/dvc.yaml)."""
    report(Workspace())


def report(workspace: Workspace) -> None:
    """Write the tables (csv, md, tex) and index.html. Raises UserError as `listed_results` does."""
    ablations = load_ablations(workspace.ablation_params, read_yaml(workspace.path("params.yaml")))
    results = listed_results(workspace, ablations)
    source = measured_caption(results)
    with fresh_directory(workspace.ablation_page) as folder:
        for table in TABLES:
            frame = ablation_frame(table, results)
            caption = f"Table {table.number}: {table.title}, published values beside measured ones. {source}"
            write_table(frame, folder, f"table_{table.number}", caption, presented(frame))
        sections = [
            build_section(
                table, results, _strips(workspace, table, results), _records(workspace, of_table(table, results))
            )
            for table in TABLES
        ]
        with atomic_path(folder / "index.html") as partial:
            partial.write_text(render(AblationsPage(source, sections)), encoding="utf-8")


def _records(workspace: Workspace, results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return MLflow's addresses of these results, of those that were tracked on this machine."""
    paths = [record_file(workspace, result_name(result)) for result in results]
    records = [read_json(path) for path in paths if path.is_file()]
    return [record for record in records if "parent_id" in record]


def _strips(workspace: Workspace, table: AblationTable, results: Sequence[Mapping[str, Any]]) -> list[Strip]:
    """Return the images of every variant's first seed."""
    strips = []
    for variant in table.variants:
        made = [result for result in of_table(table, results) if result["variant"] == variant]
        if made:
            first = min(made, key=lambda result: result["seed"])
            image = read_image(result_files(workspace, result_name(first))[-1])
            strips.append(Strip(variant, first["clip"], still_uri(np.asarray(image.convert("RGB")))))
    return strips
