"""Axes of other tools: our z-up positions and orientations, turned by a quarter about x."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Y_DOWN = 1
"""x right, y down, z forward, as in PLY and .splat files: (x, y, z) becomes (x, -z, y)."""
Y_UP = -1
"""x right, y up, z backward, as in glTF and SPZ files: (x, y, z) becomes (x, z, -y)."""

_HALF = math.sqrt(0.5)


def turn_points(points: Tensor, direction: int) -> Tensor:
    """Return points [..., 3] in the axes `direction`, Y_DOWN or Y_UP; with -direction, take them back to ours."""
    x, y, z = points.unbind(-1)
    return torch.stack([x, -direction * z, direction * y], dim=-1)


def turn_quats(quats: Tensor, direction: int) -> Tensor:
    """Return rotations [..., 4], wxyz, followed by the quarter turn of `turn_points`."""
    w, x, y, z = quats.unbind(-1)
    return _HALF * torch.stack([w - direction * x, x + direction * w, y - direction * z, z + direction * y], dim=-1)
