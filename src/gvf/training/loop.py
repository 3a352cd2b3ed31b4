"""The training loop: steps, curves, checkpoints, and resuming where a killed run stopped.

On CPU a run that is killed and resumed gives the same weights and curves, bit for bit, as one that is not.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from torch import Tensor
from tqdm import tqdm

from gvf.config.execution import ExecutionConfig
from gvf.config.training import TrainingConfig
from gvf.errors import StageError
from gvf.lifetime import TERMINATED, deferred_termination
from gvf.storage.files import PathLike, atomic_path
from gvf.training.batches import Batches, Draw
from gvf.training.checkpoint import Checkpoints
from gvf.training.engine import Engine
from gvf.training.optimizer import learning_rate
from gvf.training.randomness import deterministic, seed_everything

Batch = TypeVar("Batch")
LossFunction = Callable[[Any, Batch, Draw], tuple[Tensor, Mapping[str, Tensor]]]
"""Takes a model, a batch and its Draw; returns the mean loss over the batch's items and scalars to plot."""
Log = Callable[[int, Mapping[str, float]], None]
"""Takes a step and the values of every curve at that step."""

# What rank 0 broadcasts after a step: 0 to continue, 1 to write a checkpoint, this value to write one and stop.
_TERMINATE = 2


@dataclass
class Curves:
    """The curves of a run so far.

    rows: one point each, with `step`, the loss and its terms. seconds: of training until each point, without the time
    between a kill and the resumption. sums, counts: of each value since the last point; not every step has the same
    terms. elapsed: seconds of training so far.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    elapsed: float = 0.0

    def add(self, values: Mapping[str, float]) -> None:
        """Add the values of one step."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def point(self, step: int) -> dict[str, float]:
        """Add a point at `step`, the mean of every value since the last one, and return it."""
        row = {name: total / self.counts[name] for name, total in self.sums.items()}
        self.rows.append({"step": step, **row})
        self.seconds.append(round(self.elapsed, 3))
        self.sums, self.counts = {}, {}
        return row


@dataclass(frozen=True)
class TrainingResult:
    """rows: the whole curve, including the part before resuming. seconds: of training until each row.

    resumed_from: step of the checkpoint, 0 for none.
    """

    rows: Sequence[Mapping[str, float]]
    seconds: Sequence[float]
    resumed_from: int


def train(
    engine: Engine,
    batches: Batches[Batch],
    loss_function: LossFunction[Batch],
    config: TrainingConfig,
    execution: ExecutionConfig,
    log: Log,
    checkpoints: Checkpoints,
    *,
    describe: str,
) -> TrainingResult:
    """Train to `config.steps` optimiser steps, from the newest checkpoint if there is one.

    log: called by rank 0 with every point of the curves; after resuming with the earlier ones again, so that a new
    tracking run has them all. describe: shown before the progress bar.
    After SIGTERM, training finishes the current step, writes a checkpoint and raises SystemExit(143). Raises StageError
    when a loss or gradient is not finite (the last good checkpoint is kept).
    """
    world = engine.world
    start, curves = _resume(engine, checkpoints, config)
    if world.is_main:
        for row in curves.rows:
            log(int(row["step"]), {name: value for name, value in row.items() if name != "step"})
    engine.model.train()
    passes = batches.after(start)
    saved = time.monotonic()
    began = saved - curves.elapsed
    with (
        deferred_termination() as terminating,
        deterministic(world.device),
        _progress_bar(start, config.steps, describe, shown=world.is_main) as bar,
    ):
        for step in range(start + 1, config.steps + 1):
            values = _step(engine, passes, loss_function, config, step, checkpoints)
            curves.add(values)
            curves.elapsed = time.monotonic() - began
            bar.set_postfix_str(f"loss {values['loss']:.4g}", refresh=False)
            bar.update()
            if step % execution.log_every == 0 or step == config.steps:
                row = curves.point(step)
                if world.is_main:
                    log(step, row)
            late = time.monotonic() - saved >= execution.checkpoint_seconds
            due = engine.broadcast_from_main(_TERMINATE if terminating() else int(late))
            if due or step % execution.checkpoint_every == 0 or step == config.steps:
                state = engine.state(step, asdict(curves))
                if world.is_main:
                    checkpoints.save(state)
                saved = time.monotonic()
            if due == _TERMINATE:
                if world.is_main:
                    tqdm.write(f"Terminated after step {step}; the next run resumes from {checkpoints.path(step)}.")
                raise SystemExit(TERMINATED)
    return TrainingResult(curves.rows, curves.seconds, start)


def write_curve(rows: Sequence[Mapping[str, float]], path: PathLike) -> None:
    """Write the curve as CSV: a column `step` and one per value."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _step(
    engine: Engine,
    passes: Iterator[tuple[Draw, Batch]],
    loss_function: LossFunction[Batch],
    config: TrainingConfig,
    step: int,
    checkpoints: Checkpoints,
) -> dict[str, float]:
    """Take one optimiser step; return its loss, the loss's terms, the gradient norm and the learning rate."""
    sums: dict[str, Tensor] = {}
    for part in range(config.gradient_accumulation_steps):
        draw, batch = next(passes)
        seed_everything(draw.seed)
        loss, terms = engine.backward(lambda model: loss_function(model, batch, draw))  # noqa: B023
        for name, value in {"loss": loss, **terms}.items():
            sums[name] = (
                sums[name] + value / config.gradient_accumulation_steps
                if part
                else value / config.gradient_accumulation_steps
            )
        if part + 1 == config.gradient_accumulation_steps:
            values = engine.mean(sums)
            _demand_finite("loss", values["loss"], values, step, checkpoints)
        norm = engine.step(step)
    _demand_finite("gradient", norm, values, step, checkpoints)
    return values | {"gradient_norm": norm, "learning_rate": learning_rate(step, config)}


def _demand_finite(what: str, value: float, values: Mapping[str, float], step: int, checkpoints: Checkpoints) -> None:
    if math.isfinite(value):
        return
    terms = ", ".join(f"{name} {number:.4g}" for name, number in values.items())
    last = checkpoints.newest()
    kept = f"The last good checkpoint is {last}." if last else "No checkpoint had been written yet."
    raise StageError(
        f"the {what} is {value} at step {step} ({terms}). {kept} Resuming would fail in the same way: lower "
        "training.learning_rate or training.max_grad_norm, or train in float32; training then starts from the beginning."
    )


def _resume(engine: Engine, checkpoints: Checkpoints, config: TrainingConfig) -> tuple[int, Curves]:
    """Resume from the newest checkpoint: rank 0 chooses it, and the other ranks read the same one."""
    state = checkpoints.latest(config.steps) if engine.world.is_main else None
    step = engine.broadcast_from_main(0 if state is None else state.step)
    if step == 0:
        return 0, Curves()
    if state is None:
        state = checkpoints.read(step)
    path = checkpoints.path(step)
    engine.restore(state, str(path))
    if engine.world.is_main:
        tqdm.write(f"Resuming from {path} (step {step} of {config.steps}).")
    return step, Curves(**state.progress)


def _progress_bar(start: int, steps: int, describe: str, shown: bool) -> tqdm[Any]:
    return tqdm(
        total=steps, initial=start, desc=describe, unit="step", disable=not shown, mininterval=1.0, dynamic_ncols=True
    )
