"""Command `models`: list the generators on this machine, check a folder, and export one that can be copied."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gvf.errors import UserError
from gvf.text import clean

if TYPE_CHECKING:
    from gvf.workspace import Workspace

_SHOWN_METRICS = ("dit_psnr", "dit_ssim", "dit_lpips", "vae_psnr")


@click.group("models")
def command() -> None:
    """List generators, check a folder of networks, and export a generator as a folder that can be copied."""


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
    help="The folder to write, by default work/exports/<preset of the training>. An existing generator is replaced.",
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
@click.option(
    "--name", default="", help="Name of the generator, for its card.  [default: title and preset of the training]"
)
@click.option("--half", is_flag=True, help="Store weights as float16, and measure on held-out clips what this costs.")
@click.option(
    "--largest",
    "largest_mb",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MB",
    help="Refuse to write a folder of more megabytes.  [default: any size]",
)
def export_command(
    output: Path | None,
    license_name: str,
    attribution: Path | None,
    params_path: str,
    name: str,
    half: bool,
    largest_mb: float | None,
) -> None:
    """Copy the trained generator into a folder that can be loaded anywhere.

    The folder's model card contains the metrics of the stage `evaluate`, if they were measured on this generator, and how it
    was made; its data card, the training data with authors and licences.
    """
    from gvf.config.load import load_params
    from gvf.pipelines.generator_export import ExportOptions, export
    from gvf.workspace import Workspace

    params = load_params(params_path)
    text = attribution.read_text(encoding="utf-8") if attribution else ""
    options = ExportOptions(output, clean(name, 200), half, largest_mb, license_name, text, shown_command(sys.argv[1:]))
    target = export(Workspace(), params, options, lambda message: click.echo(message, err=True))
    click.echo(f"{target}: load it with VideoTo4D.from_pretrained({str(target)!r})")


def shown_command(words: Sequence[str]) -> str:
    """Return a command line of gvf as a model card shows it: of absolute paths, which say where somebody works, the last part."""
    shown = []
    for word in words:
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        shown.append(option + equals + (Path(value).name if Path(value).is_absolute() else value))
    return shlex.join(["gvf", *shown])


@command.command("check", short_help="Check that a folder's networks are all there and fit.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check_command(folder: Path, as_json: bool) -> None:
    """Check in seconds whether FOLDER holds all files of its models, whole, of the right kind, sizes and digest.

    FOLDER is a generator or an export, the paper's or TRELLIS's release, both together, or weights converted from them. Only
    headers are read, and files whose SHA-256 is known (seconds per GB, once). The exit code is 2 if anything is wrong.
    """
    from gvf.pipelines.model_check import check_models

    result = check_models(folder)
    if as_json:
        rows = [asdict(part) for part in result.parts]
        click.echo(
            json.dumps({"folder": str(folder), "ok": result.ok, "contents": result.contents, "parts": rows}, indent=2)
        )
    else:
        click.echo(f"{folder}: {', '.join(result.contents)}")
        for part in result.parts:
            name = f"{part.name} ({part.file})" if part.file not in ("", ".") else part.name
            click.echo(f"  {part.state:<8} {clean(name, 200)}: {clean(part.detail, 600)}")
    wrong = [part.name for part in result.parts if part.state != "ok"]
    if wrong:
        raise UserError(f"{folder}: {len(wrong)} of {len(result.parts)} parts cannot be used: {', '.join(wrong)}.")


def generator_folders(workspace: Workspace) -> Iterator[Path]:
    """Yield the folders of the generator that comes with gvf, and of those in the workspace, its exports and the hub's cache."""
    from gvf.pipelines import hub
    from gvf.pipelines.generator_index import INDEX_NAME
    from gvf.storage.published_files import hub_cache

    if (shipped := hub.shipped_generator()) is not None:
        yield shipped
    indexes = [workspace.generator / INDEX_NAME]
    indexes += sorted(workspace.exports.glob(f"*/{INDEX_NAME}"))
    indexes += sorted(hub_cache().glob(f"models--*/snapshots/*/{INDEX_NAME}"))
    yield from (index.parent for index in indexes if index.is_file())
