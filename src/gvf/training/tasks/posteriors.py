"""The structured latents of clips, which the frozen E_GS encodes once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from cachetools import LRUCache
from torch import Tensor

from gvf.models.canonical.slat_encoder import SlatEncoder
from gvf.models.layers.posterior import Posterior
from gvf.models.layers.voxel_batch import VoxelBatch

CACHE_BYTES = 1 << 30
"""Bound of what is kept: thousands of clips at the paper's sizes."""


class Posteriors:
    """The posteriors of clips (or turned clips) under a frozen E_GS, computed at a clip's first use and kept while there is room.

    Every clip is encoded by itself, so that its posterior depends neither on the clips beside it in a batch nor on when
    it was computed: a training that was resumed sees the same values, bit for bit.
    """

    def __init__(self, size: int = CACHE_BYTES) -> None:
        self._kept: LRUCache[str, Posterior] = LRUCache(size, getsizeof=_num_bytes)
        self._encoder: SlatEncoder | None = None

    @torch.no_grad()
    def __call__(self, encoder: SlatEncoder, clips: Sequence[str], features: Tensor, voxels: VoxelBatch) -> Posterior:
        """Return the posterior of all voxels of a batch, [M, C]. features: [M, F]; clips: one name per item of `voxels`."""
        if encoder is not self._encoder:
            self._encoder = encoder
            self._kept.clear()
        parts = zip(clips, features.split(voxels.counts), voxels.coords.split(voxels.counts), strict=True)
        found = [self._posterior(encoder, *part) for part in parts]
        return Posterior(*(torch.cat(values) for values in zip(*found)))

    def _posterior(self, encoder: SlatEncoder, clip: str, features: Tensor, coords: Tensor) -> Posterior:
        posterior = self._kept.get(clip)
        if posterior is None:
            posterior = encoder(features, VoxelBatch.pack([coords]))
            if _num_bytes(posterior) <= self._kept.maxsize:
                self._kept[clip] = posterior
        return posterior


def _num_bytes(posterior: Posterior) -> int:
    return posterior.mean.nbytes + posterior.logvar.nbytes
