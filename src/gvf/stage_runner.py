"""Run a stage: check its parameters and folders, track one run, and write one metrics file."""

from __future__ import annotations

import importlib
import os
from dataclasses import asdict

from gvf.config.load import as_dict, load_params
from gvf.config.params import Params
from gvf.errors import UserError
from gvf.execution.threads import limited_threads
from gvf.locks import demand_writable, exclusive
from gvf.stage_table import STAGES
from gvf.storage.files import write_json
from gvf.tracking import client as tracking
from gvf.tracking.usage import measured
from gvf.workspace import Workspace


def run_stage(name: str, module: str, params_path: str) -> None:
    """Run stage `name`: `module.run(params, workspace)` inside one tracked run; its metrics go to `reports/metrics/<name>.json`,
    its duration and peak memory to `work/usage/<name>.json`.

    Raises StageError when another process runs the stage in this workspace, and UserError when results cannot be written
    there or a launcher has started several processes of a stage that does not train. In distributed training, rank 0
    alone holds the lock, is tracked and writes.
    """
    stage, workspace, params = STAGES[name], Workspace(), load_params(params_path)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not stage.trains:
        raise UserError(
            f"{name} runs in one process only: start it without `deepspeed` or `torchrun`, which are for training."
        )
    if int(os.environ.get("RANK", "0")) != 0:
        _run(module, params, workspace)
        return
    metrics_path = workspace.metrics(name)
    demand_writable([workspace.locks / name, metrics_path, *stage.outputs(workspace)])
    with exclusive(workspace, name), tracking.stage_run(name, as_dict(params), params.tracking, workspace):
        # Imported after tracking has started, so that torch and MLflow load side by side.
        with measured() as usage:
            metrics = _run(module, params, workspace)
        tracking.log_metrics({**metrics, **asdict(usage)})
        write_json(metrics_path, metrics)
        write_json(workspace.usage(name), asdict(usage))


def _run(module: str, params: Params, workspace: Workspace) -> dict[str, float]:
    stage = importlib.import_module(module)
    with limited_threads(params.execution.threads, params.run.device):
        metrics: dict[str, float] = stage.run(params, workspace)
    return metrics
