"""Command `models`: list the generators on this machine, and export one as a folder that can be copied."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gvf.errors import UserError

if TYPE_CHECKING:
    from gvf.config.params import Params
    from gvf.pipelines.generator_index import Training
    from gvf.pipelines.model_card import CardFacts
    from gvf.workspace import Workspace

EXPORTS = Path("work/exports")
_SHOWN_METRICS = ("dit_psnr", "dit_ssim", "dit_lpips", "vae_psnr")


@click.group("models")
def command() -> None:
    """List generators, and export one as a folder that can be copied."""


@command.command("list", short_help="Show trained, exported and published generators.")
def list_command() -> None:
    """Show the generators of gvf itself, this workspace, its exports and the model hub's cache, and the published one."""
    from gvf.pipelines.generator_folder import NETWORKS, count_parameters
    from gvf.pipelines.generator_index import read_index
    from gvf.storage.published_files import DIT
    from gvf.workspace import Workspace

    for folder in generator_folders(Workspace()):
        try:
            index = read_index(folder)
            parameters = sum(count_parameters(folder, name) for name in NETWORKS)
        except UserError as error:
            click.echo(f"{folder}: damaged. {error}")
            continue
        values = [f"{name} {index.metrics[name]:.4g}" for name in _SHOWN_METRICS if name in index.metrics]
        click.echo(f"{folder}: {index.title}")
        click.echo(f"    {parameters:,} parameters; commit {index.commit or 'not recorded'}")
        click.echo(f"    {', '.join(values) or 'metrics not recorded'}")
    found = DIT.find()
    state = f"at {found.parent}" if found else "absent; `gvf weights pull static-vae variation-vae dit statistics`"
    click.echo(f"{DIT.repository}: the published weights, {state}")


@command.command("export", short_help="Copy the trained generator into a folder.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"The folder to write, by default {EXPORTS}/<preset of the training>. An existing generator is replaced.",
)
@click.option(
    "--license",
    "license_name",
    default="",
    help="Licence of the weights, as the model hub names it, such as cc-by-4.0.",
)
@click.option(
    "--attribution",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A text with the licences and authors of the training data, for the model card.",
)
@click.option("--params", "params_path", default="params.yaml", show_default=True, help="The composed parameter file.")
def export_command(output: Path | None, license_name: str, attribution: Path | None, params_path: str) -> None:
    """Copy the trained generator into a folder that can be loaded anywhere.

    The folder's model card contains the metrics of the stage `evaluate`, if they were measured on this generator, and what
    is known of the data.
    """
    from gvf.config.load import load_params
    from gvf.workspace import Workspace

    params = load_params(params_path)
    text = attribution.read_text(encoding="utf-8") if attribution else ""
    target = export(Workspace(), params, output, license_name, text)
    click.echo(f"{target}: load it with VideoTo4D.from_pretrained({str(target)!r})")


def export(
    workspace: Workspace, params: Params, output: Path | None = None, license_name: str = "", attribution: str = ""
) -> Path:
    """Write the workspace's generator into a separate folder, with its metrics and a complete model card.

    params: of the workspace; the settings of `sample` become the generator's own, preset and data are those that the
    training recorded. output: by default named after that preset. Returns the folder. Raises UserError when there is no
    generator yet, or when `output` is the workspace's own or holds anything but a generator.
    """
    from gvf.pipelines.generator_folder import copy_networks, refuse_foreign_files, write_description
    from gvf.pipelines.generator_index import Sampling, read_index
    from gvf.storage.files import fresh_directory

    if not workspace.generator.is_dir():
        raise UserError(f"{workspace.generator}: no such folder. Run `dvc repro train-dit` first.")
    index = read_index(workspace.generator)
    preset = index.training.preset
    output = output or EXPORTS / (preset or "generator")
    if output.resolve() == workspace.generator.resolve():
        raise UserError(f"{output}: is the output of `train-dit` itself. Name another folder with --output.")
    refuse_foreign_files(output)
    changes = {
        "title": f"{index.title}, preset {preset}" if preset else index.title,
        "sampling": Sampling.of(params.sample),
        "commit": _commit(workspace),
        "metrics": _metrics(workspace),
    }
    with fresh_directory(output) as folder:
        copy_networks(workspace.generator, folder)
        write_description(
            folder, index.model_copy(update=changes), _facts(workspace, index.training, license_name, attribution)
        )
    return output


def _facts(workspace: Workspace, training: Training, license_name: str, attribution: str) -> CardFacts:
    from gvf.pipelines.generator_folder import NETWORKS, count_parameters
    from gvf.pipelines.model_card import CardFacts

    source, count, variants = training.source, training.clips, training.variants
    if source == "procedural" and not attribution:
        attribution = "The clips are generated by gvf itself and carry no third-party licence."
    number = f" ({count} clips{f', {variants} of them variants of others' if variants else ''})" if count else ""
    return CardFacts(
        license=license_name,
        data=f"Source of the training clips: {source}{number}." if source else "",
        attribution=attribution,
        parameters={name: count_parameters(workspace.generator, name) for name in NETWORKS},
    )


def _metrics(workspace: Workspace) -> dict[str, float]:
    """Return the finite metrics of the stage `evaluate`, empty if it has not run on the generator that is here."""
    from gvf.pipelines.generator_folder import generator_digest
    from gvf.storage.files import read_json

    path, measurement = workspace.metrics("evaluate"), workspace.scores / "measurement.json"
    if not path.is_file():
        return {}
    measured = read_json(measurement).get("generator_sha256") if measurement.is_file() else None
    if measured != generator_digest(workspace.generator):
        click.echo(
            f"{path}: left out, because it is not known to be measured on this generator. Run `dvc repro evaluate` and export "
            "again.",
            err=True,
        )
        return {}
    values: dict[str, Any] = read_json(path)
    return {
        name: float(value) for name, value in values.items() if isinstance(value, int | float) and math.isfinite(value)
    }


def _commit(workspace: Workspace) -> str | None:
    from gvf.tracking.provenance import UNKNOWN, code_version

    version = code_version(workspace.root)
    return None if version.commit == UNKNOWN else str(version)


def generator_folders(workspace: Workspace) -> Iterator[Path]:
    """Yield the folders of the generator that comes with gvf, and of those in the workspace, its exports and the hub's cache."""
    from gvf.pipelines import hub
    from gvf.pipelines.generator_index import INDEX_NAME
    from gvf.storage.published_files import hub_cache

    if (shipped := hub.shipped_generator()) is not None:
        yield shipped
    indexes = [workspace.generator / INDEX_NAME]
    indexes += sorted(workspace.path(str(EXPORTS)).glob(f"*/{INDEX_NAME}"))
    indexes += sorted(hub_cache().glob(f"models--*/snapshots/*/{INDEX_NAME}"))
    yield from (index.parent for index in indexes if index.is_file())
