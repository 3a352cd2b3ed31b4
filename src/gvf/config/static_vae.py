"""Section `static_vae`: the canonical mesh-to-Gaussians autoencoder, E_GS and D_GS (Eq. 2, A.1.1)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT
from gvf.config.transformer import Width, demand_whole_heads


@dataclass(frozen=True, config=STRICT)
class StaticVaeConfig:
    """Sizes of the canonical autoencoder."""

    resolution: Annotated[int, Field(ge=2)]
    """Voxels along an edge of the unit box."""
    feature_channels: PositiveInt
    """Channels of a voxel's image features."""
    width: Width
    """Channels of both transformers (Table 4)."""
    num_layers: PositiveInt
    """Layers of each transformer."""
    num_heads: PositiveInt
    """Attention heads."""
    feed_forward_ratio: PositiveInt
    """Hidden channels of the feed-forward layers, as a multiple of `width`."""
    window: Annotated[int, Field(ge=2)]
    """Voxels along the edge of an attention window."""
    latent_channels: PositiveInt
    """Channels of a voxel's structured latent."""
    gaussians_per_voxel: Annotated[int, Field(ge=1, le=64)]
    """Gaussians decoded from each voxel."""
    offset_range: Annotated[float, Field(gt=1.0)]
    """How far from its voxel's centre a Gaussian may lie, in units of half a voxel."""
    rotation_rate: PositiveFloat
    """Factor on decoded quaternions."""
    scale_bias: PositiveFloat
    """Scale of a Gaussian where the network's output is 0, in object units."""
    opacity_bias: Annotated[float, Field(ge=0.001, le=0.999)]
    """Opacity of a Gaussian where the network's output is 0."""
    filter_3d: NonNegativeFloat
    """Mip-Splatting's 3D filter, in object units."""

    @model_validator(mode="after")
    def _has_whole_heads(self) -> StaticVaeConfig:
        demand_whole_heads(self.width, self.num_heads)
        return self
