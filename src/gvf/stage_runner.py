"""The frame around every stage: checked parameters and folders, one tracked run, one metrics file."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from gvf.config.load import as_dict, load_params
from gvf.errors import UserError
from gvf.locks import demand_writable, exclusive
from gvf.storage.files import write_json
from gvf.tracking import client as tracking
from gvf.workspace import Workspace

# Folders that a stage writes to besides its metrics.
OUTPUTS = {
    "collect": ("data/raw",),
    "curate": ("data/curated",),
    "render": ("data/renders",),
    "featurize": ("data/features",),
    "train-vae-static": ("models/vae_static", "reports/curves/train-vae-static.csv"),
    "train-vae-joint": ("models/vae_joint", "reports/curves/train-vae-joint.csv"),
    "encode": ("data/latents",),
    "train-dit": ("models/dit", "reports/curves/train-dit.csv"),
    "sample": ("data/predictions",),
    "evaluate": ("reports/scores",),
    "report": ("reports/tables", "reports/index.html"),
}


def run_stage(name: str, module: str, params_path: str) -> None:
    """Run stage `name`: `module.run(params, workspace)` inside one tracked run; its metrics go to `reports/metrics/<name>.json`.

    Raises StageError when another process runs the stage in this folder, and UserError when results cannot be written
    there or a launcher has started several processes of a stage that does not train. In distributed training, rank 0
    alone holds the lock, is tracked and writes.
    """
    params, workspace = load_params(params_path), Workspace()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not name.startswith("train-"):
        raise UserError(
            f"{name} runs in one process: start it without `deepspeed` or `torchrun`, which training is for."
        )
    if int(os.environ.get("RANK", "0")) != 0:
        importlib.import_module(module).run(params, workspace)
        return
    metrics_path = workspace.metrics(name)
    demand_writable([workspace.locks / name, metrics_path, *map(Path, OUTPUTS[name])])
    with exclusive(workspace, name), tracking.stage_run(name, as_dict(params), params.tracking):
        # Imported after tracking has started, so that torch and MLflow load side by side.
        metrics = importlib.import_module(module).run(params, workspace)
        tracking.log_metrics(metrics)
        write_json(metrics_path, metrics)
