"""Velocity prediction (Eq. 10): noised data, the target, and the data that a velocity implies.

alpha and sigma broadcast against the latents, alpha^2 + sigma^2 = 1.
"""

from __future__ import annotations

from torch import Tensor


def add_noise(data: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return z_s = alpha z_0 + sigma noise (Sec. 3.2)."""
    return alpha * data + sigma * noise


def velocity_target(data: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return v_s = alpha noise - sigma z_0 (Eq. 10)."""
    return alpha * noise - sigma * data


def data_from_velocity(noised: Tensor, velocity: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return z_0 = alpha z_s - sigma v_s."""
    return alpha * noised - sigma * velocity
