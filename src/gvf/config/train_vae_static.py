"""Section `train_vae_static`: stage 1, the canonical autoencoder."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least
from gvf.config.training import TrainingConfig
from gvf.errors import ConfigError


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
class InitialWeightsConfig:
    """Initial weights per network: null for random weights, a name of published weights (`gvf weights list`), or a path.

    encoder: of E_GS. decoder: of D_GS. The paper finetunes TRELLIS weights. TRELLIS's public Gaussian decoder
    (`slat-gs-decoder`) has 32 Gaussians per voxel, the paper's has 8; the release starts from a file with 8,
    `static-vae-initial`.
    """

    encoder: str | None
    decoder: str | None


@dataclass(frozen=True)
class TrainVaeStaticConfig:
    """views_per_clip: canonical views rendered for each clip of a batch.

    train_encoder: whether E_GS is trained with D_GS. The paper keeps all of E_GS frozen; the release's code trains its
    first and last layer. Stage 2 always keeps it frozen.
    """

    views_per_clip: int
    initial_weights: InitialWeightsConfig
    train_encoder: bool
    canonical_loss: CanonicalLossConfig
    training: TrainingConfig

    def __post_init__(self) -> None:
        at_least("train_vae_static.views_per_clip", self.views_per_clip, 1)
        if not self.train_encoder and self.initial_weights.encoder is None:
            raise ConfigError(
                "train_vae_static.train_encoder",
                "is false, but initial_weights.encoder is null: an encoder of random weights would stay random.",
            )
