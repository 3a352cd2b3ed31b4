"""Published weights of the canonical autoencoder, and of TRELLIS's encoder and decoder of structured latents."""

from __future__ import annotations

from typing import Any

from gvf.config.load import parse
from gvf.config.static_vae import StaticVaeConfig
from gvf.models.canonical.gaussian_decoder import GaussianDecoder
from gvf.models.canonical.slat_encoder import SlatEncoder
from gvf.models.canonical.static_vae import StaticVAE
from gvf.weights.layout import Layout, Shapes, count_modules


def _sparse_transformer(shapes: Shapes, blocks: str = "blocks") -> dict[str, Any]:
    width = shapes[f"{blocks}.0.mlp.mlp.0.weight"][1]
    return {
        "width": width,
        "num_layers": count_modules(shapes, rf"{blocks}\.(\d+)\."),
        "feed_forward_ratio": shapes[f"{blocks}.0.mlp.mlp.0.weight"][0] // width,
    }


def _slat_encoder(shapes: Shapes) -> dict[str, Any]:
    return {
        "feature_channels": shapes["input_layer.weight"][1],
        "latent_channels": shapes["out_layer.weight"][0] // 2,
        **_sparse_transformer(shapes),
    }


def _slat_gs_decoder(shapes: Shapes) -> dict[str, Any]:
    return {
        "latent_channels": shapes["input_layer.weight"][1],
        "gaussians_per_voxel": shapes["offset_perturbation"][0],
        **_sparse_transformer(shapes),
    }


def _static_vae(shapes: Shapes) -> dict[str, Any]:
    return {
        "feature_channels": shapes["input_layer.weight"][1],
        "latent_channels": shapes["from_latent.weight"][1],
        "gaussians_per_voxel": shapes["MipGS_perturbation"][0],
        **_sparse_transformer(shapes, "encoder"),
    }


STATIC_VAE = Layout(
    "static-vae",
    _static_vae,
    lambda sizes: StaticVAE(parse(StaticVaeConfig, sizes)),
    StaticVAE,
    (
        ("encoder.input_layer.", "input_layer."),
        ("encoder.blocks.", "encoder."),
        ("encoder.out_layer.", "to_latent."),
        ("decoder.input_layer.", "from_latent."),
        ("decoder.blocks.", "decoder."),
        ("decoder.out_layer.", "out_layer."),
        ("decoder.offset_perturbation", "MipGS_perturbation"),
    ),
)
SLAT_GS_DECODER = Layout(
    "slat-gs-decoder", _slat_gs_decoder, lambda sizes: GaussianDecoder(parse(StaticVaeConfig, sizes)), GaussianDecoder
)
SLAT_ENCODER = Layout(
    "slat-encoder", _slat_encoder, lambda sizes: SlatEncoder(parse(StaticVaeConfig, sizes)), SlatEncoder
)
