"""Published weights of TRELLIS's networks from an image to structured latents."""

from __future__ import annotations

from typing import Any

from gvf.config.load import parse
from gvf.config.slat_flow import SlatFlowConfig
from gvf.config.ss_flow import SsFlowConfig
from gvf.config.ss_vae import SsVaeConfig
from gvf.models.image_to_3d.slat_flow import SlatFlow
from gvf.models.image_to_3d.ss_decoder import SsDecoder
from gvf.models.image_to_3d.ss_flow import SsFlow
from gvf.weights.layout import Layout, Shapes, count_modules


def _flow_transformer(shapes: Shapes) -> dict[str, Any]:
    width = shapes["blocks.0.self_attn.to_out.weight"][0]
    return {
        "latent_channels": shapes["input_layer.weight"][1],
        "width": width,
        "num_layers": count_modules(shapes, r"blocks\.(\d+)\."),
        "num_heads": shapes["blocks.0.self_attn.q_rms_norm.gamma"][0],
        "feed_forward_ratio": shapes["blocks.0.mlp.mlp.0.weight"][0] // width,
        **_image(shapes),
    }


def _image(shapes: Shapes) -> dict[str, Any]:
    """Return how the network sees the image; the channels of tokens that it does not see are not among its shapes."""
    aligned, tokens = (shapes.get(name) for name in ("aligned_proj.0.weight", "blocks.0.cross_attn.to_kv.weight"))
    if aligned is None:
        tokens = shapes["blocks.0.cross_attn.to_kv.weight"]  # a file without either lacks this one
    sees = "both" if aligned and tokens else "pixel_aligned" if aligned else "tokens"
    channels = {} if tokens is None else {"image_channels": tokens[1]}
    return {"image_condition": sees, "aligned_channels": 0 if aligned is None else aligned[1], **channels}


def _ss_flow(shapes: Shapes) -> dict[str, Any]:
    return {"resolution": round(shapes["pos_emb"][0] ** (1 / 3)), **_flow_transformer(shapes)}


def _ss_decoder(shapes: Shapes) -> dict[str, Any]:
    numbers = range(count_modules(shapes, r"blocks\.(\d+)\."))
    steps = [number for number in numbers if f"blocks.{number}.conv.weight" in shapes]  # to the next level
    first, latent_channels = shapes["input_layer.weight"][:2]
    return {
        "latent_channels": latent_channels,
        "channels": (first, *(shapes[f"blocks.{number}.conv.weight"][0] // 8 for number in steps)),
        "num_res_blocks": steps[0] if steps else len(numbers),
        "num_middle_blocks": count_modules(shapes, r"middle_block\.(\d+)\."),
    }


def _slat_flow(shapes: Shapes) -> dict[str, Any]:
    """Return the layout's sizes; a level ends with the block that changes the width."""
    numbers = range(count_modules(shapes, r"input_blocks\.(\d+)\."))
    widths = [shapes[f"input_blocks.{number}.conv1.conv.weight"] for number in numbers]
    ends = [number for number in numbers if widths[number][0] != widths[number][-1]] or [len(numbers) - 1]
    return {
        "block_channels": tuple(widths[number][-1] for number in ends),
        "num_res_blocks": ends[0] + 1,
        **_flow_transformer(shapes),
    }


SLAT_FLOW = Layout("slat-flow", _slat_flow, lambda sizes: SlatFlow(parse(SlatFlowConfig, sizes)), SlatFlow)
SS_FLOW = Layout("ss-flow", _ss_flow, lambda sizes: SsFlow(parse(SsFlowConfig, sizes)), SsFlow)
SS_DECODER = Layout("ss-decoder", _ss_decoder, lambda sizes: SsDecoder(parse(SsVaeConfig, sizes)), SsDecoder)
