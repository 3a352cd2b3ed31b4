"""Latents of variation fields and what they are conditioned on, stored per clip, with their statistics."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.storage.files import load_tensors, save_tensors
from gvf.workspace import Workspace

_SMALLEST_STD = 1e-4  # a channel that never varies is not scaled up
_SMALLEST_ALIGNED_STD = 1e-2
_LARGEST_ALIGNED = 5.0  # deviations from the mean


@dataclass(frozen=True)
class LatentClip:
    """Latents of one clip, with what conditions them.

    mean, logvar: [T, L, C] posterior of the latents. positions: [L, 3], canonical, object units.
    static: [S, 14] farthest-sampled canonical Gaussians, activated values. aligned: [A, T, L, D] float16, image features of
    the conditioning videos at the positions; A is 0 where the transformer does not see them.
    """

    mean: Tensor
    logvar: Tensor
    positions: Tensor
    static: Tensor
    aligned: Tensor


@dataclass(frozen=True)
class LatentStatistics:
    """Mean and standard deviation over the training clips.

    latent_*: [C] by channel; static_*: [14] by attribute; aligned_*: [D] by channel of the features at the latents, empty where
    the transformer does not see them.
    """

    latent_mean: Tensor
    latent_std: Tensor
    static_mean: Tensor
    static_std: Tensor
    aligned_mean: Tensor = field(default_factory=lambda: torch.empty(0))
    aligned_std: Tensor = field(default_factory=lambda: torch.empty(0))

    def normalize(self, latents: Tensor) -> Tensor:
        """Scale latents [..., C] to zero mean and unit deviation per channel."""
        return (latents - self.latent_mean) / self.latent_std

    def denormalize(self, latents: Tensor) -> Tensor:
        """Invert `normalize`."""
        return latents * self.latent_std + self.latent_mean

    def normalize_static(self, static: Tensor) -> Tensor:
        """Scale static tokens [..., 14] to zero mean and unit deviation per attribute."""
        return (static - self.static_mean) / self.static_std

    def normalize_aligned(self, aligned: Tensor) -> Tensor:
        """Scale features at the latents [..., D] to zero mean and unit deviation per channel, within 5 deviations; float32."""
        return ((aligned.float() - self.aligned_mean) / self.aligned_std).clamp(-_LARGEST_ALIGNED, _LARGEST_ALIGNED)


class RunningMoments:
    """Accumulates the per-column mean and variance of rows that arrive in batches, in float64.

    Batches are combined as by Chan, Golub and LeVeque (1979): the result equals that of all rows at once, up to rounding.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros((), dtype=torch.float64)
        self._squares = torch.zeros((), dtype=torch.float64)  # sum of squared deviations from the mean

    def add(self, rows: Tensor) -> None:
        """Add a batch of rows [N, C], N >= 1."""
        rows = rows.double()
        mean = rows.mean(0)
        squares = (rows - mean).square().sum(0)
        total, delta = self.count + len(rows), mean - self.mean
        self._squares = self._squares + squares + delta.square() * (self.count * len(rows) / total)
        self.mean = self.mean + delta * (len(rows) / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        """Return the population variance [C] (no Bessel correction)."""
        return self._squares / self.count


class StatisticsOfClips:
    """Accumulates LatentStatistics over clips, for latents sampled from their posteriors, as training uses them.

    The variance of a channel is that of the posterior means plus the mean of the posterior variances.
    """

    def __init__(self) -> None:
        self._mean, self._variance, self._static, self._std, self._aligned = (RunningMoments() for _ in range(5))

    def add(self, clip: LatentClip) -> None:
        """Add a training clip."""
        logvar = clip.logvar.flatten(0, 1).double().cpu()
        self._mean.add(clip.mean.flatten(0, 1).cpu())
        self._variance.add(logvar.exp())
        self._std.add((0.5 * logvar).exp())
        self._static.add(clip.static.cpu())
        for video in clip.aligned:
            for frame in video:
                self._aligned.add(frame.cpu())

    @property
    def posterior_std_mean(self) -> float:
        """Return the posteriors' mean standard deviation over all latents and channels."""
        return self._std.mean.mean().item()

    def statistics(self) -> LatentStatistics:
        """Return the statistics of the clips added so far; there must be at least one."""
        std = (self._mean.variance + self._variance.mean).sqrt().clamp_min(_SMALLEST_STD)
        static_std = self._static.variance.sqrt().clamp_min(_SMALLEST_STD)
        latent_and_static = self._mean.mean, std, self._static.mean, static_std
        if not self._aligned.count:
            return LatentStatistics(*(values.float() for values in latent_and_static))
        aligned = self._aligned.mean, self._aligned.variance.sqrt().clamp_min(_SMALLEST_ALIGNED_STD)
        return LatentStatistics(*(values.float() for values in (*latent_and_static, *aligned)))


def load_statistics(workspace: Workspace) -> LatentStatistics:
    """Return the statistics that the stage `encode` wrote."""
    return _from_tensors(LatentStatistics, workspace.latent_statistics)


def load_latents(workspace: Workspace, clip_id: str) -> LatentClip:
    """Return a clip's latents, as the stage `encode` wrote them."""
    path = workspace.latents / f"{clip_id}.safetensors"
    return workspace.cached(("latents", clip_id), lambda: _from_tensors(LatentClip, path))


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
