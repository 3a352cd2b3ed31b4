"""Windows of sparse voxels: which tokens see each other.

The windows of a sparse grid hold anything from one voxel to window^3 of them. Our compiled kernels take them one by one. For
torch's they are sorted by size and cut into a few buckets, each padded to its largest window: little padding, few kernel
launches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SMALL_WINDOW = 16  # windows up to this size share one bucket
LEAST_FILL = 0.7  # in other buckets the smallest window is at least this share of the largest


@dataclass(frozen=True)
class Windows:
    """Tokens window by window, the largest first, and gathered into padded windows and back.

    `order` and `starts` are on the CPU: window w holds the tokens order[starts[w]:starts[w + 1]]. `slots`
    maps the padded layout to tokens (any token where it is padding), `places` maps tokens to their slot.
    """

    order: np.ndarray  # [M], int64
    starts: np.ndarray  # [windows + 1], int64
    slots: Tensor  # [P], int64
    places: Tensor  # [M], int64
    padding: Tensor  # [padding slots], int64, indices into the padded layout
    buckets: tuple[tuple[int, int], ...]  # number of windows and padded size of each bucket; products sum to P
    masks: tuple[Tensor | None, ...]  # [windows, 1, 1, size], true for tokens; None where a bucket has no padding

    def gather(self, tokens: Tensor) -> list[Tensor]:
        """Gather tokens [M, C] into one tensor [windows, size, C] per bucket."""
        padded = _Gather.apply(tokens, self.slots, self.places)
        parts = padded.split([windows * size for windows, size in self.buckets])
        return [part.unflatten(0, bucket) for part, bucket in zip(parts, self.buckets)]

    def scatter(self, buckets: list[Tensor]) -> Tensor:
        """Scatter buckets, one tensor [windows, size, C] each, back to tokens [M, C]."""
        padded = torch.cat([bucket.flatten(0, 1) for bucket in buckets])
        return _Scatter.apply(padded, self.slots, self.places, self.padding)


class _Gather(torch.autograd.Function):
    """Rows by index where every token has one slot, so that the gradient is a gather too (much faster than adding)."""

    @staticmethod
    def forward(ctx, tokens, slots, places):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(places)
        return tokens.index_select(0, slots)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        (places,) = ctx.saved_tensors
        return gradient.index_select(0, places), None, None


class _Scatter(torch.autograd.Function):
    """The inverse of `_Gather`: values of padding are dropped, and no gradient reaches them."""

    @staticmethod
    def forward(ctx, padded, slots, places, padding):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(slots, padding)
        return padded.index_select(0, places)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        slots, padding = ctx.saved_tensors
        return gradient.index_select(0, slots).index_fill_(0, padding, 0), None, None, None


def partition(coords: Tensor, items: Tensor, window: int, shift: int) -> Windows:
    """Partition voxels into the windows of one layer: same item, same floor((index + shift) / window) on every axis.

    coords: [M, 3], voxel indices; items: [M], item of the batch of each voxel. Any device.
    """
    cells = torch.cat((items.unsqueeze(1), (coords.long() + shift) // window), dim=1).cpu().numpy()
    extent = cells.max(0) + 1
    keys = np.ravel_multi_index(tuple(cells.T), tuple(extent))
    order = np.argsort(keys, kind="stable")
    _, starts, counts = np.unique(keys[order], return_index=True, return_counts=True)
    by_size = np.argsort(-counts, kind="stable")
    starts, counts = starts[by_size], counts[by_size]
    offsets = np.concatenate(([0], counts.cumsum()))
    order = order[np.repeat(starts - offsets[:-1], counts) + np.arange(len(order))]
    starts = offsets[:-1]

    buckets, slots, filled = [], [], []
    first = 0
    while first < len(counts):
        size = int(counts[first])
        fits = (counts[first:] >= LEAST_FILL * size) | (size <= SMALL_WINDOW)
        last = first + int(fits.sum())  # sizes descend, so those that fit come first
        rank = np.arange(size)
        real = rank < counts[first:last, None]
        slots.append(order[np.where(real, starts[first:last, None] + rank, 0)].ravel())
        filled.append(real)
        buckets.append((last - first, size))
        first = last

    slot_tokens, real_slots = np.concatenate(slots), np.concatenate([real.ravel() for real in filled])
    places = np.empty(len(order), np.int64)
    places[slot_tokens[real_slots]] = np.flatnonzero(real_slots)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(coords.device)

    masks = tuple(None if real.all() else tensor(real)[:, None, None] for real in filled)
    padding = np.flatnonzero(~real_slots)
    return Windows(order, offsets, tensor(slot_tokens), tensor(places), tensor(padding), tuple(buckets), masks)
