"""Stage `train-vae-static`: the canonical autoencoder, mesh features to Gaussians of frame 0 (Sec. 4.2, first stage)."""

from __future__ import annotations

import torch
from torch import Tensor

from gvf.config.load import as_dict
from gvf.config.params import Params
from gvf.data.clips import clip_ids
from gvf.gaussians.padding import pad
from gvf.losses.canonical import canonical_loss
from gvf.models.canonical.static_vae import StaticVAE
from gvf.rendering.splats import draw_gaussians
from gvf.training.batches import Draw
from gvf.training.canonical_batch import CanonicalBatch, load_canonical
from gvf.training.fit import fit
from gvf.training.optimizer import parameter_group
from gvf.weights.initial import find_initial, load_initial
from gvf.workspace import Workspace


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Train D_GS, and E_GS unless it is frozen, on the canonical views of the training clips.

    Raises UserError at the start when configured initial weights are missing.
    """
    config = params.train_vae_static
    initial = {
        network: find_initial(network, source)
        for network, source in as_dict(config.initial_weights).items()
        if source is not None
    }
    clips = clip_ids(workspace, "train", after=workspace.features)

    def build() -> StaticVAE:
        model = StaticVAE(params.static_vae)
        for network, path in initial.items():
            load_initial(model, network, path)
        model.encoder.requires_grad_(config.train_encoder)
        return model

    def load(draw: Draw) -> CanonicalBatch:
        chosen = [clips[index] for index in draw.indices]
        return load_canonical(workspace, chosen, config.views_per_clip, draw.generator)

    def loss(model: StaticVAE, batch: CanonicalBatch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
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
                1.0 / params.static_vae.resolution,
                config.canonical_loss,
            )

    return fit(
        "train-vae-static",
        workspace,
        params.run,
        params.execution,
        config.training,
        build,
        lambda model: [parameter_group([model])],
        len(clips),
        load,
        loss,
        sections={"static_vae": params.static_vae, "train_vae_static": config},
        inputs=list(initial.values()),
        output=workspace.vae_static,
    )
