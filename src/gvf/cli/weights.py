"""Command `weights`: list, download and convert published weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from gvf.errors import UserError
from gvf.storage.files import sha256, write_json
from gvf.storage.published_files import PublishedFile, weights_folder
from gvf.weights.catalog import CATALOG, KINDS, Published


@click.group("weights")
def command() -> None:
    """List, download and convert published weights.

    Files are looked for in the folder that GVF_WEIGHTS names, in ~/.cache/gvf/weights, among torch hub's checkpoints and
    in the model hub's cache.
    """


@command.command("list", short_help="Show which published weights are on this machine.")
def list_command() -> None:
    """Show for all published weights whether and where they are on this machine, or where to get them.

    A file is `here` if its SHA-256 is the published one or, where that is not known, if the file is complete. Otherwise
    it is `damaged`, with the reason. The digest of a file is computed once (seconds per GB) and stored.
    """
    from gvf.weights.verification import findings

    width = max(map(len, CATALOG))
    damaged = []
    for name, entry in CATALOG.items():
        found = [findings(file) for file in entry.files]
        state = "here" if all(found) else "absent"
        if any(finding.problem for part in found for finding in part):
            state = "damaged"
            damaged.append(name)
        click.echo(f"{name:<{width}}  {state:<7}  {entry.purpose}")
        for file, part in zip(entry.files, found):
            lines = [f"{item.path}: {item.problem}" if item.problem else f"{item.path} ({item.proof})" for item in part]
            for line in lines or [f"get it from {file.address}"]:
                click.echo(f"{'':<{width}}           {line}")
    click.echo(f"\n`gvf weights pull NAME` fetches into {weights_folder()}.")
    if damaged:
        click.echo(f"`gvf weights pull {' '.join(damaged)}` downloads the damaged files again.")


@command.command("pull", short_help="Download published weights.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def pull_command(names: tuple[str, ...]) -> None:
    """Download weights by NAME (see `gvf weights list`; `all` for all); complete files are not downloaded again.

    Stopped downloads resume. Files go to the folder that GVF_WEIGHTS names, else to ~/.cache/gvf/weights. A damaged
    file there is downloaded again, and the old one is kept beside it as `<name>.damaged`.
    """
    for name in CATALOG if "all" in names else names:
        for file in _entry(name).files:
            for path in pull(file, weights_folder()):
                click.echo(f"{name}: {path}")


def pull(file: PublishedFile, folder: Path) -> list[Path]:
    """Download a published file into `folder` unless a valid copy is on this machine; return its paths.

    If the digest of a pinned file is not known locally, the hub is queried for it, if it can be reached. Raises
    DownloadError.
    """
    from gvf.weights.download import DownloadError, download, find_source
    from gvf.weights.verification import NO_DIGEST, findings, record_published, set_aside, verify

    found = findings(file)
    for item in found:
        if item.proof.endswith(NO_DIGEST) and not item.problem and file.pinned:
            try:
                record_published(item.path, find_source(item.file, item.path).digest)
            except DownloadError:
                click.echo(f"{item.path}: {item.proof}; the hub cannot be queried for it now.", err=True)
    found = [verify(item.file, item.path) for item in found]
    if found and not any(item.problem for item in found):
        return [item.path for item in found]
    targets = [folder / part.places[0] for part in file.parts]
    with ExitStack() as stack:
        for item in found:  # elsewhere in the same folder; `download` handles damaged files at its own target path
            if item.problem and item.path.is_file() and item.path not in targets and item.path.is_relative_to(folder):
                stack.enter_context(set_aside(item.path))
        return download(file, folder)


@command.command("convert", short_help="Convert a weight file to a network folder.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--kind", type=click.Choice(KINDS), help="Kind of network.  [default: recognised by the tensors' names]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder to write."
)
@click.option(
    "--set", "settings", multiple=True, metavar="SIZE=VALUE", help="A size that does not follow from the tensors."
)
def convert_command(file: Path, kind: str | None, output: Path, settings: tuple[str, ...]) -> None:
    """Turn the weights in FILE (.pt, .safetensors or shards) into a folder with model.safetensors and config.json."""
    convert(file, output, kind, _overrides(settings))


def convert(file: Path, output: Path, kind: str | None, overrides: Mapping[str, Any]) -> None:
    """Write `model.safetensors`, under the published keys, and `config.json` with kind, sizes and source.

    Raises UserError when the file is not what it should be.
    """
    from gvf.models.network_folder import CONFIG_NAME, WEIGHTS_NAME
    from gvf.weights.containers import read_tensors
    from gvf.weights.layout import recognize
    from gvf.weights.published import load_published, save_published, sizes_of

    if kind is None:
        kind = recognize({name: tuple(tensor.shape) for name, tensor in read_tensors(file).items()})
        if kind is None:
            raise UserError(f"{file}: its keys match no known kind. Name the kind with --kind: {', '.join(KINDS)}.")
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
