"""How a model is trained: embedded as `training` in sections `train_vae_static`, `train_vae_joint` and `train_dit`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT, clash

# What may differ between the run that wrote a checkpoint and the one that resumes it: how the work is divided over
# memory and processes. The method's numbers do not depend on it (up to rounding).
_OPERATIONAL = (
    "gradient_accumulation_steps",
    "zero_stage",
)
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """One optimiser and everything around it."""

    steps: PositiveInt
    """Optimiser steps."""
    batch_size: PositiveInt
    """Items per optimiser step, over all processes and accumulated passes together."""
    balance: Literal["kind", "skeleton", "asset"] | None
    """What is drawn equally often, in which case the clips of one kind, skeleton or asset take turns; null for clips."""
    gradient_accumulation_steps: PositiveInt
    """Passes per optimiser step; each process sees batch_size / gradient_accumulation_steps / processes items at once."""
    optimizer: Literal["adamw", "muon"]
    """`adamw` as in the paper, or `muon`: Muon for the weight matrices inside the networks' blocks, AdamW for the rest."""
    learning_rate: PositiveFloat
    """Learning rate after the warm-up, of parameter groups whose scale is 1."""
    schedule: Literal["constant", "cosine"]
    """Learning rate after the warm-up: `constant`, or `cosine` down to 0 after `steps`."""
    warmup_steps: NonNegativeInt
    """Steps over which the learning rate rises linearly."""
    betas: tuple[Beta, Beta]
    """AdamW's betas."""
    weight_decay: NonNegativeFloat
    """Decoupled weight decay, applied to every parameter."""
    max_grad_norm: PositiveFloat
    """Largest global gradient norm; larger gradients are scaled down to it."""
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)]
    """Decay of the averaged weights, applied after every optimiser step."""
    precision: Literal["auto", "float32", "bfloat16"]
    """Precision of autocast; weights, gradients and optimiser stay float32. `auto` is bfloat16 where its products are faster."""
    zero_stage: Annotated[int, Field(ge=0, le=3)]
    """DeepSpeed ZeRO stage: 0 (nothing divided) to 3 (optimiser, gradients and weights divided over processes)."""

    @model_validator(mode="after")
    def _accumulates_whole_passes(self) -> TrainingConfig:
        if self.batch_size % self.gradient_accumulation_steps:
            raise clash(
                "batch_size",
                f"is {self.batch_size}, but must be a multiple of gradient_accumulation_steps, which is "
                f"{self.gradient_accumulation_steps}.",
            )
        return self

    @model_validator(mode="after")
    def _keeps_matrices_whole(self) -> TrainingConfig:
        if self.optimizer == "muon" and self.zero_stage > 0:
            raise clash(
                "zero_stage", f"is {self.zero_stage}, but must be 0 with optimizer muon, which needs whole matrices."
            )
        return self

    def identity(self) -> dict[str, Any]:
        """Return the fields that decide the numbers, as plain values: what a checkpoint to resume from must agree on."""
        values = {name: value for name, value in asdict(self).items() if name not in _OPERATIONAL}
        if self.schedule == "constant":
            del values["steps"]  # a longer run resumes from a shorter one
        return values | {"betas": list(self.betas)}
