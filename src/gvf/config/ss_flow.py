"""Sizes of the sparse structure flow: image tokens to the latent of an occupancy grid (TRELLIS)."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least
from gvf.errors import ConfigError


@dataclass(frozen=True)
class SsFlowConfig:
    """resolution: cells along an edge of the latent grid. latent_channels: of a cell.

    width, num_layers, num_heads, feed_forward_ratio: the transformer. image_channels: of an image token.
    """

    resolution: int
    latent_channels: int
    width: int
    num_layers: int
    num_heads: int
    feed_forward_ratio: int
    image_channels: int

    def __post_init__(self) -> None:
        for name in ("latent_channels", "num_layers", "num_heads", "feed_forward_ratio", "image_channels"):
            at_least(f"ss_flow.{name}", getattr(self, name), 1)
        at_least("ss_flow.resolution", self.resolution, 1)
        at_least("ss_flow.width", self.width, 6)
        if self.width % self.num_heads:
            raise ConfigError("ss_flow.num_heads", f"is {self.num_heads}, must divide width {self.width}.")
