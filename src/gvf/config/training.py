"""How a model is trained: embedded as `training` in sections `train_vae_static`, `train_vae_joint` and `train_dit`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gvf.config.checks import at_least, between, one_of, positive
from gvf.errors import ConfigError

SCHEDULES = ("constant", "cosine")
PRECISIONS = ("auto", "float32", "bfloat16")

# What may differ between the run that wrote a checkpoint and the one that resumes it: when things are written, and how
# the work is divided over memory and processes. The method's numbers do not depend on them (up to rounding).
_OPERATIONAL = (
    "accumulation",
    "zero_stage",
    "loader_threads",
    "sample_every",
    "checkpoint_every",
    "checkpoint_seconds",
)


@dataclass(frozen=True)
class TrainingConfig:
    """One optimiser, AdamW, and everything around it.

    steps: optimiser steps. batch_size: items of one optimiser step, over all processes and accumulated passes together.
    accumulation: passes that make one step; each process sees batch_size / accumulation / processes items at once.
    learning_rate: after the warm-up, for parameter groups of rate 1. schedule: `constant`, or `cosine` down to 0 after
    `steps`. warmup_steps: steps of linear increase. betas: AdamW's. weight_decay: decoupled, on every parameter.
    clip_norm: largest global gradient norm. ema_decay: of the averaged weights, once an optimiser step.
    precision: of autocast; weights, gradients and optimiser stay float32. `auto` is bfloat16 where the hardware has it.
    zero_stage: DeepSpeed ZeRO, 0 (nothing divided) to 3 (optimiser, gradients and weights divided over processes).
    loader_threads: threads that read ahead; 0 reads between steps.
    log_every: steps a point of the curves is the mean of. sample_every: steps between looks at what the model does.
    checkpoint_every, checkpoint_seconds: a checkpoint is written after so many steps, or seconds, whichever is first.
    """

    steps: int
    batch_size: int
    accumulation: int
    learning_rate: float
    schedule: str
    warmup_steps: int
    betas: tuple[float, float]
    weight_decay: float
    clip_norm: float
    ema_decay: float
    precision: str
    zero_stage: int
    loader_threads: int
    log_every: int
    sample_every: int
    checkpoint_every: int
    checkpoint_seconds: float

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulation", "log_every", "sample_every", "checkpoint_every"):
            at_least(f"training.{name}", getattr(self, name), 1)
        for name in ("warmup_steps", "weight_decay", "loader_threads"):
            at_least(f"training.{name}", getattr(self, name), 0)
        for name in ("learning_rate", "clip_norm", "checkpoint_seconds"):
            positive(f"training.{name}", getattr(self, name))
        for beta in self.betas:
            if not 0.0 <= beta < 1.0:
                raise ConfigError("training.betas", f"is {list(self.betas)}, both must be at least 0 and below 1.")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ConfigError("training.ema_decay", f"is {self.ema_decay}, must be at least 0 and below 1.")
        one_of("training.schedule", self.schedule, SCHEDULES)
        one_of("training.precision", self.precision, PRECISIONS)
        between("training.zero_stage", self.zero_stage, 0, 3)
        if self.batch_size % self.accumulation:
            raise ConfigError(
                "training.batch_size",
                f"is {self.batch_size}, must be a multiple of training.accumulation {self.accumulation}.",
            )

    def identity(self) -> dict[str, Any]:
        """The fields that decide the numbers, as plain values: what a checkpoint to resume from must agree on."""
        values = {name: value for name, value in asdict(self).items() if name not in _OPERATIONAL}
        if self.schedule == "constant":
            del values["steps"]  # a longer run only goes on
        return values | {"betas": list(self.betas)}
