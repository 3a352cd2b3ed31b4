"""The paper's rendering convention: Mip-Splatting's filter over a white background. A generator's Gaussians depend on it."""

from __future__ import annotations

LOW_PASS = 0.1
"""Variance in pixels^2 added to every projected Gaussian (release, sparse_vae.py:184)."""
COMPENSATE = True
"""Whether opacities are lowered by what the low-pass filter adds in area."""
WHITE = 1.0
"""Grey level of the background."""
