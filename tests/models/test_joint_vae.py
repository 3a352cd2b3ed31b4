"""What passes between the static and the variation VAE: queries, interpolated motion, varied Gaussians."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.variation.joint_vae import JointVAE, displace, varied
from tests.training.tiny_clips import STATIC_VAE, VARIATION_VAE

VARIATION = replace(VARIATION_VAE, num_layers=1, num_latents=4, latent_channels=5, num_neighbors=3)


@pytest.fixture
def vae() -> JointVAE:
    torch.manual_seed(0)
    model = JointVAE(STATIC_VAE, VARIATION)
    torch.nn.init.normal_(model.variation.to_outputs.weight, std=0.5)  # zero at the start: nothing would move
    return model


@pytest.fixture
def canonical(vae):
    generator = torch.Generator().manual_seed(1)
    coords = [torch.randperm(512, generator=generator)[:count] for count in (6, 9)]
    voxels = VoxelBatch.pack([torch.stack((c // 64, c // 8 % 8, c % 8), -1).int() for c in coords])
    return vae.canonical(torch.randn(15, 6, generator=generator), voxels)


def test_canonical_counts_and_gradients_reach_the_decoder_only(vae, canonical):
    assert canonical.valid.sum(1).tolist() == [12, 18]
    assert canonical.clip(0).num_gaussians == 12
    canonical.gaussians.means.sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in vae.static.encoder.parameters())
    assert any(p.grad is not None for p in vae.static.decoder.parameters())


def test_a_rigid_shift_is_interpolated_exactly_and_padding_is_never_chosen(vae, canonical):
    points = torch.rand(2, 1, 40, 3) - 0.5
    shift = torch.tensor([0.1, -0.2, 0.3])
    motion = vae.motion(canonical, torch.cat([points, points + shift, points], 1))
    torch.testing.assert_close(motion.interpolated[:, 0], shift.expand_as(motion.interpolated[:, 0]))
    assert motion.interpolated[:, 1].abs().max() == 0
    assert motion.chosen.shape == (2, 4)
    assert all(bool(canonical.valid[b, motion.chosen[b]].all()) for b in range(2))


def test_a_clip_in_a_batch_is_decoded_as_if_alone(vae, canonical):
    points = torch.rand(2, 3, 40, 3) - 0.5
    vae.eval()
    with torch.no_grad():
        motion = vae.motion(canonical, points)
        latents = vae.encode(canonical, motion).mean
        both = vae.decode(canonical, latents)
        context = vae.variation.decode_context(latents[:1])
        alone = vae.variation.decode_queries(context, canonical.clip(0).to_activated14().unsqueeze(0))
    torch.testing.assert_close(both[0, :, :12], alone[0], atol=1e-5, rtol=1e-4)


def test_decoding_for_training_is_a_part_of_decoding(vae, canonical):
    latents = torch.randn(2, 3, 4, 5)
    chosen = torch.tensor([[0, 11, 5], [17, 2, 2]])
    everything = vae.decode(canonical, latents)
    whole, some = vae.decode_for_training(canonical, latents, chosen, 2)
    torch.testing.assert_close(whole, everything[:, :2])
    for clip in range(2):
        torch.testing.assert_close(some[clip], everything[clip][:, chosen[clip]])


def test_varied_and_displace_add_what_they_say(vae, canonical):
    gaussians = canonical.clip(0).detach()
    displacements = torch.randn(3, 12, 3)
    variation = torch.zeros(1, 3, 12, 14)
    variation[..., :3] = displacements
    batch = canonical.gaussians.detach()[:1].map(lambda tensor: tensor[:, :12])
    torch.testing.assert_close(varied(batch, variation).means[0], gaussians.means + displacements)
    shifted = displace(gaussians, displacements)
    torch.testing.assert_close(shifted.means, gaussians.means + displacements)
    torch.testing.assert_close(shifted.scales, gaussians.scales.expand(3, 12, 3))
