"""Sizes of the structured latent flow: image tokens to the latents of active voxels (TRELLIS)."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least
from gvf.errors import ConfigError


@dataclass(frozen=True)
class SlatFlowConfig:
    """latent_channels: of a voxel.

    block_channels: of the residual levels around the transformer, fine to coarse; after each the resolution halves.
    num_res_blocks: residual blocks of a level, on the way in and on the way out. width, num_layers, num_heads,
    feed_forward_ratio: the transformer. image_channels: of an image token.
    """

    latent_channels: int
    block_channels: tuple[int, ...]
    num_res_blocks: int
    width: int
    num_layers: int
    num_heads: int
    feed_forward_ratio: int
    image_channels: int

    def __post_init__(self) -> None:
        names = ("latent_channels", "num_res_blocks", "num_layers", "num_heads", "feed_forward_ratio", "image_channels")
        for name in names:
            at_least(f"slat_flow.{name}", getattr(self, name), 1)
        if not self.block_channels:
            raise ConfigError("slat_flow.block_channels", "is empty, needs one number a level.")
        for channels in self.block_channels:
            at_least("slat_flow.block_channels", channels, 1)
        at_least("slat_flow.width", self.width, 6)
        if self.width % self.num_heads:
            raise ConfigError("slat_flow.num_heads", f"is {self.num_heads}, must divide width {self.width}.")
