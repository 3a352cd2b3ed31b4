"""Intersection over union of voxel grids."""

from __future__ import annotations

import torch
from torch import Tensor


def voxel_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union [B] of occupied cells, 1 where both grids are empty.

    first, second: bool [B, S, S, S].
    """
    both = (first & second).flatten(1).sum(1)
    either = (first | second).flatten(1).sum(1)
    return torch.where(either > 0, both / either.clamp(min=1), torch.ones(()).to(both.device))
