"""Section `variation_dit`: the variation field diffusion transformer (Sec. 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, positive
from gvf.errors import ConfigError


@dataclass(frozen=True)
class VariationDitConfig:
    """width, num_layers, num_heads, feed_forward_ratio: the transformer (Table 4).

    image_channels: channels of the video features. num_static: canonical Gaussians that condition it, farthest sampled.
    position_embedding: the positional prior on the latents (Table 3). position_scale: factor on the positions before
    their sine embedding; 1 in the published weights.
    """

    width: int
    num_layers: int
    num_heads: int
    feed_forward_ratio: int
    image_channels: int
    num_static: int
    position_embedding: bool
    position_scale: float

    def __post_init__(self) -> None:
        at_least("variation_dit.width", self.width, 6)
        at_least("variation_dit.num_heads", self.num_heads, 1)
        if self.width % self.num_heads:
            raise ConfigError("variation_dit.num_heads", f"is {self.num_heads}, must divide width {self.width}.")
        at_least("variation_dit.num_layers", self.num_layers, 1)
        at_least("variation_dit.feed_forward_ratio", self.feed_forward_ratio, 1)
        at_least("variation_dit.image_channels", self.image_channels, 1)
        at_least("variation_dit.num_static", self.num_static, 1)
        positive("variation_dit.position_scale", self.position_scale)
