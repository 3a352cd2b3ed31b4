"""The paper's sizes give the published state dicts, key for key, and the parameter counts of Table 4."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from gvf.config.static_vae import StaticVaeConfig
from gvf.config.variation_dit import VariationDitConfig
from gvf.config.variation_vae import ATTRIBUTES, VariationVaeConfig
from gvf.models.gaussian_decoder import GaussianDecoder
from gvf.models.slat_encoder import SlatEncoder
from gvf.models.variation_dit import VariationDiT
from gvf.models.variation_vae import VariationVAE

STATIC = StaticVaeConfig(64, 1024, 768, 12, 12, 4, 8, 8, 8, 1.5, 0.1, 0.004, 0.1, 0.0009)
VAE = VariationVaeConfig(768, 12, 12, 4, 512, 16, 0.1, "motion", ATTRIBUTES, 8, 7.0, "paper", 1.0, 8192)
DIT = VariationDitConfig(512, 12, 16, 4, 1024, 4096, True, 1.0)


@pytest.mark.parametrize(
    ("manifest", "build", "millions"),
    [
        ("trellis_slat_encoder", lambda: SlatEncoder(STATIC), 85.8),
        ("trellis_slat_gs_decoder", lambda: GaussianDecoder(STATIC), 85.1),
        ("gvf_variation_vae", lambda: VariationVAE(VAE), 125.21),
        ("gvf_dit", lambda: VariationDiT(DIT, latent_channels=16), 105.51),
    ],
)
def test_state_dict_and_table_4(manifest: str, build: Callable[[], nn.Module], millions: float, shared: Path) -> None:
    published = json.loads((shared / "upstream" / f"{manifest}.json").read_text())
    with torch.device("meta"):
        module = build()
    shapes = {key: list(value.shape) for key, value in module.state_dict().items()}
    assert shapes == {key: entry["shape"] for key, entry in published["state_dict"].items()}
    doubles = {key for key, value in module.state_dict().items() if value.dtype == torch.float64}
    assert doubles == {key for key, entry in published["state_dict"].items() if entry["dtype"] == "float64"}
    count = sum(parameter.numel() for parameter in module.parameters())
    assert count == published["num_params"]
    assert count / 1e6 == pytest.approx(millions, abs=0.051 if millions < 100 else 0.0051)
