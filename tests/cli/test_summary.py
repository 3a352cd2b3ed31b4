"""`gvf summary`: parameters of presets, and the accounting of activations on passes that are easy to count."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from gvf.cli.summary import command
from gvf.config.variation_dit import VariationDitConfig
from gvf.errors import UserError
from gvf.models.activation_memory import peak_activation_bytes
from gvf.models.layers.attention import SelfAttention
from gvf.models.variation.dit import VariationDiT, VideoCondition
from gvf.pipelines.image_memory import sphere_voxels

NETWORKS = ["slat_encoder", "gaussian_decoder", "variation_vae", "dit", "ss_flow", "ss_decoder", "slat_flow"]
MIB = 2**20


def summary(*arguments: str) -> dict:
    result = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    return json.loads(result.output)


def test_the_paper_preset_has_the_parameters_of_table_4() -> None:
    found = summary("--preset", "paper")
    assert list(found)[:7] == NETWORKS
    millions = {name: found[name] / 1e6 for name in NETWORKS[:4]}
    assert millions == pytest.approx(
        {"slat_encoder": 85.8, "gaussian_decoder": 85.1, "variation_vae": 125.21, "dit": 105.51}, rel=0.005
    )
    assert [found[name] for name in NETWORKS[4:]] == [555_543_560, 73_671_201, 600_432_520]
    memory = found["activation_bytes"]
    assert memory.keys() == set(NETWORKS)
    for name in NETWORKS[:4]:
        assert memory[name]["training"] > memory[name]["inference"] > 2 * MIB
    # 12288 latent tokens of 512 channels, of which each of 12 blocks keeps some 20 copies for its gradients.
    assert 12 * 10 < memory["dit"]["training"] / (12288 * 512 * 4) < 12 * 60


def test_activations_grow_with_the_batch_and_parameters_do_not() -> None:
    single = summary("--preset", "cpu")
    lines = CliRunner().invoke(command, ["--preset", "cpu", "--batch", "2"], catch_exceptions=False).output.splitlines()
    rows = {line.split()[0]: line.split() for line in lines[1:]}
    assert list(rows) == NETWORKS
    assert {name: int(row[1].replace(",", "")) for name, row in rows.items()} == {
        name: single[name] for name in NETWORKS
    }
    for name in ("ss_flow", "slat_flow"):  # large enough for two decimals
        assert rows[name][2] == "-"
        ratio = float(rows[name][3]) * 2**30 / single["activation_bytes"][name]["inference"]
        assert 1.8 < ratio < 2.1, name


def test_an_unknown_preset_is_named() -> None:
    result = CliRunner().invoke(command, ["--preset", "huge"])
    assert isinstance(result.exception, UserError)
    assert "There are cpu, h100, paper" in str(result.exception)


class Chain(nn.Module):
    """Sigmoids one after another: each result is kept for its own gradient; without gradients few are alive at once."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(10):
            x = x.sigmoid()
        return x


def test_live_tensors_are_counted_with_their_lifetimes() -> None:
    def run(network: nn.Module) -> object:
        return network(torch.empty(MIB, requires_grad=True))

    assert peak_activation_bytes(Chain(), run, training=True) == (1 + 10) * 4 * MIB
    assert peak_activation_bytes(Chain(), run, training=False) in (2 * 4 * MIB, 3 * 4 * MIB)


def test_weights_views_and_what_is_done_in_place_do_not_count() -> None:
    def run(network: nn.Module) -> object:
        return network(torch.empty(256, 1024)).view(-1).add_(1.0)

    layer = nn.Linear(1024, 512, device="meta")
    assert peak_activation_bytes(layer, run, training=False) == (256 * 1024 + 256 * 512) * 4


def test_attention_does_not_write_out_its_pairs() -> None:
    def run(network: nn.Module) -> object:
        return network(torch.empty(1, 4096, 64))

    attention = SelfAttention(64, 2).to("meta")
    tokens = 4096 * 64 * 4
    assert 4 * tokens < peak_activation_bytes(attention, run, training=False) < 10 * tokens < 4096**2


@pytest.mark.parametrize("training", [True, False])
def test_the_meta_device_finds_what_a_real_pass_takes(training: bool) -> None:
    config = VariationDitConfig(24, 2, 3, 4, "both", 10, ("values",), 6, 9, True, 1.0)

    def run(network: nn.Module) -> object:
        inputs = ((1, 3, 7, 10), (1, 3, 32, 6), (1, 3, 32, 5), (1,), (1, 9, 14), (1, 32, 3))
        tokens, aligned, noised, timesteps, static, positions = (torch.ones(shape) for shape in inputs)
        return network(noised, timesteps, VideoCondition(tokens, aligned), static, positions)

    sizes = []
    for device in ("cpu", "meta"):
        with torch.device(device):
            network = VariationDiT(config, latent_channels=5)
        sizes.append(peak_activation_bytes(network, run, training=training))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


def test_a_sphere_has_as_many_voxels_as_an_object() -> None:
    cells = sphere_voxels(64)
    assert 9_000 < len(cells) < 12_000
    assert (len(cells.unique(dim=0)), int(cells.min()), int(cells.max())) == (len(cells), 3, 60)


def test_the_networks_of_the_small_preset_can_be_shipped() -> None:
    """At most 25 MB in half precision."""
    found = summary("--preset", "small")
    assert 2 * sum(found[name] for name in NETWORKS[:4]) <= 25e6
