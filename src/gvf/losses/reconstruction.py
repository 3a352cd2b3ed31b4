"""The image loss of both VAE phases (Eq. 8)."""

from __future__ import annotations

from torch import Tensor

from gvf.losses.image import l1, ssim


def reconstruction_loss(
    rendered: Tensor, target: Tensor, *, ssim_weight: float, lpips_weight: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute L_img = L1 + lambda_ssim (1 - SSIM) + lambda_lpips LPIPS (Eq. 8), means over all images.

    rendered, target: [..., H, W, 3] in [0, 1]. Returns the loss, a scalar, and its terms by name (SSIM itself, not
    1 - SSIM); a term of weight 0 is neither computed nor returned. Raises UserError when LPIPS has a weight but its
    published network is not on this machine.
    """
    terms = {"l1": l1(rendered, target).mean()}
    loss = terms["l1"]
    if ssim_weight > 0.0:
        terms["ssim"] = ssim(rendered, target).mean()
        loss = loss + ssim_weight * (1.0 - terms["ssim"])
    if lpips_weight > 0.0:
        from gvf.metrics.lpips_network import lpips_distance  # seconds to import

        terms["lpips"] = lpips_distance(rendered, target).mean()
        loss = loss + lpips_weight * terms["lpips"]
    return loss, terms
