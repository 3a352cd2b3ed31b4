"""Displacement fields of corresponding points (Eq. 1)."""

from __future__ import annotations

from torch import Tensor


def displacement_field(points: Tensor) -> Tensor:
    """Return the displacement of every point from the canonical frame: P_t - P_1, zero in the first frame (Eq. 1).

    points: [..., T, N, 3], object units. Returns [..., T, N, 3].
    """
    return points - points[..., :1, :, :]
