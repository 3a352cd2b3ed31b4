"""Stage `ablate`: one variant of Tables 2, 3, 5 and 6, trained, sampled and scored with one seed.

A variant has its own workspace, which takes what all variants share from the checkout, and runs the same stages as
the root pipeline does. Its results go to `ablations/results/<model>-<variant>-<seed>.json`, with its training curve as CSV
and a strip of one clip's frames as PNG; these files are the same every time. `work/runs/ablations/` has a file per variant
that says how long it took and where its MLflow run is.
"""

from __future__ import annotations

import importlib
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

from gvf.config.ablations import MODELS, load_ablations
from gvf.config.load import parse, read_yaml
from gvf.config.params import Params
from gvf.data.clips import accepted_clips
from gvf.data.manifest import HELD_OUT
from gvf.errors import UserError
from gvf.execution.threads import limited_threads
from gvf.locks import demand_writable, exclusive
from gvf.storage.files import atomic_path, load_npz, read_json, write_json
from gvf.tracking import client as tracking
from gvf.tracking import run_records
from gvf.tracking.provenance import flatten, identify
from gvf.workspace import Workspace
from gvf_evaluation.ablations import tables_of
from gvf_evaluation.reporting.images import strip
from gvf_evaluation.reporting.shown_clips import VIEW

EXPERIMENT = "ablations"


@dataclass(frozen=True)
class Recipe:
    """How a model's variants are produced. shared: what they take from the checkout. stages: the first one trains.

    The method that is scored has the model's name.
    """

    shared: frozenset[str]
    stages: tuple[str, ...]

    @property
    def training(self) -> str:
        """Return the name of the stage that trains."""
        return self.stages[0].replace("_", "-")


RECIPES = {
    "vae": Recipe(
        frozenset({"data/curated", "data/renders", "data/features", "models/vae_static"}),
        ("train_vae_joint", "sample", "evaluate"),
    ),
    "dit": Recipe(
        frozenset({"data/curated", "data/renders", "data/features", "data/latents", "models/vae_joint"}),
        ("train_dit", "sample", "evaluate"),
    ),
}


@click.command("ablate")
@click.argument("model", type=click.Choice(MODELS))
@click.argument("variant")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the whole run.")
def command(model: str, variant: str, seed: int) -> None:
    """Train, sample and score one variant of ablations/params.yaml (a stage of ablations/dvc.yaml).

    Run it in the project's root after `dvc repro`: it starts from the root's data and models.
    """
    name = f"{model}-{Path(variant).name}-{seed}"
    workspace = Workspace()
    demand_writable([work_folder(workspace, name), *result_files(workspace, name), record_file(workspace, name)])
    with exclusive(workspace, f"ablate-{name}"):
        ablate(workspace, model, variant, seed)


def work_folder(workspace: Workspace, name: str) -> Path:
    """Return the folder in which a variant is made."""
    return workspace.path("ablations/work") / name


def result_files(workspace: Workspace, name: str) -> tuple[Path, Path, Path]:
    """Return the files of a variant's metrics, training curve and strip."""
    json, csv, png = (workspace.ablation_results / f"{name}.{suffix}" for suffix in ("json", "csv", "png"))
    return json, csv, png


def record_file(workspace: Workspace, name: str) -> Path:
    """Return the file that records a variant's MLflow run and how long it took."""
    return workspace.runs / EXPERIMENT / f"{name}.json"


def ablate(workspace: Workspace, model: str, variant: str, seed: int) -> None:
    """Make one variant and write its result, resuming the training of a run that was killed.

    Raises UserError for a variant that is not listed or when the root pipeline has not made what it starts from.
    """
    recipe = RECIPES[model]
    root = read_yaml(workspace.path("params.yaml"))
    values = load_ablations(workspace.ablation_params, root).values(root, model, variant, seed)
    values["sample"] = {**values["sample"], "methods": [model]}
    params = parse(Params, values, "")
    unseeded = {**values, "run": {**values["run"], "seed": None}}
    run = tracking.Variant(
        name=f"{model}-{variant}",
        key=identify(workspace, EXPERIMENT, unseeded, workspace.curated_manifest).key,
        seed=seed,
        headline=f"{model}_psnr",
        tags={"model": model, "config": variant, "table": " ".join(map(str, tables_of(model, variant)))},
    )
    name = f"{model}-{variant}-{seed}"
    folder = work_folder(workspace, name)
    _demand_inputs(workspace, recipe.shared)
    own = Workspace(folder, workspace.root, recipe.shared)
    began = time.monotonic()
    with (
        tracking.stage_run(EXPERIMENT, values, params.tracking, own, run),
        limited_threads(params.execution.threads, params.run.device),
    ):
        for stage in recipe.stages:
            package = "gvf_evaluation" if stage == "evaluate" else "gvf"
            metrics = importlib.import_module(f"{package}.stages.{stage}").run(params, own)
            tracking.log_metrics(metrics)
        identity = identify(own, EXPERIMENT, values, own.curated_manifest)
        clip, image = _strip(own, model)
        tracking.log_figure(clip, image)
    record = run_records.newest_path(own, EXPERIMENT)
    logged = read_json(record) if record.is_file() else {}
    result_file, curve_file, strip_file = result_files(workspace, name)
    with atomic_path(strip_file) as partial:
        Image.fromarray(image).save(partial)
    with atomic_path(curve_file) as partial:
        shutil.copyfile(own.curve(recipe.training), partial)
    write_json(record_file(workspace, name), {**logged, "minutes": (time.monotonic() - began) / 60.0})
    result = {
        "model": model,
        "variant": variant,
        "seed": seed,
        "preset": identity.preset,
        "data": identity.data,
        "data_digest": identity.data_digest,
        "code": identity.code,
        "run": identity.name,
        "changes": {
            name: value for name, value in flatten(values).items() if (name, value) not in flatten(root).items()
        },
        "clip": clip,
        "figures": metrics,
    }
    write_json(result_file, result)
    shutil.rmtree(folder)


def _strip(workspace: Workspace, method: str) -> tuple[str, np.ndarray]:
    """Return the predicted held-out clip that moves most, and a strip of its frames in one evaluation view."""
    clips = accepted_clips(workspace, after=workspace.predictions)
    clips = clips[clips["split"] == HELD_OUT]
    clip = str(clips.sort_values(["motion", "clip_id"], ascending=[False, True])["clip_id"].iloc[0])
    images = load_npz(workspace.predictions / f"{clip}.npz", [f"{method}_rgb"])[f"{method}_rgb"]
    return clip, strip(images[:, VIEW])


def _demand_inputs(workspace: Workspace, shared: Iterable[str]) -> None:
    for name in (*shared, "dvc.lock"):
        if not (path := workspace.path(name)).exists():
            raise UserError(f"{path}: no such file or folder. Run `dvc repro` in the project's root first.")
