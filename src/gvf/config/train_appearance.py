"""Section `train_appearance`: training of the structured latent flow (TRELLIS, its second stage)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT
from gvf.config.training import TrainingConfig


@dataclass(frozen=True, config=STRICT)
class TrainAppearanceConfig:
    """Training of the structured latent flow."""

    image_drop_prob: Annotated[float, Field(ge=0.0, le=1.0)]
    """Probability with which a training example lacks its image, for classifier-free guidance."""
    training: TrainingConfig
    """Optimiser and its schedule."""
