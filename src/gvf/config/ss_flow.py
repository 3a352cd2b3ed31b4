"""Sizes of the sparse structure flow: image tokens to the latent of an occupancy grid (TRELLIS)."""

from __future__ import annotations

from pydantic import PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT
from gvf.config.transformer import Width, demand_whole_heads


@dataclass(frozen=True, config=STRICT)
class SsFlowConfig:
    """Sizes of the sparse structure flow."""

    resolution: PositiveInt
    """Cells along an edge of the latent grid."""
    latent_channels: PositiveInt
    """Channels of a cell."""
    width: Width
    """Channels of the transformer."""
    num_layers: PositiveInt
    """Layers of the transformer."""
    num_heads: PositiveInt
    """Attention heads."""
    feed_forward_ratio: PositiveInt
    """Hidden channels of the feed-forward layers, as a multiple of `width`."""
    image_channels: PositiveInt
    """Channels of an image token."""

    @model_validator(mode="after")
    def _has_whole_heads(self) -> SsFlowConfig:
        demand_whole_heads(self.width, self.num_heads)
        return self
