"""Small networks of every kind of published weights, and files of them as the published ones are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gvf.weights.published import build_published, published_state

SPARSE = {"width": 24, "num_layers": 2, "num_heads": 2, "feed_forward_ratio": 2, "latent_channels": 4}
FLOW = {
    "width": 24,
    "num_layers": 2,
    "num_heads": 3,
    "feed_forward_ratio": 2,
    "latent_channels": 4,
    "image_channels": 10,
}
SIZES: dict[str, dict[str, Any]] = {
    "variation-vae": {"width": 24, "num_layers": 2, "num_heads": 2, "feed_forward_ratio": 2, "latent_channels": 5},
    "dit": FLOW,
    "static-vae": {**SPARSE, "feature_channels": 10, "gaussians_per_voxel": 3},
    "slat-encoder": {**SPARSE, "feature_channels": 10},
    "slat-gs-decoder": {**SPARSE, "gaussians_per_voxel": 3},
    "ss-flow": {**FLOW, "resolution": 3},
    "ss-decoder": {"latent_channels": 3, "channels": (8, 4), "num_res_blocks": 1, "num_middle_blocks": 2},
    "slat-flow": {**FLOW, "block_channels": (6,), "num_res_blocks": 2},
}
# What tensors do not tell of these networks; the published numbers of heads would not divide their widths, or mean others.
UNTOLD = {kind: {"num_heads": 2} for kind in ("variation-vae", "static-vae", "slat-encoder", "slat-gs-decoder")}


def small_network(kind: str, **sizes: Any) -> nn.Module:
    """Return a network with random weights, blocks in float16 where the published ones are. sizes: to differ from SIZES."""
    torch.manual_seed(0)
    network = build_published(kind, **SIZES[kind] | sizes)
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def small_state(kind: str) -> dict[str, Tensor]:
    """Its tensors under the published names."""
    return published_state(small_network(kind), kind)
