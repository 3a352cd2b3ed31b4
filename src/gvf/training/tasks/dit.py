"""Training of the variation field diffusion transformer, conditioned on video and canonical Gaussians (Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from gvf.config.train_dit import TrainDitConfig
from gvf.config.training import TrainingConfig
from gvf.config.variation_dit import VariationDitConfig
from gvf.data.latents import LatentClip, LatentStatistics
from gvf.diffusion.schedule import NoiseSchedule, cosine_schedule
from gvf.diffusion.velocity import add_noise
from gvf.losses.velocity import velocity_loss
from gvf.models.layers.posterior import Posterior
from gvf.models.variation.dit import VariationDiT, VideoCondition
from gvf.storage.files import fresh_directory
from gvf.training.batches import Draw
from gvf.training.optimizer import ParameterGroup, parameter_group
from gvf.training.tasks.playback import playback_order

ReadLatents = Callable[[str], LatentClip]
"""Takes a clip's id; returns its latents, as `gvf.data.latents.load_latents` does."""

ReadVideos = Callable[[str], Tensor]
"""Takes a clip's id; returns the image tokens of its conditioning videos, [A, T, K, D]."""


Write = Callable[[VariationDiT, Path], None]
"""Takes the trained transformer and an empty folder; writes what later stages read."""


@dataclass(frozen=True)
class DiffusionBatch:
    """Latents of B clips with their conditions, noise and diffusion timesteps.

    latents: [B, T, L, C] and static: [B, S, 14], both normalised; positions: [B, L, 3], object units; noise: like the
    latents; timesteps: [B], 0 to S - 1.
    """

    latents: Tensor
    static: Tensor
    positions: Tensor
    video: VideoCondition
    noise: Tensor
    timesteps: Tensor


@dataclass(frozen=True)
class DitTask:
    """Train on latents sampled from their posteriors, each clip seen through one of its conditioning videos.

    Clips are played otherwise and features get noise where the configuration wants it.

    model_config, config: sections `variation_dit` and `train_dit`. clips: ids of the training clips. read_latents,
    read_videos: read a clip's data. statistics: of the latents of all training clips. initialize: puts initial weights into a
    new model. write: writes the result.
    inputs: files that the clips and statistics come from.
    """

    model_config: VariationDitConfig
    config: TrainDitConfig
    clips: Sequence[str]
    read_latents: ReadLatents
    read_videos: ReadVideos
    statistics: LatentStatistics
    initialize: Callable[[VariationDiT], None]
    write: Write
    inputs: Sequence[Path]
    name: ClassVar[str] = "train-dit"

    @property
    def training(self) -> TrainingConfig:
        """Return the settings of the optimiser and the loop."""
        return self.config.training

    @property
    def sections(self) -> Mapping[str, Any]:
        """Return the configuration sections that decide the result."""
        return {"variation_dit": self.model_config, "train_dit": self.config}

    @cached_property
    def schedule(self) -> NoiseSchedule:
        """Return the noise schedule."""
        return cosine_schedule(self.config.num_diffusion_steps)

    def build(self) -> VariationDiT:
        """Return a diffusion transformer with initial weights."""
        model = VariationDiT(self.model_config, len(self.statistics.latent_mean))
        self.initialize(model)
        return model

    def parameter_groups(self, model: VariationDiT) -> list[ParameterGroup]:
        """Return all parameters as one group."""
        return [parameter_group([model])]

    def load(self, draw: Draw) -> DiffusionBatch:
        """Load the drawn clips and draw, in this order, their playback, latents, videos, noise and timesteps."""
        generator, chosen = draw.generator, [self.clips[index] for index in draw.indices]
        records = [self.read_latents(clip) for clip in chosen]
        orders = [self._order(len(record.mean), generator) for record in records]
        latents = self.statistics.normalize(
            torch.stack(
                [
                    Posterior(record.mean[order], record.logvar[order]).sample(generator)
                    for record, order in zip(records, orders)
                ]
            )
        )
        return DiffusionBatch(
            latents,
            self.statistics.normalize_static(torch.stack([record.static for record in records])),
            torch.stack([record.positions for record in records]),
            VideoCondition.stack([self._video(*one, generator) for one in zip(chosen, records, orders)]),
            torch.randn(latents.shape, generator=generator),
            self.schedule.draw_steps(len(chosen), self.config.timestep_shift, generator),
        )

    def loss(self, model: VariationDiT, batch: DiffusionBatch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Predict the velocity of noised latents; return its loss, which has no further terms."""
        alpha, sigma = self.schedule.coefficients(batch.timesteps, batch.latents)
        noised = add_noise(batch.latents, batch.noise, alpha, sigma)
        velocity = model(noised, batch.timesteps, batch.video, batch.static, batch.positions)
        return velocity_loss(velocity, batch.latents, batch.noise, alpha, sigma), {}

    def save(self, model: VariationDiT, folder: Path) -> None:
        """Write the transformer as `write` does."""
        with fresh_directory(folder) as partial:
            self.write(model, partial)

    def _order(self, num_frames: int, generator: torch.Generator) -> Tensor:
        """Return which of a clip's frames is shown at each time, [T] int64."""
        augmentation = self.config.augmentation
        if augmentation is None or float(torch.rand((), generator=generator)) >= augmentation.playback:
            return torch.arange(num_frames)
        return playback_order(num_frames, generator)

    def _video(self, clip: str, record: LatentClip, order: Tensor, generator: torch.Generator) -> VideoCondition:
        """Return what is seen of one of the clip's videos, zeros where the condition is dropped.

        record: of the clip; order: [T], its frames.
        """
        tokens = self.read_videos(clip) if self.model_config.sees_tokens else None
        num_videos = len(record.aligned if tokens is None else tokens)
        index = int(torch.randint(num_videos, (), generator=generator))
        video = VideoCondition(
            None if tokens is None else tokens[index, order].float(),
            self._aligned(record.aligned[index, order], generator) if self.model_config.sees_aligned else None,
        )
        dropped = float(torch.rand((), generator=generator)) < self.config.cond_drop_prob
        return video.map(torch.zeros_like) if dropped else video

    def _aligned(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Return pixel-aligned features [T, L, D] normalised, with noise where the configuration wants it."""
        normal, augmentation = self.statistics.normalize_aligned(features), self.config.augmentation
        if augmentation is None or augmentation.feature_noise == 0.0:
            return normal
        deviation = augmentation.feature_noise * torch.rand((), generator=generator)
        return normal + deviation * torch.randn(normal.shape, generator=generator)
