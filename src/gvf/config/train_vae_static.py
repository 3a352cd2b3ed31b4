"""Section `train_vae_static`: stage 1, training of the canonical autoencoder."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT, clash
from gvf.config.training import TrainingConfig


@dataclass(frozen=True, config=STRICT)
class CanonicalLossConfig:
    """Weights of the canonical loss: L1 (weight 1) + ssim (1 - SSIM) + lpips LPIPS + kl KL + volume V + opacity O."""

    ssim: NonNegativeFloat
    """Weight of 1 - SSIM."""
    lpips: NonNegativeFloat
    """Weight of LPIPS."""
    kl: NonNegativeFloat
    """Weight of the KL divergence."""
    volume: NonNegativeFloat
    """Weight of V, the mean product of the three scales in units of the voxel's volume."""
    opacity: NonNegativeFloat
    """Weight of O, the mean of (opacity - 1)^2."""


@dataclass(frozen=True, config=STRICT)
class InitialWeightsConfig:
    """Initial weights per network: null for random weights, a name of published weights (`gvf weights list`), or a path.

    The paper finetunes TRELLIS weights. TRELLIS's public Gaussian decoder (`slat-gs-decoder`) has 32 Gaussians per voxel,
    the paper's has 8; the release starts from a file with 8, `static-vae-initial`.
    """

    encoder: str | None
    """Initial weights of E_GS."""
    decoder: str | None
    """Initial weights of D_GS."""


@dataclass(frozen=True, config=STRICT)
class TrainVaeStaticConfig:
    """Training of the canonical autoencoder."""

    views_per_clip: PositiveInt
    """Canonical views rendered for each clip of a batch."""
    initial_weights: InitialWeightsConfig
    """Weights that training starts from."""
    train_encoder: bool
    """Whether E_GS is trained with D_GS. The paper keeps all of E_GS frozen; the release's code trains its first and last
    layer. Stage 2 always keeps it frozen."""
    canonical_loss: CanonicalLossConfig
    """Weights of the loss."""
    training: TrainingConfig
    """Optimiser and its schedule."""

    @model_validator(mode="after")
    def _trains_a_random_encoder(self) -> TrainVaeStaticConfig:
        if not self.train_encoder and self.initial_weights.encoder is None:
            raise clash(
                "train_encoder",
                "is false, but initial_weights.encoder is null: an encoder of random weights would stay random.",
            )
        return self
