"""The loss of variation fields: what stage 2 trains the variation VAE with (Sec. 3.1, training objective)."""

from __future__ import annotations

from torch import Tensor

from gvf.config.train_vae_joint import VariationLossConfig
from gvf.losses.kl import kl_divergence
from gvf.losses.mesh_guided import mesh_guided_loss, motion_scale
from gvf.losses.reconstruction import reconstruction_loss
from gvf.models.layers.posterior import Posterior


def motion_loss(
    predicted: Tensor,
    interpolated: Tensor,
    posterior: Posterior,
    num_frames: int,
    motion: Tensor,
    weights: VariationLossConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute mesh_guided L_mg (Eq. 9) + kl KL, the part of the variation loss that needs no image.

    predicted, interpolated: displacements [B, F, N, 3], object units, of N Gaussians in F drawn frames; posterior: of
    the latents; num_frames: T of the clips; motion: [B], RMS displacement of each clip, object units.
    Returns the loss, a scalar, and its terms by name.
    """
    terms = {
        "mesh_guided": mesh_guided_loss(
            predicted,
            interpolated,
            num_frames=num_frames,
            norm=weights.mesh_guided_norm,
            scale=motion_scale(motion, weights.motion_floor),
        ),
        "kl": kl_divergence(posterior.mean, posterior.logvar),
    }
    return weights.mesh_guided * terms["mesh_guided"] + weights.kl * terms["kl"], terms


def image_loss(rendered: Tensor, target: Tensor, weights: VariationLossConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute L_img (Eq. 8) of the moving Gaussians G_1 + dG_t.

    rendered, target: [..., H, W, 3] in [0, 1]. Returns the loss, a scalar, and its terms by name.
    """
    return reconstruction_loss(rendered, target, ssim_weight=weights.ssim, lpips_weight=weights.lpips)
