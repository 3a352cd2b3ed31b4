"""Sparse voxels at half the resolution, and features on the way there and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Coarsening:
    """The voxels of double size that hold given ones, sorted by item, x, y, z."""

    coords: Tensor  # [P, 3], coarse voxel indices
    counts: tuple[int, ...]  # coarse voxels of each item, sum P
    parents: Tensor  # [M], the coarse voxel of each given one
    num_children: Tensor  # [P], given voxels in each coarse one

    def pool(self, x: Tensor) -> Tensor:
        """Return features of coarse voxels [P, C]: the sum of the children's features [M, C] over (their number + 1).

        The published networks were trained with this "mean", which counts the zero it starts from.
        """
        total = x.new_zeros(len(self.coords), x.shape[1], dtype=torch.float32).index_add_(0, self.parents, x.float())
        return (total / (self.num_children + 1).unsqueeze(1)).to(x.dtype)

    def unpool(self, x: Tensor) -> Tensor:
        """Copy features of coarse voxels [P, C] to their children [M, C], in the children's order."""
        return x.index_select(0, self.parents)


def coarsen(coords: Tensor, items: Tensor, num_items: int) -> Coarsening:
    """Return the coarse voxels. coords: [M, 3], voxel indices; items: [M], item of the batch of each voxel."""
    cells = torch.cat((items.unsqueeze(1), coords.long() // 2), dim=1)
    coarse, parents, num_children = cells.unique(dim=0, return_inverse=True, return_counts=True)
    counts = tuple(torch.bincount(coarse[:, 0], minlength=num_items).tolist())
    return Coarsening(coarse[:, 1:].contiguous(), counts, parents, num_children)
