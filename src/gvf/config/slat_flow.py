"""Sizes of the structured latent flow: an image to the latents of active voxels (TRELLIS)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT
from gvf.config.flow_transformer import FlowTransformerConfig

POINT_CHANNELS = 3  # of the pixel-aligned features at a voxel: visibility, depth behind the front voxel, depth


@dataclass(frozen=True, config=STRICT)
class SlatFlowConfig(FlowTransformerConfig):
    """Sizes of the structured latent flow."""

    block_channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Channels of the residual levels around the transformer, fine to coarse; after each the resolution halves."""
    num_res_blocks: PositiveInt
    """Residual blocks per level, on the way in and on the way out."""
