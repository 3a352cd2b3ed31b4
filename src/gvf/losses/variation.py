"""The loss of variation fields: what stage 2 trains the variation VAE with (Sec. 3.1, training objective)."""

from __future__ import annotations

from torch import Tensor

from gvf.config.train_vae_joint import VariationLossConfig
from gvf.losses.kl import kl_divergence
from gvf.losses.mesh_guided import mesh_guided_loss
from gvf.losses.reconstruction import reconstruction_loss
from gvf.models.layers.posterior import Posterior


def variation_loss(
    rendered: Tensor,
    target: Tensor,
    predicted_displacements: Tensor,
    interpolated_displacements: Tensor,
    posterior: Posterior,
    num_frames: int,
    weights: VariationLossConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute L_img (Eq. 8) + mesh_guided L_mg (Eq. 9) + kl KL, with the configured weights.

    rendered, target: [..., H, W, 3] in [0, 1], of the moving Gaussians G_1 + dG_t; predicted_displacements,
    interpolated_displacements: [B, F, N, 3], object units, of N Gaussians in F drawn frames; posterior: of the latents;
    num_frames: T of the clips. Returns the loss, a scalar, and its terms by name.
    """
    image, terms = reconstruction_loss(rendered, target, ssim_weight=weights.ssim, lpips_weight=weights.lpips)
    terms["mesh_guided"] = mesh_guided_loss(
        predicted_displacements, interpolated_displacements, num_frames=num_frames, norm=weights.mesh_guided_norm
    )
    terms["kl"] = kl_divergence(posterior.mean, posterior.logvar)
    return image + weights.mesh_guided * terms["mesh_guided"] + weights.kl * terms["kl"], terms
