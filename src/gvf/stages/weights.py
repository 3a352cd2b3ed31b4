"""Command `weights`: which published weights are here, fetching them, converting them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from gvf.errors import UserError
from gvf.files import sha256, write_json
from gvf.published_files import weights_folder
from gvf.weights.catalog import CATALOG, KINDS, Published


@click.group("weights")
def command() -> None:
    """Published weights: what is here, where the rest comes from.

    Files are looked for in the folder that GVF_WEIGHTS names, in ~/.cache/gvf/weights, among torch hub's checkpoints and
    in the model hub's cache.
    """


@command.command("list")
def list_command() -> None:
    """Show for all published weights whether they are here, and where, or else where to get them."""
    width = max(map(len, CATALOG))
    for name, entry in CATALOG.items():
        paths = [file.find() for file in entry.files]
        state = "here" if all(paths) else "absent"
        click.echo(f"{name:<{width}}  {state:<6}  {entry.purpose}")
        for file, path in zip(entry.files, paths):
            click.echo(f"{'':<{width}}          {path or f'get it from {file.address}'}")
    click.echo(f"\n`gvf weights pull NAME` fetches into {weights_folder()}.")


@command.command("pull")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def pull_command(names: tuple[str, ...]) -> None:
    """Fetch weights by NAME (see `gvf weights list`; `all` for all); what is here already is kept.

    Stopped downloads go on where they were. Files go to the folder that GVF_WEIGHTS names, else to ~/.cache/gvf/weights.
    """
    from gvf.weights.download import download

    for name in CATALOG if "all" in names else names:
        for file in _entry(name).files:
            here = file.find()
            paths = [here] if here else download(file, weights_folder())
            for path in paths:
                click.echo(f"{name}: {path}")


@command.command("convert")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--kind", type=click.Choice(KINDS), help="What the file holds; may be left out, its keys tell.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder to write."
)
@click.option("--set", "settings", multiple=True, metavar="SIZE=VALUE", help="A size that the tensors do not tell.")
def convert_command(file: Path, kind: str | None, output: Path, settings: tuple[str, ...]) -> None:
    """Turn the weights in FILE (.pt, .safetensors or shards) into a folder with model.safetensors and config.json."""
    convert(file, output, kind, _overrides(settings))


def convert(file: Path, output: Path, kind: str | None, overrides: Mapping[str, Any]) -> None:
    """Write `model.safetensors`, under the published keys, and `config.json` with kind, sizes and source.

    Raises UserError when the file is not what it should be.
    """
    from gvf.weights.containers import WEIGHTS_NAME, read_tensors
    from gvf.weights.layouts import recognize
    from gvf.weights.published import CONFIG_NAME, load_published, save_published, sizes_of

    if kind is None:
        kind = recognize({name: tuple(tensor.shape) for name, tensor in read_tensors(file).items()})
        if kind is None:
            raise UserError(f"{file}: its keys are of no kind we know. Name it with --kind: {', '.join(KINDS)}.")
    module = load_published(file, kind, overrides)
    source = {"file": file.name} | ({"sha256": sha256(file)} if file.is_file() else {})
    save_published(module, output / WEIGHTS_NAME, kind)
    write_json(output / CONFIG_NAME, {"kind": kind, "sizes": sizes_of(module, kind), "source": source})
    click.echo(f"{output}: kind {kind}, {sum(p.numel() for p in module.parameters()):,} parameters")


def _entry(name: str) -> Published:
    if name not in CATALOG:
        raise UserError(f"no published weights are called {name!r}. Names: {', '.join(CATALOG)}, or all.")
    return CATALOG[name]


def _overrides(settings: tuple[str, ...]) -> dict[str, Any]:
    import yaml

    overrides = {}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator:
            raise UserError(f"--set {setting}: must be SIZE=VALUE, such as num_heads=12.")
        overrides[name] = yaml.safe_load(text)
    return overrides
