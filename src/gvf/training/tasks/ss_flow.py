"""Training of the sparse structure flow: an image to the latent grid of the object that it shows (TRELLIS)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from gvf.config.ss_flow import SsFlowConfig
from gvf.config.train_structure import SsFlowTrainingConfig
from gvf.config.training import TrainingConfig
from gvf.data.image_examples import ImageExamples
from gvf.diffusion.flow_euler import NETWORK_TIME
from gvf.diffusion.rectified_flow import draw_times, flow_velocity, noised_data
from gvf.models.image_to_3d.flow_transformer import ImageCondition
from gvf.models.image_to_3d.ss_encoder import SsEncoder
from gvf.models.image_to_3d.ss_flow import SsFlow
from gvf.storage.files import fresh_directory
from gvf.training.batches import Draw
from gvf.training.optimizer import ParameterGroup, parameter_group
from gvf.training.tasks.image_batch import ReadExamples, draw_views, image_features, without_some

ReadStructures = Callable[[str], Tensor]
"""Takes a clip's id; returns the latents [V, C, R, R, R] of the shapes in its images, as `structure_latents` makes them."""

Write = Callable[[SsFlow, Path], None]
"""Takes the trained flow and an empty folder; writes what later stages read."""


@dataclass(frozen=True)
class SsFlowBatch:
    """B objects, each as one image of it shows it.

    latents, noise: [B, C, R, R, R]; times: [B]; image: of the objects, zeros where it is dropped.
    """

    latents: Tensor
    noise: Tensor
    times: Tensor
    image: ImageCondition


@dataclass(frozen=True)
class SsFlowTask:
    """Train on the structure VAE's mean latents, each clip seen in one of its conditioning images.

    model_config: section `ss_flow`. config: part `flow` of the section `train_structure`. clips: ids of the training clips.
    read_examples: reads a clip's images. read_latents: returns the latents of their shapes. write: writes the result. inputs:
    files that the clips and the VAE come from.
    """

    model_config: SsFlowConfig
    config: SsFlowTrainingConfig
    clips: Sequence[str]
    read_examples: ReadExamples
    read_latents: ReadStructures
    write: Write
    inputs: Sequence[Path]
    name: ClassVar[str] = "train-structure"

    @property
    def training(self) -> TrainingConfig:
        """Return the settings of the optimiser and the loop."""
        return self.config.training

    @property
    def sections(self) -> Mapping[str, Any]:
        """Return the configuration sections that decide the result."""
        return {"ss_flow": self.model_config, "train_structure.flow": self.config}

    def build(self) -> SsFlow:
        """Return a structure flow with initial weights."""
        return SsFlow(self.model_config)

    def parameter_groups(self, model: SsFlow) -> list[ParameterGroup]:
        """Return all parameters as one group."""
        return [parameter_group([model])]

    def load(self, draw: Draw) -> SsFlowBatch:
        """Load the drawn clips and draw, in this order, their images, noise, times, and which images are dropped."""
        generator, clips = draw.generator, [self.clips[index] for index in draw.indices]
        examples = [self.read_examples(clip) for clip in clips]
        views = draw_views(examples, generator)
        latents = torch.stack([self.read_latents(clip)[view] for clip, view in zip(clips, views)])
        noise = torch.randn(latents.shape, generator=generator)
        times = draw_times(len(clips), generator)
        dropped = torch.rand(len(clips), generator=generator) < self.config.image_drop_prob
        items = torch.arange(len(clips)).repeat_interleave(self.model_config.resolution**3)
        image = image_features(list(zip(examples, views))).at_cells(self.model_config)
        return SsFlowBatch(latents, noise, times, without_some(image, dropped, items))

    def loss(self, model: SsFlow, batch: SsFlowBatch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Predict the velocity of noised latents; return its mean squared error, which has no further terms."""
        noised = noised_data(batch.latents, batch.noise, batch.times.view(-1, 1, 1, 1, 1))
        velocity = model(noised, NETWORK_TIME * batch.times, batch.image)
        return (velocity - flow_velocity(batch.latents, batch.noise)).square().mean(), {}

    def save(self, model: SsFlow, folder: Path) -> None:
        """Write the flow as `write` does."""
        with fresh_directory(folder) as partial:
            self.write(model, partial)


def latent_deviation(latents: Sequence[Tensor]) -> Tensor:
    """Return the standard deviation [C] of latents [V, C, R, R, R] of several clips, around 0. Sums are float64."""
    squares = [one.double().square().mean(dim=(0, 2, 3, 4)) for one in latents]
    return torch.stack(squares).mean(0).sqrt().clamp(min=1e-6).float()


@torch.no_grad()
def structure_latents(encoder: SsEncoder, examples: ImageExamples, images: int, resolution: int) -> Tensor:
    """Return the means of the latents [V, C, R, R, R], on the CPU, of the shapes in a clip's first V = `images` images."""
    device = next(encoder.parameters()).device
    shapes = torch.stack([examples.occupancy(image, resolution) for image in range(images)])
    with torch.autocast(device.type, enabled=False):
        return encoder(shapes.float().to(device)).mean.cpu()
