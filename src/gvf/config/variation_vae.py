"""Section `variation_vae`: the 4DMesh-to-GS variation field autoencoder (Sec. 3.1)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT, OneOf, clash
from gvf.config.transformer import Width, demand_whole_heads

ATTRIBUTES = ("means", "scales", "quats", "colors", "opacities")
Attribute = Annotated[str, OneOf(ATTRIBUTES)]


@dataclass(frozen=True, config=STRICT)
class VariationVaeConfig:
    """Sizes of the variation field autoencoder."""

    width: Width
    """Channels of the transformer (Table 4)."""
    num_layers: NonNegativeInt
    """Layers of the transformer."""
    num_heads: PositiveInt
    """Attention heads."""
    feed_forward_ratio: PositiveInt
    """Hidden channels of the feed-forward layers, as a multiple of `width`."""
    num_latents: PositiveInt
    """Latents per frame (L)."""
    latent_channels: PositiveInt
    """Channels of a latent (C)."""
    drop_path: Annotated[float, Field(ge=0.0, le=0.99)]
    """Stochastic depth of the decoder's layers."""
    query: Literal["motion", "position"]
    """What the encoder uses as queries (Table 2): `motion` (interpolated displacements) or `position`."""
    attributes: tuple[Attribute, ...]
    """Which attributes of the Gaussians vary (Table 2), `means` among them."""
    num_neighbors: PositiveInt
    """K of Eq. 3 (Table 6)."""
    beta: PositiveFloat
    """Beta of Eq. 3 (Table 6)."""
    interpolation: Literal["paper", "release"]
    """Eq. 3 as in the `paper`, or as in the `release`, which drops neighbours beyond the radius."""
    position_scale: PositiveFloat
    """Factor on positions before their sine embedding; 1 in the published weights."""

    @model_validator(mode="after")
    def _is_consistent(self) -> VariationVaeConfig:
        demand_whole_heads(self.width, self.num_heads)
        if "means" not in self.attributes:
            raise clash("attributes", "must contain means: without it nothing moves.")
        return self
