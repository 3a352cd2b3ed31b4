"""Structure and latents from an image: guidance in one batch gives what two separate evaluations give."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from gvf.config.slat_flow import SlatFlowConfig
from gvf.config.ss_flow import SsFlowConfig
from gvf.config.ss_vae import SsVaeConfig
from gvf.diffusion.flow_euler import FlowSettings
from gvf.errors import StageError
from gvf.models.image_to_3d.flow_transformer import ImageCondition
from gvf.models.image_to_3d.slat_flow import SlatFlow
from gvf.models.image_to_3d.ss_decoder import SsDecoder
from gvf.models.image_to_3d.ss_flow import SsFlow
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.pipelines.image_to_canonical import sample_slat, sample_structure
from gvf.pipelines.image_to_canonical_index import SLAT_MEAN, SLAT_STD

SETTINGS = FlowSettings(num_steps=4, guidance=2.0, guided_from=0.5, guided_to=0.95)
COMMON = {
    "width": 24,
    "num_layers": 1,
    "num_heads": 3,
    "feed_forward_ratio": 2,
    "image_channels": 10,
    "image_condition": "tokens",
    "aligned_channels": 0,
}


def euler(noise: Tensor, velocity) -> Tensor:  # type: ignore[no-untyped-def]
    """The sampler written out: velocity(x, time, with image)."""
    times = [1.0, 0.9, 0.75, 0.5, 0.0]
    x = noise
    for time, following in pairwise(times):
        v = velocity(x, time, True)
        if time in (0.9, 0.75, 0.5):
            v = 3 * v - 2 * velocity(x, time, False)
        x = x - (time - following) * v
    return x


@torch.no_grad()
def test_structure() -> None:
    torch.manual_seed(0)
    flow = SsFlow(SsFlowConfig(resolution=2, latent_channels=3, **COMMON))
    decoder = SsDecoder(SsVaeConfig(latent_channels=3, channels=(4, 4), num_res_blocks=1, num_middle_blocks=1))
    tokens, noise = torch.randn(2, 5, 10), torch.randn(2, 3, 2, 2, 2)
    voxels = sample_structure(flow, decoder, ImageCondition(tokens), noise, SETTINGS)

    def velocity(x: Tensor, time: float, with_image: bool) -> Tensor:
        conditions = flow.prepare_conditions(ImageCondition(tokens if with_image else torch.zeros_like(tokens)))
        return flow.denoise(x, torch.full((2,), 1000 * time), conditions)

    logits = decoder(euler(noise, velocity))
    assert voxels.counts == tuple((logits > 0).sum((1, 2, 3)).tolist())
    assert torch.equal(voxels.coords, (logits > 0).nonzero()[:, 1:])


@torch.no_grad()
def test_latents() -> None:
    torch.manual_seed(0)
    flow = SlatFlow(SlatFlowConfig(latent_channels=8, block_channels=(6,), num_res_blocks=2, **COMMON))
    cells = torch.cartesian_prod(*[torch.arange(4)] * 3)
    voxels = VoxelBatch.pack([cells[::3], cells[::5]])
    tokens, noise = torch.randn(2, 5, 10), torch.randn(len(voxels.coords), 8)
    latents = sample_slat(flow, ImageCondition(tokens), voxels, noise, SETTINGS)

    def velocity(x: Tensor, time: float, with_image: bool) -> Tensor:
        conditions = flow.prepare_conditions(ImageCondition(tokens if with_image else torch.zeros_like(tokens)))
        return flow.denoise(x, torch.full((2,), 1000 * time), voxels, conditions)

    expected = euler(noise, velocity) * torch.tensor(SLAT_STD) + torch.tensor(SLAT_MEAN)
    torch.testing.assert_close(latents, expected, atol=1e-4, rtol=1e-4)


def test_an_object_without_voxels_is_an_error() -> None:
    flow = SsFlow(SsFlowConfig(resolution=2, latent_channels=3, **COMMON))
    decoder = SsDecoder(SsVaeConfig(latent_channels=3, channels=(4, 4), num_res_blocks=1, num_middle_blocks=1))
    decoder.occupied = lambda latents: [torch.zeros(2, 3), torch.zeros(0, 3)]  # type: ignore[method-assign]
    with pytest.raises(StageError, match="no voxel is active for image 1"):
        sample_structure(flow, decoder, ImageCondition(torch.randn(2, 5, 10)), torch.randn(2, 3, 2, 2, 2), SETTINGS)
