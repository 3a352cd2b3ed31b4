"""Section `train_vae_joint`: stage 2, the variation VAE together with the Gaussian decoder."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, between, one_of, positive
from gvf.config.train_vae_static import CanonicalLossConfig
from gvf.config.training import TrainingConfig


@dataclass(frozen=True)
class VariationLossConfig:
    """Weights of the variation loss: image L1 (weight 1) + ssim (1 - SSIM) + lpips LPIPS (Eq. 8) + mesh_guided Eq. 9 + kl KL.

    The expectation of every term is independent of how many frames, views and Gaussians a step draws: the image losses
    and KL are means, and Eq. 9 estimates the sum over all frames of a clip.

    mesh_guided_norm: `l2` as Eq. 9 reads (squared), or `l1` as the release computes it (a mean over frames).
    """

    ssim: float
    lpips: float
    mesh_guided: float
    mesh_guided_norm: str
    kl: float

    def __post_init__(self) -> None:
        for name in ("ssim", "lpips", "mesh_guided", "kl"):
            at_least(f"train_vae_joint.variation_loss.{name}", getattr(self, name), 0.0)
        one_of("train_vae_joint.variation_loss.mesh_guided_norm", self.mesh_guided_norm, ("l2", "l1"))


@dataclass(frozen=True)
class TrainVaeJointConfig:
    """frames_per_clip: frames of a clip that a step sees. rendered_frames: how many of them the image loss sees, one view each.

    guided_gaussians: of each clip, drawn anew every step, on which the mesh-guided loss is taken.
    decoder_rate: learning rate of D_GS over that of the other modules. finetune_decoder: Table 5 compares without.
    canonical_loss: stage 1's loss, kept on the canonical Gaussians.
    """

    frames_per_clip: int
    rendered_frames: int
    guided_gaussians: int
    decoder_rate: float
    finetune_decoder: bool
    variation_loss: VariationLossConfig
    canonical_loss: CanonicalLossConfig
    training: TrainingConfig

    def __post_init__(self) -> None:
        at_least("train_vae_joint.frames_per_clip", self.frames_per_clip, 1)
        between("train_vae_joint.rendered_frames", self.rendered_frames, 1, self.frames_per_clip)
        at_least("train_vae_joint.guided_gaussians", self.guided_gaussians, 1)
        positive("train_vae_joint.decoder_rate", self.decoder_rate)
