"""Training of the sparse structure VAE: occupancy to a latent grid and back (TRELLIS)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from gvf.config.ss_vae import SsVaeConfig
from gvf.config.train_structure import SsVaeTrainingConfig
from gvf.config.training import TrainingConfig
from gvf.losses.kl import kl_divergence
from gvf.losses.occupancy import OCCUPANCY_LOSSES
from gvf.metrics.iou import voxel_iou
from gvf.models.image_to_3d.ss_vae import SsVAE
from gvf.storage.files import fresh_directory
from gvf.training.batches import Draw
from gvf.training.optimizer import ParameterGroup, parameter_group
from gvf.training.tasks.image_batch import ReadExamples, draw_views


@dataclass(frozen=True)
class OccupancyBatch:
    """occupancy: [B, S, S, S] in {0, 1}, of B shapes."""

    occupancy: Tensor


@dataclass(frozen=True)
class SsVaeTask:
    """Train on the shapes that conditioning images show.

    model_config: section `ss_vae`. config: part `vae` of the section `train_structure`. resolution: voxels along an edge of the
    unit box. clips: ids of the training clips. read_examples: reads a clip's shapes. inputs: files that the clips come from.
    """

    model_config: SsVaeConfig
    config: SsVaeTrainingConfig
    resolution: int
    clips: Sequence[str]
    read_examples: ReadExamples
    inputs: Sequence[Path]
    name: ClassVar[str] = "train-structure-vae"

    @property
    def training(self) -> TrainingConfig:
        """Return the settings of the optimiser and the loop."""
        return self.config.training

    @property
    def sections(self) -> Mapping[str, Any]:
        """Return the configuration sections that decide the result."""
        return {"ss_vae": self.model_config, "train_structure.vae": self.config}

    def build(self) -> SsVAE:
        """Return a structure VAE with initial weights."""
        return SsVAE(self.model_config)

    def parameter_groups(self, model: SsVAE) -> list[ParameterGroup]:
        """Return all parameters as one group."""
        return [parameter_group([model])]

    def load(self, draw: Draw) -> OccupancyBatch:
        """Load one shape of each of the drawn clips."""
        examples = [self.read_examples(self.clips[index]) for index in draw.indices]
        views = draw_views(examples, draw.generator)
        return OccupancyBatch(
            torch.stack([one.occupancy(view, self.resolution) for one, view in zip(examples, views)]).float()
        )

    def loss(self, model: SsVAE, batch: OccupancyBatch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode, sample and decode; return the loss with its terms, and the mean intersection over union."""
        logits, posterior = model(batch.occupancy, draw.generator)
        with torch.autocast(logits.device.type, enabled=False):
            occupancy = OCCUPANCY_LOSSES[self.config.loss](logits.float(), batch.occupancy)
            kl = kl_divergence(posterior.mean.float(), posterior.logvar.float())
            iou = voxel_iou(logits > 0, batch.occupancy > 0.5).mean()
        return occupancy + self.config.kl * kl, {"occupancy": occupancy.detach(), "kl": kl.detach(), "iou": iou}

    def save(self, model: SsVAE, folder: Path) -> None:
        """Write the folders of both networks."""
        with fresh_directory(folder) as partial:
            model.save(partial)
