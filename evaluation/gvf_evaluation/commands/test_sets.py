"""Command `test-sets`: where to get test sets, and whether local data are one of them."""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd

from gvf.workspace import Workspace

_manifest = click.option(
    "--manifest",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Workspace().curated_manifest,
    show_default=True,
    help="The curated manifest to read.",
)


@click.group("test-sets")
def command() -> None:
    """List test sets, verify local data against them, and identify assets."""


@command.command("list", short_help="Show every test set and where to get it.")
def list_() -> None:
    """List every test set, where to get it, and what is known about it."""
    from gvf_evaluation.test_sets import describe

    for item in describe():
        click.echo(f"{item.name}: {item.where}. {item.state[0].upper()}{item.state[1:]}.")


@command.command(short_help="Check that local data are a test set.")
@click.argument("name")
@_manifest
@click.option(
    "--frames",
    type=click.Path(path_type=Path),
    help="Folder of ground-truth frames; only with NAME consistent4d or gvf.",
)
def verify(name: str, manifest: Path, frames: Path | None) -> None:
    """Check that local data are the test set NAME: held-out clips of a manifest, or a folder of ground-truth frames.

    Lists the differences and exits with code 2 when they are not.
    """
    from gvf.errors import UserError
    from gvf_evaluation.frame_folders import check_ground_truth
    from gvf_evaluation.protocols import PROTOCOLS
    from gvf_evaluation.test_sets import SOURCES, differences

    if name not in (names := (*SOURCES, *PROTOCOLS)):
        raise UserError(f"There is no test set {name!r}. Choose one of {', '.join(names)}.")
    if (name in PROTOCOLS) != (frames is not None):
        raise click.UsageError(
            "--frames is required for the test sets consistent4d and gvf, and not allowed for others."
        )
    if frames is not None:
        objects, digest = check_ground_truth(frames, PROTOCOLS[name])
        absent = set(PROTOCOLS[name].objects) - set(objects)
        extra = set(objects) - set(PROTOCOLS[name].objects) if PROTOCOLS[name].objects else set()
        if absent or extra:
            problems = [
                f"{frames}: {side} {', '.join(sorted(names))}"
                for side, names in (("lacks", absent), ("has", extra))
                if names
            ]
            raise UserError(f"{'; '.join(problems)}. {name} is {PROTOCOLS[name].data}.")
        click.echo(
            f"{len(objects)} objects with all their frames. SHA-256 {digest} (no published value to compare with)."
        )
        return
    found = differences(name, _read_curated(manifest))
    if found:
        raise UserError("\n  ".join([f"{manifest}: its held-out clips are not the list {name!r}:", *found[:20]]))
    click.echo(f"{manifest}: its held-out clips are the list {name!r}, and nothing leaks.")


@command.command(short_help="Print asset ids and mesh digests of files.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def identify(files: tuple[Path, ...]) -> None:
    """Print the asset id and mesh digest of .glb and .gltf FILES, as in gvf/data/curation/reserved_assets.csv."""
    from gvf.data.curation.mesh_hash import mesh_sha256
    from gvf.data.gltf.baking import load_model, rest_vertices
    from gvf.data.gltf.document import read_gltf
    from gvf.errors import ClipError, UserError

    click.echo("asset_id,mesh_sha256")
    for file in files:
        try:
            model = load_model(read_gltf(file))
            click.echo(f"{file.stem},{mesh_sha256(rest_vertices(model), model.faces)}")
        except ClipError as error:
            raise UserError(error.message) from None


@command.command(short_help="For maintainers: keep assets out of training.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--test-set", required=True, help="Name of the test set that the assets belong to, e.g. gvf.")
@click.option("--source", help="Where the list comes from.  [default: the file's name]")
def reserve(file: Path, test_set: str, source: str | None) -> None:
    """For maintainers: exclude the Objaverse ids in a text FILE from training, in gvf/data/curation/reserved_assets.csv."""
    from gvf.data.curation.reserved import ids_in, reserve

    ids = ids_in(file)
    added = reserve(test_set, ids, source or file.name)
    click.echo(f"{file}: {len(ids)} ids, {added} of them new. Run `dvc repro` to curate again without them.")


@command.command(short_help="For maintainers: publish a held-out list.")
@click.argument("name")
@_manifest
def publish(name: str, manifest: Path) -> None:
    """For maintainers: write the held-out clips of a manifest as the list NAME, with its checksum."""
    from gvf.data.curation.leakage import refuse_leaks
    from gvf_evaluation.test_sets import SOURCES, publish_list

    if name not in SOURCES:
        raise click.UsageError(f"NAME is {name!r}, must be one of {', '.join(SOURCES)}.")
    clips = _read_curated(manifest)
    refuse_leaks(clips)
    click.echo(f"{publish_list(name, clips)}: written.")


def _read_curated(path: Path) -> pd.DataFrame:
    """Read a curated manifest. Raises UserError for any other file."""
    from gvf.data.manifest import read_manifest
    from gvf.errors import UserError

    clips = read_manifest(path)
    if "decision" not in clips.columns:
        raise UserError(
            f"{path}: lists clips as the stage `collect` found them, without decision and split. Give the manifest that the "
            f"stage `curate` writes, {Workspace().curated_manifest}."
        )
    return clips
