"""Clips of very few voxels go the whole way: repeated Gaussians keep batches in shape and change nothing else."""

from __future__ import annotations

import pytest
import torch

from gvf.config.sample import SampleConfig
from gvf.config.variation_dit import VariationDitConfig
from gvf.data.latents import LatentStatistics
from gvf.diffusion.schedule import cosine_schedule
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.variation.dit import VariationDiT
from gvf.models.variation.joint_vae import JointVAE
from gvf.pipelines.video_to_4d import canonical_from_features, choose_handles, reconstruct, sample_latents
from tests.models.test_joint_vae import STATIC, VARIATION

LATENTS, CHANNELS, STATIC_TOKENS = VARIATION.num_latents, VARIATION.latent_channels, 7
DIT = VariationDitConfig(
    width=12,
    num_layers=1,
    num_heads=2,
    feed_forward_ratio=2,
    image_channels=6,
    num_static=STATIC_TOKENS,
    position_embedding=True,
    position_scale=8.0,
)
SAMPLING = SampleConfig(
    num_frames=3,
    methods=("dit",),
    solver="adaptive",
    steps=4,
    absolute_tolerance=0.1,
    relative_tolerance=0.1,
    first_step=0.5,
    safety=0.9,
    video_guidance=1.0,
    static_guidance=1.0,
    batch_size=2,
)
VOXEL = torch.tensor([[3, 4, 5]], dtype=torch.int32)


@pytest.fixture
def vae() -> JointVAE:
    torch.manual_seed(0)
    model = JointVAE(STATIC, VARIATION)
    torch.nn.init.normal_(model.variation.to_outputs.weight, std=0.5)
    return model.eval()


def test_one_voxel_and_one_surface_point_are_encoded_and_decoded(vae: JointVAE) -> None:
    canonical = canonical_from_features(vae, torch.randn(1, 6), VOXEL)
    assert canonical.clip(0).num_gaussians == STATIC.gaussians_per_voxel == 2
    points = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.2, 0.1, 0.0]]).unsqueeze(1)  # [T, 1, 3]
    motion = vae.motion(canonical, torch.cat([points[:1], points]).unsqueeze(0))
    assert motion.chosen.tolist() == [[0, 1, 0, 1]]
    torch.testing.assert_close(motion.interpolated[0], (points - points[:1]).expand(-1, 2, -1))
    mean = vae.encode(canonical, motion).mean
    assert mean.shape == (1, 3, LATENTS, CHANNELS)
    torch.testing.assert_close(mean[:, :, :2], mean[:, :, 2:])  # equal queries, equal latents
    field, displacements = reconstruct(vae, canonical, points)
    assert field.shape == (3, 2, 14)
    assert displacements.shape == (3, 2, 3)
    assert field.isfinite().all()
    # Each Gaussian once, as two latents, and every one of them twice are the same set for attention.
    once = vae.variation.decode(mean[:, :, :2], canonical.gaussians.to_activated14())
    torch.testing.assert_close(field, once[0], atol=1e-5, rtol=1e-4)


def test_a_clip_of_one_voxel_trains_beside_a_larger_one(vae: JointVAE) -> None:
    cells = torch.cartesian_prod(*[torch.arange(3, dtype=torch.int32)] * 3)
    voxels, features = VoxelBatch.pack([VOXEL, cells]), torch.randn(28, 6)
    canonical = vae.canonical(features, voxels)
    motion = vae.motion(canonical, torch.rand(2, 3, 40, 3) - 0.5, torch.Generator().manual_seed(0))
    assert all(bool(canonical.valid[clip, motion.chosen[clip]].all()) for clip in range(2))
    field = vae.decode(canonical, vae.encode(canonical, motion).mean)
    field.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in vae.static.decoder.parameters() if p.grad is not None)


def test_latents_are_generated_for_a_clip_of_one_voxel(vae: JointVAE) -> None:
    canonical = canonical_from_features(vae, torch.randn(1, 6), VOXEL)
    handles = choose_handles(canonical.clip(0).detach(), LATENTS, STATIC_TOKENS)
    values = canonical.clip(0).detach().to_activated14()
    torch.testing.assert_close(handles.positions, values[[0, 1, 0, 1], :3])
    torch.testing.assert_close(handles.static, values[[0, 1, 0, 1, 0, 1, 0]])
    ones, zeros = torch.ones(CHANNELS), torch.zeros(CHANNELS)
    statistics = LatentStatistics(zeros, ones, torch.zeros(14), torch.ones(14))
    noise, tokens = torch.randn(2, 3, LATENTS, CHANNELS), torch.randn(2, 3, 5, 6)
    dit = VariationDiT(DIT, CHANNELS).eval()
    solution = sample_latents(dit, cosine_schedule(1000), statistics, [handles] * 2, tokens, noise, SAMPLING)
    assert solution.sample.shape == noise.shape
    assert solution.sample.isfinite().all()
