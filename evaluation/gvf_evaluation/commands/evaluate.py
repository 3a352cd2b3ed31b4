"""Command `evaluate`: the stage of that name, or with `--predictions` the frames of any method by a named protocol."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from gvf.cli.stages import launcher_option, params_option, run_stage

STAGE_MODULE = "gvf_evaluation.stages.evaluate"


def _seconds(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter(
            f"must be a number of seconds above zero, not {value:g}. Leave the option out if the time is unknown.",
            context,
            option,
        )
    return value


@click.command("evaluate")
@click.option("--predictions", type=click.Path(path_type=Path), help="Frames to score: <object>/eval_<view>/<int>.png.")
@click.option("--method", help="Name of the method in Table 1.")
@click.option(
    "--ground-truth", type=click.Path(path_type=Path), help="Ground-truth frames.  [default: `gt` beside PREDICTIONS]"
)
@click.option("--protocol", help="consistent4d or gvf.  [default: consistent4d]")
@click.option("--seconds", type=float, callback=_seconds, help="Time per object, without alignment and rendering.")
@click.option("--seconds-in-all", type=float, callback=_seconds, help="Time per object with alignment and rendering.")
@click.option("--generated-on", metavar="DEVICE", help="Device on which these times were measured.")
@launcher_option
@params_option
def command(params_path: str, predictions: Path | None, method: str | None, **details: Any) -> None:
    """Score generated and reconstructed clips against ground truth. Stage `evaluate` of dvc.yaml.

    With --predictions and --method, score any method's rendered frames by a named protocol instead. The result goes to
    reports/benchmark, where the stage `report` finds it for Table 1, and to MLflow.
    """
    if predictions is None:
        given = [name for name, value in (("method", method), *details.items()) if value is not None]
        if given:
            raise click.UsageError(f"--{given[0].replace('_', '-')} needs --predictions.")
        run_stage("evaluate", STAGE_MODULE, params_path)
        return
    if method is None:
        raise click.UsageError("--predictions needs --method NAME.")
    from gvf.locks import demand_writable
    from gvf.workspace import Workspace
    from gvf_evaluation.benchmark import Generation, Submission, run

    workspace = Workspace()
    demand_writable([workspace.benchmark / "result", workspace.benchmark_scores / "scores"])
    times = Generation(details["seconds"], details["seconds_in_all"], details["generated_on"])
    protocol = details["protocol"] or "consistent4d"
    run(Submission(method, predictions, details["ground_truth"], protocol, times), params_path, workspace)
