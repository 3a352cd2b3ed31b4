"""Section `train_structure`: training of the structure VAE, then of the structure flow on its latents (TRELLIS, first stage)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT
from gvf.config.training import TrainingConfig


@dataclass(frozen=True, config=STRICT)
class SsVaeTrainingConfig:
    """Training of the structure VAE."""

    loss: Literal["dice", "cross_entropy"]
    """Loss of the decoded occupancy."""
    kl: NonNegativeFloat
    """Weight of the KL divergence."""
    training: TrainingConfig
    """Optimiser and its schedule."""


@dataclass(frozen=True, config=STRICT)
class SsFlowTrainingConfig:
    """Training of the structure flow."""

    image_drop_prob: Annotated[float, Field(ge=0.0, le=1.0)]
    """Probability with which a training example lacks its image, for classifier-free guidance."""
    training: TrainingConfig
    """Optimiser and its schedule."""


@dataclass(frozen=True, config=STRICT)
class TrainStructureConfig:
    """Training of the networks of the sparse structure, one after the other."""

    vae: SsVaeTrainingConfig
    """The VAE is trained first."""
    flow: SsFlowTrainingConfig
    """The flow is trained then, on the VAE's latents."""
