"""Displacement fields of corresponding points (Eq. 1)."""

from __future__ import annotations

from torch import Tensor


def displacement_field(points: Tensor) -> Tensor:
    """Return the displacement of every point from the canonical frame: P_t - P_1, zero in the first frame (Eq. 1).

    points: [..., T, N, 3], object units. Returns [..., T, N, 3].
    """
    return points - points[..., :1, :, :]


def rms_displacement(points: Tensor) -> Tensor:
    """Return the root mean square length of the displacements over all frames and points: how far a clip moves.

    points: [..., T, N, 3], object units. Returns [...].
    """
    return displacement_field(points).square().sum(-1).mean((-2, -1)).sqrt()
