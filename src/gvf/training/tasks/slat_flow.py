"""Training of the structured latent flow: an image and active voxels to the latents that E_GS gives these voxels (TRELLIS)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from gvf.config.slat_flow import SlatFlowConfig
from gvf.config.train_appearance import TrainAppearanceConfig
from gvf.config.training import TrainingConfig
from gvf.diffusion.flow_euler import NETWORK_TIME
from gvf.diffusion.rectified_flow import draw_times, flow_velocity, noised_data
from gvf.models.canonical.slat_encoder import SlatEncoder
from gvf.models.image_to_3d.flow_transformer import ImageCondition
from gvf.models.image_to_3d.slat_flow import SlatFlow
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.storage.files import fresh_directory
from gvf.training.batches import Draw
from gvf.training.optimizer import ParameterGroup, parameter_group
from gvf.training.tasks.image_batch import ReadExamples, draw_views, image_features, without_some
from gvf.training.tasks.posteriors import Posteriors

Write = Callable[[SlatFlow, Path], None]
"""Takes the trained flow and an empty folder; writes what later stages read."""


@dataclass(frozen=True)
class SlatMoments:
    """Mean and standard deviation [C] of the structured latents of all training clips."""

    mean: Tensor
    std: Tensor

    def normalize(self, latents: Tensor) -> Tensor:
        """Return latents [M, C] with mean 0 and deviation 1 over the training data."""
        return (latents - self.mean.to(latents)) / self.std.to(latents)


@dataclass(frozen=True)
class SlatBatch:
    """B objects, each as one image of it shows it.

    names: of clip and view. features: [M, F] of the voxels, inputs of E_GS. noise: [M, C]. times: [B]. image: of the objects,
    zeros where it is dropped.
    """

    names: tuple[str, ...]
    voxels: VoxelBatch
    features: Tensor
    noise: Tensor
    times: Tensor
    image: ImageCondition


@dataclass(frozen=True)
class SlatFlowTask:
    """Train on the means of E_GS's posteriors, each clip seen in one of its conditioning images.

    model_config, config: sections `slat_flow` and `train_appearance`. clips: ids of the training clips. read_examples: reads a
    clip's images and shapes. encoder: E_GS, frozen. moments: of its latents. write: writes the result. inputs: files that the
    clips and the encoder come from.
    """

    model_config: SlatFlowConfig
    config: TrainAppearanceConfig
    clips: Sequence[str]
    read_examples: ReadExamples
    encoder: SlatEncoder
    moments: SlatMoments
    write: Write
    inputs: Sequence[Path]
    name: ClassVar[str] = "train-appearance"

    @property
    def training(self) -> TrainingConfig:
        """Return the settings of the optimiser and the loop."""
        return self.config.training

    @property
    def sections(self) -> Mapping[str, Any]:
        """Return the configuration sections that decide the result."""
        return {"slat_flow": self.model_config, "train_appearance": self.config}

    @cached_property
    def posteriors(self) -> Posteriors:
        """Return E_GS's posteriors of the shapes met so far."""
        return Posteriors()

    def build(self) -> SlatFlow:
        """Return a structured latent flow with initial weights."""
        return SlatFlow(self.model_config)

    def parameter_groups(self, model: SlatFlow) -> list[ParameterGroup]:
        """Return all parameters as one group."""
        return [parameter_group([model])]

    def load(self, draw: Draw) -> SlatBatch:
        """Load the drawn clips and draw, in this order, their images, noise, times, and which images are dropped."""
        generator, clips = draw.generator, [self.clips[index] for index in draw.indices]
        examples = [self.read_examples(clip) for clip in clips]
        views = draw_views(examples, generator)
        chosen = list(zip(examples, views))
        voxels = VoxelBatch.pack([one.voxels[view] for one, view in chosen])
        noise = torch.randn(len(voxels.coords), self.model_config.latent_channels, generator=generator)
        times = draw_times(len(clips), generator)
        dropped = torch.rand(len(clips), generator=generator) < self.config.image_drop_prob
        image = image_features(chosen).at_voxels(self.model_config, voxels, self.encoder.config.resolution)
        return SlatBatch(
            tuple(f"{clip}/{view}" for clip, view in zip(clips, views)),
            voxels,
            torch.cat([one.features[view].float() for one, view in chosen]),
            noise,
            times,
            without_some(image, dropped, voxels.items),
        )

    def loss(self, model: SlatFlow, batch: SlatBatch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Predict the velocity of noised latents; return its mean squared error, which has no further terms."""
        with torch.autocast(batch.noise.device.type, enabled=False):
            encoder = self.encoder.to(batch.noise.device)
            posterior = self.posteriors(encoder, batch.names, batch.features, batch.voxels)
            latents = self.moments.normalize(posterior.mean)
            noised = noised_data(latents, batch.noise, batch.times[batch.voxels.items, None])
        velocity = model(noised, NETWORK_TIME * batch.times, batch.voxels, batch.image)
        return (velocity - flow_velocity(latents, batch.noise)).square().mean(), {}

    def save(self, model: SlatFlow, folder: Path) -> None:
        """Write the flow as `write` does."""
        with fresh_directory(folder) as partial:
            self.write(model, partial)


@torch.no_grad()
def slat_moments(clips: Sequence[str], read_examples: ReadExamples, encoder: SlatEncoder) -> SlatMoments:
    """Return the moments of the latents that E_GS gives the training clips, each in one of its images' axes.

    The images take turns over the clips, so that all of them count. Sums are float64.
    """
    device = next(encoder.parameters()).device
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for number, clip in enumerate(clips):
        one = read_examples(clip)
        view = number % len(one.tokens)
        voxels = VoxelBatch.pack([one.voxels[view].to(device)])
        mean = encoder(one.features[view].float().to(device), voxels).mean.double().cpu()
        count, total, squares = count + len(mean), total + mean.sum(0), squares + mean.square().sum(0)
    mean = total / count
    return SlatMoments(mean.float(), (squares / count - mean.square()).clamp(min=1e-12).sqrt().float())
