"""How each kind of published weights is recognized, what sizes its shapes tell, and which module it becomes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from gvf.config.slat_flow import SlatFlowConfig
from gvf.config.ss_decoder import SsDecoderConfig
from gvf.config.ss_flow import SsFlowConfig
from gvf.config.static_vae import StaticVaeConfig
from gvf.config.variation_dit import VariationDitConfig
from gvf.config.variation_vae import VariationVaeConfig
from gvf.models.canonical.gaussian_decoder import GaussianDecoder
from gvf.models.canonical.slat_encoder import SlatEncoder
from gvf.models.canonical.static_vae import StaticVAE
from gvf.models.image_to_3d.slat_flow import SlatFlow
from gvf.models.image_to_3d.ss_decoder import SsDecoder
from gvf.models.image_to_3d.ss_flow import SsFlow
from gvf.models.variation.dit import VariationDiT
from gvf.models.variation.vae import VariationVAE

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Layout:
    """marker: a key that every file of the kind has and those listed before it have not.

    infer: sizes that the shapes tell; raises KeyError for a key that is missing, IndexError for one of too few axes.
    build: the module of given sizes. module: its class. prefixes: beginnings of our names, and of the published ones.
    """

    marker: str
    infer: Callable[[Shapes], dict[str, Any]]
    build: Callable[[dict[str, Any]], nn.Module]
    module: type[nn.Module]
    prefixes: tuple[tuple[str, str], ...] = ()

    def published_name(self, ours: str) -> str:
        """The published name of a tensor of our module."""
        for before, after in self.prefixes:
            if ours.startswith(before):
                return after + ours.removeprefix(before)
        return ours


def recognize(shapes: Shapes) -> str | None:
    """The kind whose marker is among the keys."""
    return next((kind for kind, layout in LAYOUTS.items() if layout.marker in shapes), None)


def _count(shapes: Shapes, pattern: str) -> int:
    """Number of modules of a list: one more than the largest index among keys that match, at least 1."""
    numbers = [int(match[1]) for name in shapes if (match := re.match(pattern, name))]
    return max(numbers, default=0) + 1


def _variation_vae(shapes: Shapes) -> dict[str, Any]:
    width, latent_channels = shapes["proj.weight"][:2]
    return {
        "width": width,
        "latent_channels": latent_channels,
        "num_layers": _count(shapes, r"layers\.(\d+)\."),
        "feed_forward_ratio": shapes["cross_attend_blocks.1.fn.net.2.weight"][1] // width,
    }


def _dit(shapes: Shapes) -> dict[str, Any]:
    width, latent_channels = shapes["input_layer.weight"][:2]
    return {
        "width": width,
        "latent_channels": latent_channels,
        "num_layers": _count(shapes, r"blocks\.(\d+)\."),
        "num_heads": shapes["blocks.0.spatial_self_attn.q_rms_norm.gamma"][0],
        "feed_forward_ratio": shapes["blocks.0.mlp.mlp.0.weight"][0] // width,
        "image_channels": shapes["image_cond_proj.weight"][1],
    }


def _sparse_transformer(shapes: Shapes, blocks: str = "blocks") -> dict[str, Any]:
    width = shapes[f"{blocks}.0.mlp.mlp.0.weight"][1]
    return {
        "width": width,
        "num_layers": _count(shapes, rf"{blocks}\.(\d+)\."),
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


def _flow_transformer(shapes: Shapes) -> dict[str, Any]:
    width, image_channels = shapes["blocks.0.self_attn.to_out.weight"][0], shapes["blocks.0.cross_attn.to_kv.weight"][1]
    return {
        "latent_channels": shapes["input_layer.weight"][1],
        "width": width,
        "num_layers": _count(shapes, r"blocks\.(\d+)\."),
        "num_heads": shapes["blocks.0.self_attn.q_rms_norm.gamma"][0],
        "feed_forward_ratio": shapes["blocks.0.mlp.mlp.0.weight"][0] // width,
        "image_channels": image_channels,
    }


def _ss_flow(shapes: Shapes) -> dict[str, Any]:
    return {"resolution": round(shapes["pos_emb"][0] ** (1 / 3)), **_flow_transformer(shapes)}


def _ss_decoder(shapes: Shapes) -> dict[str, Any]:
    numbers = range(_count(shapes, r"blocks\.(\d+)\."))
    steps = [number for number in numbers if f"blocks.{number}.conv.weight" in shapes]  # to the next level
    first, latent_channels = shapes["input_layer.weight"][:2]
    return {
        "latent_channels": latent_channels,
        "channels": (first, *(shapes[f"blocks.{number}.conv.weight"][0] // 8 for number in steps)),
        "num_res_blocks": steps[0] if steps else len(numbers),
        "num_middle_blocks": _count(shapes, r"middle_block\.(\d+)\."),
    }


def _slat_flow(shapes: Shapes) -> dict[str, Any]:
    """A level ends with the block that changes the width."""
    numbers = range(_count(shapes, r"input_blocks\.(\d+)\."))
    widths = [shapes[f"input_blocks.{number}.conv1.conv.weight"] for number in numbers]
    ends = [number for number in numbers if widths[number][0] != widths[number][-1]] or [len(numbers) - 1]
    return {
        "block_channels": tuple(widths[number][-1] for number in ends),
        "num_res_blocks": ends[0] + 1,
        **_flow_transformer(shapes),
    }


def _build_dit(sizes: dict[str, Any]) -> nn.Module:
    rest = {name: value for name, value in sizes.items() if name != "latent_channels"}
    return VariationDiT(VariationDitConfig(**rest), sizes["latent_channels"])


# The first whose marker is in a file is the file's kind.
LAYOUTS: Mapping[str, Layout] = {
    "variation-vae": Layout(
        "decoder_cross_attn.fn.to_q.weight",
        _variation_vae,
        lambda sizes: VariationVAE(VariationVaeConfig(**sizes)),
        VariationVAE,
    ),
    "dit": Layout("static_cond_proj.weight", _dit, _build_dit, VariationDiT),
    "static-vae": Layout(
        "from_latent.weight",
        _static_vae,
        lambda sizes: StaticVAE(StaticVaeConfig(**sizes)),
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
    ),
    "slat-gs-decoder": Layout(
        "offset_perturbation",
        _slat_gs_decoder,
        lambda sizes: GaussianDecoder(StaticVaeConfig(**sizes)),
        GaussianDecoder,
    ),
    "slat-flow": Layout(
        "input_blocks.0.conv1.conv.weight", _slat_flow, lambda sizes: SlatFlow(SlatFlowConfig(**sizes)), SlatFlow
    ),
    "ss-flow": Layout("pos_emb", _ss_flow, lambda sizes: SsFlow(SsFlowConfig(**sizes)), SsFlow),
    "ss-decoder": Layout(
        "middle_block.0.conv1.weight", _ss_decoder, lambda sizes: SsDecoder(SsDecoderConfig(**sizes)), SsDecoder
    ),
    "slat-encoder": Layout(
        "blocks.0.attn.to_qkv.weight", _slat_encoder, lambda sizes: SlatEncoder(StaticVaeConfig(**sizes)), SlatEncoder
    ),
}
