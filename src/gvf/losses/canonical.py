"""The loss of canonical Gaussians: the whole of stage 1's, and a part of stage 2's."""

from __future__ import annotations

from torch import Tensor

from gvf.config.train_vae_static import CanonicalLossConfig
from gvf.gaussians.gaussians import Gaussians
from gvf.losses.kl import kl_divergence
from gvf.losses.reconstruction import reconstruction_loss
from gvf.models.layers.posterior import Posterior


def canonical_loss(
    rendered: Tensor,
    target: Tensor,
    posterior: Posterior,
    gaussians: Gaussians,
    valid: Tensor,
    voxel_size: float,
    weights: CanonicalLossConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute L_img (Eq. 8) + kl KL + volume V + opacity O, with the configured weights.

    rendered, target: [B, V, H, W, 3] in [0, 1]; posterior: of the structured latents S_1; gaussians: [B, N];
    valid: [B, N], false for padding; voxel_size: object units. Returns the loss, a scalar, and its terms by name.
    """
    image, terms = reconstruction_loss(rendered, target, ssim_weight=weights.ssim, lpips_weight=weights.lpips)
    terms["kl"] = kl_divergence(posterior.mean, posterior.logvar)
    terms["volume"] = volume_penalty(gaussians, valid, voxel_size)
    terms["opacity"] = opacity_penalty(gaussians, valid)
    regularisers = weights.kl * terms["kl"] + weights.volume * terms["volume"] + weights.opacity * terms["opacity"]
    return image + regularisers, terms


def volume_penalty(gaussians: Gaussians, valid: Tensor, voxel_size: float) -> Tensor:
    """Compute V, the mean product of the three scales in units of the voxel's volume, without padding.

    gaussians: [B, N]; valid: [B, N], false for padding; voxel_size: object units. Returns a scalar.
    """
    volumes = (gaussians.scales / voxel_size).prod(-1)
    return (volumes * valid).sum() / valid.sum()


def opacity_penalty(gaussians: Gaussians, valid: Tensor) -> Tensor:
    """Compute O, the mean of (opacity - 1)^2, without padding.

    gaussians: [B, N]; valid: [B, N], false for padding. Returns a scalar.
    """
    return ((gaussians.opacities - 1.0).square() * valid).sum() / valid.sum()
