"""One object through the structure VAE and flow: both learn it, and sampling gives it back."""

from __future__ import annotations

from dataclasses import replace

import torch

from gvf.config.ss_flow import SsFlowConfig
from gvf.config.ss_vae import SsVaeConfig
from gvf.diffusion.flow_euler import NETWORK_TIME, FlowSettings
from gvf.diffusion.rectified_flow import draw_times, flow_velocity, noised_data
from gvf.losses.occupancy import cross_entropy_loss
from gvf.metrics.iou import voxel_iou
from gvf.models.image_to_3d.image_features import ImageFeatures
from gvf.models.image_to_3d.ss_flow import SsFlow
from gvf.models.image_to_3d.ss_vae import SsVAE
from gvf.pipelines.image_to_canonical import sample_structure
from gvf.training.tasks.ss_flow import latent_deviation
from tests.training import tiny_clips as tiny

SIZE = 8
FLOW = SsFlowConfig(
    resolution=4,
    latent_channels=2,
    width=32,
    num_layers=2,
    num_heads=2,
    feed_forward_ratio=2,
    image_condition="tokens",
    image_channels=tiny.VIDEO_CHANNELS,
    aligned_channels=0,
)


def test_one_object_is_learned_through_both_networks() -> None:
    torch.manual_seed(0)
    examples = tiny.load_image_examples(tiny.CLIPS[0])
    occupancy = examples.occupancy(0, SIZE).float()[None]
    vae = SsVAE(SsVaeConfig(latent_channels=2, channels=(16, 8), num_res_blocks=1, num_middle_blocks=1))
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        cross_entropy_loss(vae(occupancy)[0], occupancy).backward()
        optimizer.step()
    with torch.no_grad():
        vae.rescale(latent_deviation([vae.encoder(occupancy).mean]))
        latents = vae.encoder(occupancy).mean
    assert abs(float(latents.square().mean()) - 1.0) < 1e-3
    flow, features = SsFlow(FLOW), ImageFeatures(examples.tokens[:1].float())
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
    generator, batch = torch.Generator().manual_seed(0), 8
    image = replace(features, tokens=features.tokens.expand(batch, -1, -1)).at_cells(FLOW)
    for _ in range(150):
        noise, times = torch.randn(batch, *latents.shape[1:], generator=generator), draw_times(batch, generator)
        data = latents.expand_as(noise)
        velocity = flow(noised_data(data, noise, times.view(-1, 1, 1, 1, 1)), NETWORK_TIME * times, image)
        optimizer.zero_grad()
        (velocity - flow_velocity(data, noise)).square().mean().backward()
        optimizer.step()
    noise = torch.randn(latents.shape, generator=generator)
    settings = FlowSettings(num_steps=12, guidance=0.0)
    voxels = sample_structure(flow.eval(), vae.decoder, features.at_cells(FLOW), noise, settings)
    found = torch.zeros(SIZE, SIZE, SIZE, dtype=torch.bool)
    found[voxels.coords.long().unbind(1)] = True
    assert float(voxel_iou(found[None], occupancy > 0.5)) > 0.95
