"""Mesh-guided loss: predicted motion of Gaussians against the motion of the mesh around them (Eq. 9)."""

from __future__ import annotations

import torch
from torch import Tensor

NORMS = ("l2", "l1")


def motion_scale(motion: Tensor, floor: float | None) -> Tensor:
    """Return what displacements of clips are divided by before the mesh-guided loss: 1 without a floor, as in Eq. 9.

    motion: [B], RMS displacement of each clip, object units; floor: added in quadrature, so that the noise of a clip
    that hardly moves is not learned as its motion. Returns [B].
    """
    return torch.ones_like(motion) if floor is None else (motion.square() + floor**2).sqrt()


def mesh_guided_loss(
    predicted: Tensor, target: Tensor, *, num_frames: int, norm: str = "l2", scale: Tensor | None = None
) -> Tensor:
    """Compute L_mg = sum_t ||dp_t - dp_interp_t||^2 (Eq. 9), estimated from some of the frames.

    `l2` is Eq. 9: squared length, summed over all T frames of a clip, mean over Gaussians and clips. The sum over F
    frames drawn uniformly without replacement is scaled by T / F, so that its expectation is the sum over T for any F.
    The canonical frame, whose target is zero, is one of the T frames and drawn like any other. `l1` follows the
    release: absolute difference, mean over frames, Gaussians and the three axes.

    predicted, target: [..., F, N, 3], object units, without padding; num_frames: T; scale: [...], see `motion_scale`,
    1 by default. Returns a scalar.
    """
    if norm not in NORMS:
        raise ValueError(f"norm is {norm!r}, must be one of {NORMS}")
    difference = predicted - target
    if scale is not None:
        difference = difference / scale[..., None, None, None]
    if norm == "l2":
        errors = difference.square().sum(-1).sum(-2) * (num_frames / difference.shape[-3])  # [..., N]
    else:
        errors = difference.abs().mean(-1).mean(-2)
    return errors.mean()
