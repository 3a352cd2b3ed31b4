"""Any training in one function: engine, checkpoints outside DVC's outputs, the curve, the trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gvf.config.execution import ExecutionConfig
from gvf.config.load import as_dict
from gvf.config.run import RunConfig
from gvf.data.clips import clip_groups
from gvf.storage.files import sha256
from gvf.training.batches import Batches, Draw
from gvf.training.checkpoint import Checkpoints, shapes_digest
from gvf.training.engine import Engine
from gvf.training.loop import Log, train, write_curve
from gvf.training.randomness import seed_everything
from gvf.training.task import Task
from gvf.training.world import init
from gvf.workspace import Workspace

Batch = TypeVar("Batch")
Model = TypeVar("Model", bound=nn.Module)


def fit(
    task: Task[Model, Batch],
    output: Path,
    run: RunConfig,
    execution: ExecutionConfig,
    workspace: Workspace,
    log: Log,
    keep: bool = False,
) -> dict[str, float]:
    """Train a task's model and save its averaged weights in the folder `output`, resuming a run that was killed.

    run: seed and device. execution: when to log and write checkpoints, how many threads read batches and compute. workspace:
    where checkpoints and the curve go. log: called with every point of the curve. keep: whether the last checkpoint stays, so
    that the same call trains no step; for trainings that are followed by others in their stage.
    Returns the last point of the curve with the number of steps, seconds and parameters.
    """
    world = init(run.device)
    seed_everything(run.seed)
    model = task.build()
    checkpoints = Checkpoints(workspace.checkpoints(task.name), identity(task, model, run.seed))
    engine = Engine(model, task.parameter_groups(model), task.training, world)
    balance = task.training.balance
    groups = None if balance is None else clip_groups(workspace, task.clips, balance)
    batches = Batches(len(task.clips), task.load, task.training, run.seed, world, execution.loader_threads, groups)

    def loss_on_device(model: Any, batch: Batch, draw: Draw) -> tuple[Tensor, Mapping[str, Tensor]]:
        return task.loss(model, batch if world.device.type == "cpu" else to_device(batch, world.device), draw)

    result = train(engine, batches, loss_on_device, task.training, execution, log, checkpoints, describe=task.name)
    with engine.averaged():
        if world.is_main:
            task.save(model, output)
    if world.is_main:
        timed = [{**row, "seconds": seconds} for row, seconds in zip(result.rows, result.seconds, strict=True)]
        write_curve(timed, workspace.curve(task.name))
        if not keep:
            checkpoints.clear()
    world.wait()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    last = {name: value for name, value in result.rows[-1].items() if name not in ("step", "learning_rate")}
    return {**last, "steps": task.training.steps, "seconds": result.seconds[-1], "parameters": parameters}


def identity(task: Task[Model, Any], model: Model, seed: int) -> dict[str, Any]:
    """Return the values that decide a training's result; a checkpoint is only resumed from if they are the same."""
    method = {
        name: {key: value for key, value in as_dict(section).items() if key != "training"}
        for name, section in task.sections.items()
    }
    return method | {
        "training": task.training.identity(),
        "seed": seed,
        "inputs": {str(path): sha256(path) for path in task.inputs},
        "weights": shapes_digest(model),
    }


def to_device(value: Any, device: torch.device) -> Any:
    """Return a batch with every tensor on a device, those in dataclasses included."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if is_dataclass(value) and not isinstance(value, type):
        moved = {field.name: to_device(getattr(value, field.name), device) for field in fields(value) if field.init}
        return replace(value, **moved)
    return value
