"""Training of the canonical autoencoder, mesh features to the Gaussians of frame 0 (Sec. 4.2, first stage)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from gvf.config.static_vae import StaticVaeConfig
from gvf.config.train_vae_static import TrainVaeStaticConfig
from gvf.config.training import TrainingConfig
from gvf.gaussians.padding import pad
from gvf.losses.canonical import canonical_loss
from gvf.models.canonical.static_vae import StaticVAE
from gvf.rendering.splats import draw_gaussians
from gvf.storage.files import fresh_directory
from gvf.training.batches import Draw
from gvf.training.optimizer import ParameterGroup, parameter_group
from gvf.training.tasks.canonical_batch import CanonicalBatch, ReadFeatures, ReadViews, load_canonical


@dataclass(frozen=True)
class StaticVaeTask:
    """Train D_GS, and E_GS unless it is frozen, on canonical views of the training clips.

    model_config, config: sections `static_vae` and `train_vae_static`. clips: ids of the training clips.
    read_features, read_views: read a clip's data. initialize: puts initial weights into a new model.
    inputs: files that the clips and the initial weights come from.
    """

    model_config: StaticVaeConfig
    config: TrainVaeStaticConfig
    clips: Sequence[str]
    read_features: ReadFeatures
    read_views: ReadViews
    initialize: Callable[[StaticVAE], None]
    inputs: Sequence[Path]
    name: ClassVar[str] = "train-vae-static"

    @property
    def training(self) -> TrainingConfig:
        """Return the settings of the optimiser and the loop."""
        return self.config.training

    @property
    def sections(self) -> Mapping[str, Any]:
        """Return the configuration sections that decide the result."""
        return {"static_vae": self.model_config, "train_vae_static": self.config}

    def build(self) -> StaticVAE:
        """Return the autoencoder with its initial weights; the encoder is frozen where the configuration says so."""
        model = StaticVAE(self.model_config)
        self.initialize(model)
        model.encoder.requires_grad_(self.config.train_encoder)
        return model

    def parameter_groups(self, model: StaticVAE) -> list[ParameterGroup]:
        """Return all trainable parameters as one group."""
        return [parameter_group([model])]

    def load(self, draw: Draw) -> CanonicalBatch:
        """Load the drawn clips, each with `views_per_clip` canonical views."""
        clips = [self.clips[index] for index in draw.indices]
        return load_canonical(clips, self.read_features, self.read_views, self.config.views_per_clip, draw.generator)

    def loss(self, model: StaticVAE, batch: CanonicalBatch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode, sample, decode and render; return the canonical loss and its terms."""
        posterior = model.encode(batch.features, batch.voxels)
        gaussians, valid = pad(model.decode(posterior.sample(draw.generator), batch.voxels))
        with torch.autocast(gaussians.means.device.type, enabled=False):
            rendered = draw_gaussians(gaussians, batch.viewmats, batch.Ks, batch.target.shape[-2])
            return canonical_loss(
                rendered,
                batch.target,
                posterior,
                gaussians,
                valid,
                1.0 / self.model_config.resolution,
                self.config.canonical_loss,
            )

    def save(self, model: StaticVAE, folder: Path) -> None:
        """Write the folders of both networks."""
        with fresh_directory(folder) as partial:
            model.save(partial)
