"""Section `variation_dit`: the variation field diffusion transformer (Sec. 3.2)."""

from __future__ import annotations

from pydantic import PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT
from gvf.config.transformer import Width, demand_whole_heads


@dataclass(frozen=True, config=STRICT)
class VariationDitConfig:
    """Sizes of the diffusion transformer."""

    width: Width
    """Channels of the transformer (Table 4)."""
    num_layers: PositiveInt
    """Layers of the transformer."""
    num_heads: PositiveInt
    """Attention heads."""
    feed_forward_ratio: PositiveInt
    """Hidden channels of the feed-forward layers, as a multiple of `width`."""
    image_channels: PositiveInt
    """Channels of the video features."""
    num_static: PositiveInt
    """Canonical Gaussians used as a condition, chosen by farthest point sampling."""
    position_embedding: bool
    """Whether the latents have the positional prior of Table 3."""
    position_scale: PositiveFloat
    """Factor on positions before their sine embedding; 1 in the published weights."""

    @model_validator(mode="after")
    def _has_whole_heads(self) -> VariationDitConfig:
        demand_whole_heads(self.width, self.num_heads)
        return self
