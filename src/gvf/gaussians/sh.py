"""Degree-0 spherical harmonics: the only colour model of the paper and its release."""

from __future__ import annotations

from torch import Tensor

SH_C0 = 0.28209479177387814  # 1 / (2 sqrt(pi)), the constant basis function


def rgb_from_sh(coefficients: Tensor) -> Tensor:
    """Return the colours in [0, inf) of degree-0 coefficients: max(0, C0 c + 0.5). [..., 3] to [..., 3]."""
    return (SH_C0 * coefficients + 0.5).clamp_min(0.0)
