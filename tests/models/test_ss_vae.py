"""The sparse structure VAE: shapes, its exact rescaling, and that it can represent any occupancy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gvf.config.ss_vae import SsVaeConfig
from gvf.losses.occupancy import cross_entropy_loss, dice_loss
from gvf.metrics.iou import voxel_iou
from gvf.models.image_to_3d.ss_vae import SsVAE

SMALL = SsVaeConfig(latent_channels=4, channels=(16, 8), num_res_blocks=1, num_middle_blocks=1)


def test_the_encoder_halves_the_grid_per_level_and_the_decoder_doubles_it() -> None:
    config = SsVaeConfig(latent_channels=3, channels=(6, 4, 2), num_res_blocks=2, num_middle_blocks=1)
    vae = SsVAE(config)
    assert config.scale == 4
    posterior = vae.encoder(torch.zeros(2, 8, 8, 8))
    assert posterior.mean.shape == posterior.logvar.shape == (2, 3, 2, 2, 2)
    assert vae.decoder(posterior.mean).shape == (2, 8, 8, 8)


def test_names_of_the_encoder_are_those_of_the_published_weights() -> None:
    vae = SsVAE(SsVaeConfig(latent_channels=8, channels=(32, 16, 4), num_res_blocks=2, num_middle_blocks=2))
    state = vae.encoder.state_dict()
    assert state["input_layer.weight"].shape == (4, 1, 3, 3, 3)
    assert state["blocks.2.conv.weight"].shape == (16, 4, 2, 2, 2)  # after two residual blocks: to the next level
    assert state["blocks.5.conv.weight"].shape == (32, 16, 2, 2, 2)
    assert state["blocks.7.conv2.weight"].shape == state["middle_block.1.conv1.weight"].shape == (32, 32, 3, 3, 3)
    assert state["out_layer.2.weight"].shape == (16, 32, 3, 3, 3), "mean, then log variance"
    assert {name.split(".")[0] for name in state} == {"input_layer", "blocks", "middle_block", "out_layer"}


def test_rescaled_latents_have_another_deviation_and_the_same_occupancy() -> None:
    torch.manual_seed(0)
    vae, occupancy = SsVAE(SMALL).eval(), (torch.rand(2, 8, 8, 8) < 0.3).float()
    factors = torch.tensor([0.5, 2.0, 3.0, 0.1])
    with torch.no_grad():
        before, logits = vae.encoder(occupancy), vae.decoder(vae.encoder(occupancy).mean)
        vae.rescale(factors)
        after = vae.encoder(occupancy)
        torch.testing.assert_close(after.mean * factors[:, None, None, None], before.mean)
        deviations = [(part.logvar / 2).exp() for part in (before, after)]
        torch.testing.assert_close(deviations[1] * factors[:, None, None, None], deviations[0])
        torch.testing.assert_close(vae.decoder(after.mean), logits, atol=1e-4, rtol=1e-4)


def test_a_stored_vae_is_the_same_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae, occupancy = SsVAE(SMALL).eval(), (torch.rand(1, 8, 8, 8) < 0.3).float()
    vae.save(tmp_path)
    again = SsVAE.load(tmp_path)
    with torch.no_grad():
        assert torch.equal(again.decoder(again.encoder(occupancy).mean), vae.decoder(vae.encoder(occupancy).mean))


def test_random_occupancy_can_be_overfitted() -> None:
    """Noise has no structure to generalise from: each of its 2 x 512 cells has to pass through the latents."""
    torch.manual_seed(0)
    vae, occupancy = SsVAE(SMALL), (torch.rand(2, 8, 8, 8) < 0.3).float()
    optimizer = torch.optim.Adam(vae.parameters(), lr=5e-3)
    for _ in range(150):
        logits, _ = vae(occupancy)
        loss = dice_loss(logits, occupancy) + cross_entropy_loss(logits, occupancy)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        decoded = vae.decoder(vae.encoder(occupancy).mean) > 0
    assert voxel_iou(decoded, occupancy > 0.5).min() > 0.99


def test_losses_and_iou_by_hand() -> None:
    occupancy = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).view(1, 2, 2, 2)
    even = torch.zeros(1, 2, 2, 2)  # probability 1/2 everywhere
    assert float(dice_loss(even, occupancy)) == pytest.approx(1 - (2 * 1.0 + 1) / (4.0 + 2.0 + 1))
    assert float(cross_entropy_loss(even, occupancy)) == pytest.approx(0.6931472)
    assert float(dice_loss(40.0 * (2 * occupancy - 1), occupancy)) == pytest.approx(0.0, abs=1e-6)
    other = torch.tensor([0, 1, 1, 1, 0, 0, 0, 0]).view(1, 2, 2, 2).bool()
    assert float(voxel_iou(occupancy.bool(), other)) == pytest.approx(1 / 4)
    assert float(voxel_iou(torch.zeros_like(other), torch.zeros_like(other))) == 1.0
