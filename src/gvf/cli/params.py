"""Commands `params check` and `params schema`: check a parameter file, and write schemas for editors."""

from __future__ import annotations

from pathlib import Path

import click

from gvf.config.load import PARAMS, load_params
from gvf.config.schema import SCHEMAS, text_of
from gvf.storage.files import atomic_path


@click.group("params")
def command() -> None:
    """Check a parameter file, or write the JSON schemas that editors and Prefect's forms use."""


@command.command("check", short_help="Report all problems of a parameter file.")
@click.argument("file", default=PARAMS, type=click.Path(dir_okay=False))
def check(file: str) -> None:
    """Report all problems of FILE (by default params.yaml), of single fields and between sections."""
    params = load_params(file)
    click.echo(f"{file}: all values are valid (preset {params.run.preset}).")


@command.command("schema")
@click.option("--write", is_flag=True, help="Write the schemas of this checkout instead of printing one.")
def schema(write: bool) -> None:
    """Print the JSON schema of params.yaml."""
    if not write:
        click.echo(text_of(SCHEMAS["conf/params.schema.json"]()), nl=False)
        return
    for name, make in SCHEMAS.items():
        with atomic_path(Path(name)) as partial:
            partial.write_text(text_of(make()), encoding="utf-8")
        click.echo(f"Wrote {name}.")
