"""Losses of the occupancy of a voxel grid (TRELLIS, structure VAE)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_SMOOTHING = 1.0  # voxels added to both sides of the ratio, which is then defined for empty grids (TRELLIS)


def dice_loss(logits: Tensor, occupancy: Tensor) -> Tensor:
    """Return 1 - the Dice coefficient of predicted and true occupancy, over all cells of a batch together.

    logits, occupancy: [B, S, S, S]; occupancy in {0, 1}. Unlike cross entropy, it does not drown in empty space.
    """
    predicted = torch.sigmoid(logits)
    both = 2.0 * (predicted * occupancy).sum() + _SMOOTHING
    return 1.0 - both / (predicted.sum() + occupancy.sum() + _SMOOTHING)


def cross_entropy_loss(logits: Tensor, occupancy: Tensor) -> Tensor:
    """Return the mean binary cross entropy over all cells. logits, occupancy: [B, S, S, S]."""
    return F.binary_cross_entropy_with_logits(logits, occupancy)


OCCUPANCY_LOSSES = {"dice": dice_loss, "cross_entropy": cross_entropy_loss}
"""By the names in `train_structure.vae.loss`."""
