"""Mesh-guided loss: predicted motion of Gaussians against the motion of the mesh around them (Eq. 9)."""

from __future__ import annotations

from torch import Tensor

NORMS = ("l2", "l1")


def mesh_guided_loss(predicted: Tensor, target: Tensor, *, norm: str = "l2", valid: Tensor | None = None) -> Tensor:
    """How far predicted displacements are from interpolated ones.

    `l2` is Eq. 9: squared length, summed over frames, mean over Gaussians and clips. `l1` is the release's habit:
    absolute difference, mean over frames, Gaussians and the three axes.

    predicted, target: [..., T, N, 3], object units; valid: [..., N], false for padding. Returns a scalar.
    """
    if norm not in NORMS:
        raise ValueError(f"norm is {norm!r}, must be one of {NORMS}")
    difference = predicted - target
    if norm == "l2":
        errors = difference.square().sum(-1).sum(-2)  # [..., N]
    else:
        errors = difference.abs().mean(-1).mean(-2)
    if valid is None:
        return errors.mean()
    weights = valid.to(errors.dtype)
    return (errors * weights).sum() / weights.sum().clamp_min(1.0)
