"""Latents of variation fields and what they are conditioned on, stored per clip, with their statistics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from gvf.data.clip_store import LATENTS
from gvf.errors import UserError
from gvf.files import load_tensors, save_tensors

STATISTICS = LATENTS / "statistics.safetensors"
_SMALLEST_STD = 1e-4  # a channel that never varies is left alone rather than blown up


@dataclass(frozen=True)
class LatentClip:
    """mean, logvar: [T, L, C] posterior of a clip's latents. positions: [L, 3], canonical, object units.

    static: [S, 14] farthest-sampled canonical Gaussians, activated values.
    """

    mean: Tensor
    logvar: Tensor
    positions: Tensor
    static: Tensor


@dataclass(frozen=True)
class LatentStatistics:
    """Mean and standard deviation over the training clips: latent_* [C] by channel, static_* [14] by attribute."""

    latent_mean: Tensor
    latent_std: Tensor
    static_mean: Tensor
    static_std: Tensor

    def normalize(self, latents: Tensor) -> Tensor:
        """[..., C] to zero mean and unit deviation by channel."""
        return (latents - self.latent_mean) / self.latent_std

    def denormalize(self, latents: Tensor) -> Tensor:
        """Inverse of `normalize`."""
        return latents * self.latent_std + self.latent_mean

    def normalize_static(self, static: Tensor) -> Tensor:
        """[..., 14] to zero mean and unit deviation by attribute."""
        return (static - self.static_mean) / self.static_std

    @classmethod
    def of(cls, clips: list[LatentClip]) -> LatentStatistics:
        """Statistics of the latents as training sees them, sampled: the posterior's variance counts."""
        mean = torch.cat([clip.mean.flatten(0, 1) for clip in clips]).double()
        variance = torch.cat([clip.logvar.flatten(0, 1) for clip in clips]).double().exp().mean(0)
        static = torch.cat([clip.static for clip in clips]).double()
        std = (mean.var(0, unbiased=False) + variance).sqrt().clamp_min(_SMALLEST_STD)
        static_std = static.std(0, unbiased=False).clamp_min(_SMALLEST_STD)
        return cls(mean.mean(0).float(), std.float(), static.mean(0).float(), static_std.float())


def load_statistics() -> LatentStatistics:
    """Statistics written by the stage `encode`."""
    return _from_tensors(LatentStatistics, STATISTICS)


@cache
def load_latents(clip_id: str) -> LatentClip:
    """A clip's latents, kept in memory: they are small."""
    return _from_tensors(LatentClip, LATENTS / f"{clip_id}.safetensors")


def save(path, record: LatentClip | LatentStatistics) -> None:  # type: ignore[no-untyped-def]
    """Write the fields of a record as safetensors."""
    save_tensors(path, vars(record))


def _from_tensors(kind, path):  # type: ignore[no-untyped-def]
    tensors = load_tensors(path)
    names = set(kind.__dataclass_fields__)
    if tensors.keys() != names:
        raise UserError(
            f"{path}: holds {', '.join(sorted(tensors))}; expected {', '.join(sorted(names))}. Run `dvc repro encode`."
        )
    return kind(**tensors)
