"""The diffusion loss: the squared error of the predicted velocity (Eq. 10)."""

from __future__ import annotations

from torch import Tensor

from gvf.diffusion.velocity import velocity_target


def velocity_loss(predicted: Tensor, data: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Compute the mean over all elements of (v_hat - v_s)^2, where v_s = alpha_s noise - sigma_s z_0 (Eq. 10).

    predicted: v_hat(alpha_s z_0 + sigma_s noise, s, C), [B, T, L, C]; data: z_0, normalised, and noise, both the same
    shape; alpha, sigma: coefficients of each item's timestep, [B, 1, 1, 1]. Returns a scalar.
    """
    return (predicted - velocity_target(data, noise, alpha, sigma)).square().mean()
