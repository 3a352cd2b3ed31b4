"""Section `train_dit`: training of the variation field diffusion transformer (Sec. 3.2)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT
from gvf.config.training import TrainingConfig


@dataclass(frozen=True, config=STRICT)
class DitAugmentationConfig:
    """Changes of the training clips that keep video and motion consistent and cost nothing, beyond the paper."""

    playback: Annotated[float, Field(ge=0.0, le=1.0)]
    """Probability that a drawn clip is played backwards, there and back, at half speed or with a pause."""
    feature_noise: NonNegativeFloat
    """Noise on the pixel-aligned features: its standard deviation, in units of theirs, is drawn for each clip, uniformly from 0
    to this."""


@dataclass(frozen=True, config=STRICT)
class TrainDitConfig:
    """Training of the diffusion transformer."""

    initial_weights: str | None
    """Folder of the transformer that training starts from, such as `variation_dit` of a generator; null for random weights.
    `num_static` may differ."""
    num_diffusion_steps: Annotated[int, Field(ge=2)]
    """Steps of the cosine noise schedule (S)."""
    timestep_shift: PositiveFloat
    """How much more often training draws noisy diffusion steps than clean ones: a uniform u in [0, 1) becomes
    shift u / (1 + (shift - 1) u). With 1, as in the paper, all steps are equally likely."""
    cond_drop_prob: Annotated[float, Field(ge=0.0, le=1.0)]
    """Probability with which a sample's video tokens are zeroed, for classifier-free guidance."""
    augmentation: DitAugmentationConfig | None
    """Changes of the training clips; null for none, as in the paper."""
    training: TrainingConfig
    """Optimiser and its schedule."""
