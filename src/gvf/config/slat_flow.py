"""Sizes of the structured latent flow: image tokens to the latents of active voxels (TRELLIS)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT
from gvf.config.transformer import Width, demand_whole_heads


@dataclass(frozen=True, config=STRICT)
class SlatFlowConfig:
    """Sizes of the structured latent flow."""

    latent_channels: PositiveInt
    """Channels of a voxel's latent."""
    block_channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Channels of the residual levels around the transformer, fine to coarse; after each the resolution halves."""
    num_res_blocks: PositiveInt
    """Residual blocks per level, on the way in and on the way out."""
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
    def _has_whole_heads(self) -> SlatFlowConfig:
        demand_whole_heads(self.width, self.num_heads)
        return self
