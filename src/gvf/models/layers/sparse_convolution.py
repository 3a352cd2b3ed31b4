"""Submanifold convolution: 3 x 3 x 3 over existing voxels only, in plain torch operations.

out(p) = bias + sum over offsets o in {-1, 0, 1}^3 of W[o] x(p + o), where p + o is active. The pairs (p, p + o) are found
once for a set of voxels; a pair for o is, read backwards, one for -o, so that 13 of the 27 offsets are looked up.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_OFFSETS = tuple(itertools.product((-1, 0, 1), repeat=3))  # in the order of a kernel's cells; 26 - k is opposite to k
_CENTER = len(_OFFSETS) // 2


@dataclass(frozen=True)
class Neighbors:
    """Adjacent voxels: for each of the first 13 offsets o, the rows of voxels `here` and of those at here + o."""

    here: tuple[Tensor, ...]  # 13 times [pairs], int64
    there: tuple[Tensor, ...]  # 13 times [pairs], int64


def find_neighbors(coords: Tensor, items: Tensor) -> Neighbors:
    """Return the table of neighbors of distinct voxels.

    coords: [M, 3], voxel indices from 0 on; items: [M], item of the batch of each voxel.
    """
    extent = int(coords.max()) + 3 if len(coords) else 3  # one empty cell on either side: no offset wraps around
    x, y, z = (coords.long() + 1).unbind(1)
    keys = ((items * extent + x) * extent + y) * extent + z
    ordered, order = keys.sort()
    here, there = [], []
    for dx, dy, dz in _OFFSETS[:_CENTER]:
        wanted = keys + (dx * extent + dy) * extent + dz
        places = torch.searchsorted(ordered, wanted).clamp_max(len(keys) - 1)
        found = (ordered[places] == wanted).nonzero().squeeze(1)
        here.append(found)
        there.append(order[places[found]])
    return Neighbors(tuple(here), tuple(there))


class ConvolutionKernel(nn.Module):
    """`weight` [out, 3, 3, 3, in], axes x, y, z, as sparse convolution libraries lay it out, and `bias` [out]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, 3, 3, 3, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.normal_(self.weight, std=1.0 / math.sqrt(len(_OFFSETS) * in_channels))


class SparseConv3d(nn.Module):
    """Submanifold convolution with kernel `conv`; products are added up in float32."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = ConvolutionKernel(in_channels, out_channels)

    def forward(self, x: Tensor, neighbors: Neighbors) -> Tensor:
        """Return the convolution's output [M, out]. x: [M, in], one row per voxel."""
        cells = self.conv.weight.flatten(1, 3).unbind(1)  # 27 times [out, in]
        total = F.linear(x, cells[_CENTER], self.conv.bias).float()
        for index, (here, there) in enumerate(zip(neighbors.here, neighbors.there)):
            total.index_add_(0, here, F.linear(x[there], cells[index]).float())
            total.index_add_(0, there, F.linear(x[here], cells[-1 - index]).float())
        return total.to(x.dtype)
