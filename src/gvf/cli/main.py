"""The `gvf` command: it finds the commands of the table, and turns every error into one message and an exit code."""

from __future__ import annotations

import importlib
import sys
import tempfile
import traceback
from pathlib import Path

import click

from gvf import __version__, lifetime
from gvf.cli import table
from gvf.cli.stages import launcher_option, stage_command
from gvf.errors import GvfError, advice, system_error
from gvf.execution.allocator import keep_freed_memory
from gvf.text import clean


class _LazyGroup(click.Group):
    """Lists the commands of the table and imports one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*table.ASSETS, *table.STAGES, *table.TOOLS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = {**table.ASSETS, **table.STAGES, **table.TOOLS}.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        if not attribute:
            return stage_command(cmd_name, module, entry.help)
        return getattr(importlib.import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Assets"):
            formatter.write_dl([(name, entry.help) for name, entry in table.ASSETS.items()])
        with formatter.section("Stages (run by `dvc repro`; each of them reads params.yaml)"):
            formatter.write_dl([(name, entry.help) for name, entry in table.STAGES.items()])
        with formatter.section("Tools"):
            formatter.write_dl([(name, entry.help) for name, entry in table.TOOLS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="gvf")
@launcher_option
def _gvf() -> None:
    """Turn one video of an object into an animated 3D asset (4D Gaussian splats), and train the models that do so.

    Exit codes: 0 success, 1 failure, 2 wrong usage or bad input, 130 interrupted (Ctrl-C), 143 terminated (SIGTERM).
    """


def main() -> None:
    """Run the command; every error becomes one message and an exit code, never a traceback."""
    lifetime.begin()
    keep_freed_memory()
    try:
        _gvf.main(prog_name="gvf", standalone_mode=False)
    except BaseException as error:
        code = lifetime.exit_code()
        if code is None:
            sys.exit(_report(error))
        try:
            sys.stdout.flush()
            click.echo("Terminated." if code == lifetime.TERMINATED else "Aborted.", err=True)
        finally:  # the reader of the output may have exited as well
            lifetime.end_now(code)


def _report(error: BaseException) -> int:
    """Print what went wrong and return the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort | KeyboardInterrupt):
        click.echo("Aborted.", err=True)
        return lifetime.INTERRUPTED
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, GvfError):
        click.echo(f"Error: {error}", err=True)
        return error.exit_code
    if failure := system_error(error):
        click.echo(f"Error: {advice(failure)}", err=True)
        return 1
    click.echo(f"Error: {_fault(error)}", err=True)
    return 1


def _fault(error: BaseException) -> str:
    """Return a message about an unexpected error, whose traceback is written to a file."""
    what = f"{type(error).__name__}: {clean(str(error))}"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        what = f"out of memory ({what}). Lower execution.workers or the batch size, or raise training.gradient_accumulation_steps"
    command = "-".join(word for word in sys.argv[1:3] if not word.startswith("-"))
    folder = Path("work") if Path("work").is_dir() else Path(tempfile.gettempdir())
    path = folder / f"{command or 'gvf'}-error.log"
    trace = "".join(traceback.format_exception(error))
    try:
        path.write_text(trace, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return f"{what}. Please report it with this traceback:\n{trace}"
    return f"{what}. Its traceback is in {path}; please report it if nothing in the message helps."
