"""Section `train_vae_static`: stage 1, the canonical autoencoder."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least
from gvf.config.training import TrainingConfig


@dataclass(frozen=True)
class CanonicalLossConfig:
    """Weights of the canonical loss: L1 (weight 1) + ssim (1 - SSIM) + lpips LPIPS + kl KL + volume V + opacity O.

    V is the mean product of the three scales in units of the voxel's volume, O the mean of (opacity - 1)^2.
    """

    ssim: float
    lpips: float
    kl: float
    volume: float
    opacity: float

    def __post_init__(self) -> None:
        for name in ("ssim", "lpips", "kl", "volume", "opacity"):
            at_least(f"canonical_loss.{name}", getattr(self, name), 0.0)


@dataclass(frozen=True)
class TrainVaeStaticConfig:
    """views_per_clip: canonical views rendered for each clip of a batch."""

    views_per_clip: int
    canonical_loss: CanonicalLossConfig
    training: TrainingConfig

    def __post_init__(self) -> None:
        at_least("train_vae_static.views_per_clip", self.views_per_clip, 1)
