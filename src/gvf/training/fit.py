"""What the three training stages share: the engine, checkpoints outside DVC's outputs, the curve, the exported model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gvf.config.execution import ExecutionConfig
from gvf.config.load import as_dict
from gvf.config.run import RunConfig
from gvf.config.training import TrainingConfig
from gvf.storage.files import sha256
from gvf.tracking import client as tracking
from gvf.training.allocator import keep_freed_memory
from gvf.training.batches import Batches, Draw
from gvf.training.checkpoint import Checkpoints, export, shapes_digest
from gvf.training.engine import Engine
from gvf.training.loop import LossFunction, train, write_curve
from gvf.training.optimizer import ParameterGroup
from gvf.training.randomness import seed_everything
from gvf.training.world import join
from gvf.workspace import Workspace

Batch = TypeVar("Batch")
Model = TypeVar("Model", bound=nn.Module)


def fit(
    stage: str,
    workspace: Workspace,
    run: RunConfig,
    execution: ExecutionConfig,
    training: TrainingConfig,
    build: Callable[[], Model],
    groups: Callable[[Model], Sequence[ParameterGroup]],
    num_items: int,
    load: Callable[[Draw], Batch],
    loss_function: LossFunction[Batch],
    *,
    sections: Mapping[str, Any],
    inputs: Sequence[Path],
    output: Path,
) -> dict[str, float]:
    """Train a model and export its averaged weights to `output`, resuming a run that was killed.

    build: makes the model, after seeding. sections: configs that decide the result, kept beside the weights and in the
    identity of checkpoints, with digests of the files `inputs`. load, loss_function: see `gvf.training`.
    Returns the last point of the curve and the seconds of a step.
    """
    keep_freed_memory()
    world = join(run.device)
    seed_everything(run.seed)
    model = build()
    weights = shapes_digest(model)
    engine = Engine(model, groups(model), training, world)
    plain = {name: as_dict(section) for name, section in sections.items()}
    digests = {str(path): sha256(path) for path in (workspace.curated_manifest, *inputs)}
    method = {
        name: {key: value for key, value in section.items() if key != "training"} for name, section in plain.items()
    }
    identity = method | {"training": training.identity(), "seed": run.seed, "inputs": digests, "weights": weights}
    checkpoints = Checkpoints(workspace.checkpoints(stage), identity)
    batches = Batches(num_items, load, training, run.seed, world, execution.loader_threads)

    def loss_on_device(model: Any, batch: Batch, draw: Draw) -> tuple[Tensor, Mapping[str, Tensor]]:
        return loss_function(model, batch if world.device.type == "cpu" else to_device(batch, world.device), draw)

    result = train(engine, batches, loss_on_device, training, execution, tracking.log, checkpoints, describe=stage)
    with engine.averaged():
        if world.is_main:
            export(engine.model, plain, output)
    if world.is_main:
        write_curve(result.rows, workspace.curve(stage))
        tracking.log_model(output, stage)
        checkpoints.clear()
    world.wait()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    last = {name: value for name, value in result.rows[-1].items() if name not in ("step", "learning_rate")}
    return {**last, "steps": training.steps, "parameters": parameters}


def to_device(value: Any, device: torch.device) -> Any:
    """A batch, dataclasses and all, with every tensor on a device."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if is_dataclass(value) and not isinstance(value, type):
        moved = {field.name: to_device(getattr(value, field.name), device) for field in fields(value) if field.init}
        return replace(value, **moved)
    return value
