"""Active voxels of a batch of objects, with what is derived from them once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gvf.models.layers.coarsening import Coarsening, coarsen
from gvf.models.layers.sparse_convolution import Neighbors, find_neighbors
from gvf.models.layers.windows import Windows, partition


@dataclass(frozen=True)
class VoxelBatch:
    """Active voxels of several objects, one after another; features are [M, C], one row per voxel."""

    coords: Tensor  # [M, 3], voxel indices
    counts: tuple[int, ...]  # voxels of each item, sum M
    _windows: dict[tuple[int, int], Windows] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def pack(cls, coords: Sequence[Tensor]) -> VoxelBatch:
        """Join the voxels of items, each [M_i, 3]."""
        return cls(torch.cat(list(coords)), tuple(len(part) for part in coords))

    @cached_property
    def items(self) -> Tensor:
        """Return the item of each voxel, [M] int64."""
        counts = torch.tensor(self.counts, device=self.coords.device)
        return torch.arange(len(self.counts), device=self.coords.device).repeat_interleave(counts)

    def windows(self, window: int, shift: int) -> Windows:
        """Return the windows of a layer, see `partition`."""
        if (window, shift) not in self._windows:
            self._windows[window, shift] = partition(self.coords, self.items, window, shift)
        return self._windows[window, shift]

    @cached_property
    def neighbors(self) -> Neighbors:
        """Return the adjacent voxels, for all convolutions at this resolution."""
        return find_neighbors(self.coords, self.items)

    @cached_property
    def coarsening(self) -> Coarsening:
        """Return the mapping to half the resolution and back."""
        return coarsen(self.coords, self.items, len(self.counts))

    @cached_property
    def coarse(self) -> VoxelBatch:
        """Return the voxels at half the resolution."""
        return VoxelBatch(self.coarsening.coords, self.coarsening.counts)

    def repeated(self, times: int) -> VoxelBatch:
        """Return the items repeated `times` times, one repetition after another."""
        return VoxelBatch(self.coords.repeat(times, 1), self.counts * times)

    def to(self, device: torch.device | str) -> VoxelBatch:
        """Return the batch on another device, with everything that was computed so far."""
        moved = VoxelBatch(self.coords.to(device), self.counts)
        found = {name: value for name, value in vars(self).items() if name not in ("coords", "counts")}
        vars(moved).update(_moved(found, device))
        return moved

    def pad(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pad features [M, C] to [B, N, C], where N is the number of voxels of the largest item, with zeros.

        Also returns which are voxels [B, 1, 1, N]; None where all are.
        """
        rows = pad_sequence(list(x.split(self.counts)), batch_first=True)
        if len(set(self.counts)) == 1:
            return rows, None
        counts = torch.tensor(self.counts, device=x.device)
        return rows, (torch.arange(rows.shape[1], device=x.device) < counts[:, None])[:, None, None]

    def unpad(self, rows: Tensor) -> Tensor:
        """Invert `pad`: [B, N, C] to [M, C]."""
        return torch.cat([row[:count] for row, count in zip(rows, self.counts)])


def _moved(value: Any, device: torch.device | str) -> Any:
    """Return tensors, and tuples, dictionaries and dataclasses of them, on another device."""
    if isinstance(value, (Tensor, VoxelBatch)):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(_moved(part, device) for part in value)
    if isinstance(value, dict):
        return {name: _moved(part, device) for name, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _moved(getattr(value, field.name), device) for field in fields(value)})
    return value
