"""Trainings that start from the networks of a generator, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gvf.errors import UserError
from gvf.models.network_folder import save_network
from gvf.models.variation.dit import VariationDiT
from gvf.models.variation.vae import VariationVAE
from gvf.weights.initial import start_from
from tests.training import tiny_clips as tiny


def networks(seed: int) -> list[VariationVAE | VariationDiT]:
    torch.manual_seed(seed)
    return [VariationVAE(tiny.VARIATION_VAE), VariationDiT(tiny.VARIATION_DIT, tiny.LATENT_CHANNELS)]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("half", [False, True])
def test_the_weights_become_those_of_the_folder(which: int, half: bool, tmp_path: Path) -> None:
    stored, model = networks(1)[which], networks(2)[which]
    save_network(stored.half() if half else stored, tmp_path)
    start_from(str(tmp_path), model, "train_dit.initial_weights")
    expected = dict(stored.named_parameters())
    for name, value in model.named_parameters():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[name].float()), name


def test_a_network_of_other_sizes_is_refused_by_name(tmp_path: Path) -> None:
    save_network(VariationDiT(replace(tiny.VARIATION_DIT, num_layers=3), tiny.LATENT_CHANNELS), tmp_path)
    with pytest.raises(UserError, match=r"train_dit\.initial_weights: .* num_layers 3 instead of 2"):
        start_from(str(tmp_path), networks(1)[1], "train_dit.initial_weights")


def test_a_size_on_which_no_weight_depends_may_differ(tmp_path: Path) -> None:
    stored, model = VariationVAE(replace(tiny.VARIATION_VAE, num_latents=3)), networks(2)[0]
    assert model.config.num_latents != 3
    save_network(stored, tmp_path)
    start_from(str(tmp_path), model, "train_vae_joint.initial_weights")
    assert torch.equal(model.proj.weight, stored.proj.weight)
    assert model.config == tiny.VARIATION_VAE


def test_no_weight_has_a_shape_of_such_a_size() -> None:
    others = {"num_latents": 3, "drop_path": 0.3}, {"num_static": 3}
    variation = VariationVAE(replace(tiny.VARIATION_VAE, **others[0]))
    dit = VariationDiT(replace(tiny.VARIATION_DIT, **others[1]), tiny.LATENT_CHANNELS)
    for stored, other, sizes in zip(networks(1), (variation, dit), others):
        assert sizes.keys() == stored.FREE_SIZES
        assert [value.shape for value in other.parameters()] == [value.shape for value in stored.parameters()]


def test_another_kind_of_network_is_refused(tmp_path: Path) -> None:
    save_network(networks(1)[0], tmp_path)
    with pytest.raises(UserError, match="variation-vae"):
        start_from(str(tmp_path), networks(1)[1], "train_dit.initial_weights")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent"):
        start_from(str(tmp_path / "absent"), networks(1)[1], "train_dit.initial_weights")
