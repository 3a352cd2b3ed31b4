"""Section `train_dit`: the variation field diffusion transformer (Sec. 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, between
from gvf.config.training import TrainingConfig


@dataclass(frozen=True)
class TrainDitConfig:
    """num_diffusion_steps: S of the cosine schedule. image_drop: how often a sample's video tokens are zeroed (guidance)."""

    num_diffusion_steps: int
    image_drop: float
    training: TrainingConfig

    def __post_init__(self) -> None:
        at_least("train_dit.num_diffusion_steps", self.num_diffusion_steps, 2)
        between("train_dit.image_drop", self.image_drop, 0.0, 1.0)
