"""The `gvf` command: a table of commands, each loaded when called, so that `gvf --help` needs no torch."""

from __future__ import annotations

import importlib
import math
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gvf import __version__, lifetime
from gvf.errors import GvfError, advice, system_error
from gvf.text import clean

# command -> (module:attribute of a click command, one line of help)
COMMANDS = {
    "ablate": (
        "gvf_evaluation.commands.ablate:command",
        "Train, sample and score one variant of ablations/params.yaml.",
    ),
    "report-ablations": (
        "gvf_evaluation.commands.report_ablations:command",
        "Tables 2, 3, 5 and 6 from ablations/results.",
    ),
    "bake": ("gvf.cli.bake:command", "Bake one animation clip of a glTF file to vertices over time."),
    "params": ("gvf.cli.params:command", "Check a parameter file; write its JSON schema."),
    "test-sets": ("gvf_evaluation.commands.test_sets:command", "Public test sets: list, verify, identify, reserve."),
    "summary": ("gvf.cli.summary:command", "Parameters and activation memory of a preset's networks."),
    "weights": ("gvf.cli.weights:command", "Published weights: list, pull, convert."),
}

# stage command -> (module of its run(params), one line of help)
STAGES = {
    "collect": ("gvf.stages.collect", "Gather animated assets and list their clips."),
    "curate": ("gvf.stages.curate", "Bake every clip, decide which are kept and why, split them."),
    "render": ("gvf.stages.render", "Ray-cast ground-truth views and conditioning videos."),
    "featurize": ("gvf.stages.featurize", "Image features on active voxels and of conditioning videos."),
    "encode": ("gvf.stages.encode", "Encode every clip to latents; their mean and standard deviation."),
    "train-dit": ("gvf.stages.train_dit", "Train the diffusion transformer."),
    "sample": ("gvf.stages.sample", "Generate 4D for held-out videos and render it."),
    "evaluate": ("gvf_evaluation.stages.evaluate", "Metrics of generated and reconstructed 4D against ground truth."),
    "report": ("gvf_evaluation.stages.report", "Tables, figures and reports/index.html."),
}
VAE_PHASES = {
    "static": ("gvf.stages.train_vae_static", "canonical autoencoder"),
    "joint": ("gvf.stages.train_vae_joint", "variation VAE and finetuned Gaussian decoder"),
}


class _LazyGroup(click.Group):
    """Lists commands from the tables and imports one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*STAGES, "train-vae", *COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "evaluate":
            return _evaluate
        if cmd_name in STAGES:
            return _stage_command(cmd_name, *STAGES[cmd_name])
        if cmd_name == "train-vae":
            return _train_vae
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name][0].partition(":")
            return getattr(importlib.import_module(module), attribute)
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        stages = [(name, text) for name, (_, text) in STAGES.items()]
        stages.insert(4, ("train-vae", "Train the VAE: --phase static, then --phase joint."))
        with formatter.section("Stages (run by `dvc repro`, each reads params.yaml)"):
            formatter.write_dl(stages)
        with formatter.section("Tools"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _run_stage(name: str, module: str, params_path: str) -> None:
    from gvf.stage_runner import run_stage

    run_stage(name, module, params_path)


def _params_option(function: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--params",
        "params_path",
        default="params.yaml",
        show_default=True,
        type=click.Path(dir_okay=False),
        help="The composed parameter file; the stage reads and writes relative to the current folder.",
    )(function)


def _set_local_rank(context: click.Context, option: click.Parameter, value: int | None) -> None:
    """Export the rank that DeepSpeed's launcher passes as an option; torchrun sets the environment variable itself."""
    if value is not None:
        os.environ.setdefault("LOCAL_RANK", str(value))


def _launcher_option(function: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--local_rank", "--local-rank", type=int, hidden=True, expose_value=False, callback=_set_local_rank
    )(function)


def _stage_command(name: str, module: str, text: str) -> click.Command:
    @_launcher_option
    @_params_option
    def run(params_path: str) -> None:
        _run_stage(name, module, params_path)

    return click.command(name, help=f"{text} Stage `{name}` of dvc.yaml.")(run)


@click.command("train-vae")
@click.option("--phase", type=click.Choice(list(VAE_PHASES)), required=True, help="Which of the two phases to train.")
@_launcher_option
@_params_option
def _train_vae(phase: str, params_path: str) -> None:
    """Train the VAE in two phases: canonical autoencoder, then variation VAE with a finetuned Gaussian decoder."""
    _run_stage(f"train-vae-{phase}", VAE_PHASES[phase][0], params_path)


def _seconds(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter(f"{value:g} is no time. Give seconds above zero, or leave it out.", context, option)
    return value


@click.command("evaluate")
@click.option("--predictions", type=click.Path(path_type=Path), help="Frames to score: <object>/eval_<view>/<int>.png.")
@click.option("--method", help="Name of the method, as Table 1 shall call it.")
@click.option(
    "--ground-truth",
    type=click.Path(path_type=Path),
    help="Ground-truth frames; by default `gt` beside the predictions.",
)
@click.option("--protocol", help="consistent4d (the default) or gvf.")
@click.option("--seconds", type=float, callback=_seconds, help="Making one object, without alignment and rendering.")
@click.option("--seconds-in-all", type=float, callback=_seconds, help="The same with alignment and rendering.")
@click.option("--generated-on", metavar="DEVICE", help="Where these times were taken.")
@_params_option
def _evaluate(params_path: str, predictions: Path | None, method: str | None, **details: Any) -> None:
    """Metrics of generated and reconstructed 4D against ground truth. Stage `evaluate` of dvc.yaml.

    With --predictions and --method, any method's rendered frames instead, by a named protocol: the result goes to
    reports/benchmark, where the stage `report` finds it for Table 1, and to MLflow.
    """
    if predictions is None:
        given = [name for name, value in (("method", method), *details.items()) if value is not None]
        if given:
            raise click.UsageError(f"--{given[0].replace('_', '-')} needs --predictions.")
        _run_stage("evaluate", STAGES["evaluate"][0], params_path)
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


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="gvf")
@_launcher_option
def _gvf() -> None:
    """Turn one video of an object into an animated 3D asset (4D Gaussian splats), and train the models that do so.

    Exit codes: 0 done, 1 failed, 2 wrong usage or bad input, 130 interrupted (Ctrl-C), 143 terminated (SIGTERM).
    """


def main() -> None:
    """Run the command; any error becomes one message and an exit code, never a traceback."""
    lifetime.begin()
    try:
        _gvf.main(standalone_mode=False)
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


if __name__ == "__main__":
    main()
