"""Published weights of the variation VAE and of the diffusion transformer."""

from __future__ import annotations

from typing import Any

from torch import nn

from gvf.config.load import parse
from gvf.config.variation_dit import VariationDitConfig
from gvf.config.variation_vae import VariationVaeConfig
from gvf.models.variation.dit import VariationDiT
from gvf.models.variation.vae import VariationVAE
from gvf.weights.layout import Layout, Shapes, count_modules


def _variation_vae(shapes: Shapes) -> dict[str, Any]:
    width, latent_channels = shapes["proj.weight"][:2]
    return {
        "width": width,
        "latent_channels": latent_channels,
        "num_layers": count_modules(shapes, r"layers\.(\d+)\."),
        "feed_forward_ratio": shapes["cross_attend_blocks.1.fn.net.2.weight"][1] // width,
    }


def _dit(shapes: Shapes) -> dict[str, Any]:
    width, latent_channels = shapes["input_layer.weight"][:2]
    return {
        "width": width,
        "latent_channels": latent_channels,
        "num_layers": count_modules(shapes, r"blocks\.(\d+)\."),
        "num_heads": shapes["blocks.0.spatial_self_attn.q_rms_norm.gamma"][0],
        "feed_forward_ratio": shapes["blocks.0.mlp.mlp.0.weight"][0] // width,
        "image_channels": shapes["image_cond_proj.weight"][1],
    }


def _build_dit(sizes: dict[str, Any]) -> nn.Module:
    rest = {name: value for name, value in sizes.items() if name != "latent_channels"}
    return VariationDiT(parse(VariationDitConfig, rest), sizes["latent_channels"])


VARIATION_VAE = Layout(
    "variation-vae", _variation_vae, lambda sizes: VariationVAE(parse(VariationVaeConfig, sizes)), VariationVAE
)
DIT = Layout("dit", _dit, _build_dit, VariationDiT)
