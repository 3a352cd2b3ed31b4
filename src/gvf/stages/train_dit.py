"""Stage `train-dit`: the variation field diffusion transformer, conditioned on video and canonical Gaussians (Eq. 10)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gvf.config.params import Params
from gvf.data.clips import clip_ids, load_features
from gvf.data.latents import load_latents, load_statistics
from gvf.diffusion.schedule import cosine_schedule
from gvf.diffusion.velocity import add_noise, velocity_target
from gvf.models.layers.posterior import Posterior
from gvf.models.variation.dit import VariationDiT
from gvf.training.batches import Draw
from gvf.training.fit import fit
from gvf.training.optimizer import parameter_group
from gvf.workspace import Workspace


@dataclass(frozen=True)
class DiffusionBatch:
    """latents: [B, T, L, C] and static: [B, S, 14], normalised; positions: [B, L, 3]; video: [B, T, K, D]; noise like
    the latents; timesteps: [B].
    """

    latents: Tensor
    static: Tensor
    positions: Tensor
    video: Tensor
    noise: Tensor
    timesteps: Tensor


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Train on latents drawn from their posteriors, each clip seen through one of its conditioning videos."""
    config = params.train_dit
    clips = clip_ids(workspace, "train", after=workspace.latents)
    statistics = load_statistics(workspace)
    schedule = cosine_schedule(config.num_diffusion_steps)

    def load(draw: Draw) -> DiffusionBatch:
        generator = draw.generator
        chosen = [clips[index] for index in draw.indices]
        records = [load_latents(workspace, clip) for clip in chosen]
        latents = statistics.normalize(
            torch.stack([Posterior(record.mean, record.logvar).sample(generator) for record in records])
        )
        videos = []
        for clip in chosen:
            tokens = load_features(workspace, clip)["video_tokens"]
            video = tokens[int(torch.randint(len(tokens), (), generator=generator))].float()
            dropped = float(torch.rand((), generator=generator)) < config.cond_drop_prob
            videos.append(torch.zeros_like(video) if dropped else video)
        return DiffusionBatch(
            latents,
            statistics.normalize_static(torch.stack([record.static for record in records])),
            torch.stack([record.positions for record in records]),
            torch.stack(videos),
            torch.randn(latents.shape, generator=generator),
            torch.randint(schedule.num_steps, (len(chosen),), generator=generator),
        )

    def loss(model: VariationDiT, batch: DiffusionBatch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        alpha, sigma = schedule.coefficients(batch.timesteps, batch.latents)
        noised = add_noise(batch.latents, batch.noise, alpha, sigma)
        velocity = model(noised, batch.timesteps, batch.video, batch.static, batch.positions)
        target = velocity_target(batch.latents, batch.noise, alpha, sigma)
        return (velocity - target).square().mean(), {}

    latent_channels = len(statistics.latent_mean)
    return fit(
        "train-dit",
        workspace,
        params.run,
        params.execution,
        config.training,
        lambda: VariationDiT(params.variation_dit, latent_channels),
        lambda model: [parameter_group([model])],
        len(clips),
        load,
        loss,
        sections={"variation_dit": params.variation_dit, "train_dit": config},
        inputs=[workspace.latent_statistics],
        output=workspace.dit,
    )
