"""Options and functions shared by the commands of all stages."""

from __future__ import annotations

import os
from collections.abc import Callable

import click


def params_option(function: Callable[..., None]) -> Callable[..., None]:
    """Add the option `--params` to a command."""
    return click.option(
        "--params",
        "params_path",
        default="params.yaml",
        show_default=True,
        type=click.Path(dir_okay=False),
        help="The composed parameter file. The stage reads and writes in the current folder.",
    )(function)


def launcher_option(function: Callable[..., None]) -> Callable[..., None]:
    """Add the hidden option by which launchers tell a process its local rank."""
    return click.option(
        "--local_rank", "--local-rank", type=int, hidden=True, expose_value=False, callback=_set_local_rank
    )(function)


def stage_command(name: str, module: str, text: str) -> click.Command:
    """Return the command of a stage. module: where its `run(params, workspace)` is. text: one line of help."""

    @launcher_option
    @params_option
    def run(params_path: str) -> None:
        run_stage(name, module, params_path)

    return click.command(name, help=f"{text} Stage `{name}` of dvc.yaml.")(run)


def run_stage(name: str, module: str, params_path: str) -> None:
    """Run a stage in the current folder."""
    from gvf import stage_runner

    stage_runner.run_stage(name, module, params_path)


def _set_local_rank(context: click.Context, option: click.Parameter, value: int | None) -> None:
    """Export the rank that DeepSpeed's launcher passes as an option; torchrun sets the environment variable itself."""
    if value is not None:
        os.environ.setdefault("LOCAL_RANK", str(value))
