"""Sparse structure decoder: latent grid to occupancy, 16^3 to 64^3 as published (TRELLIS; names as in its weights)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from gvf.config.ss_vae import SsVaeConfig
from gvf.models.image_to_3d.grid_blocks import GridResidualBlock, GridUpsampling, convolution
from gvf.models.layers.norm import ChannelLayerNorm
from gvf.models.layers.precision import BlockNetwork
from gvf.models.network_folder import StoredNetwork


class SsDecoder(StoredNetwork, BlockNetwork):
    """Residual convolution network; a cell is occupied where its logit is above 0."""

    KIND = "ss-decoder"
    CONFIG = SsVaeConfig

    BLOCKS: ClassVar[tuple[str, ...]] = ("middle_block", "blocks")

    def __init__(self, config: SsVaeConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.input_layer = convolution(config.latent_channels, channels[0])
        self.middle_block = nn.Sequential(*(GridResidualBlock(channels[0]) for _ in range(config.num_middle_blocks)))
        blocks: list[nn.Module] = []
        for level, width in enumerate(channels):
            if level:
                blocks.append(GridUpsampling(channels[level - 1], width))
            blocks.extend(GridResidualBlock(width) for _ in range(config.num_res_blocks))
        self.blocks = nn.ModuleList(blocks)
        self.out_layer = nn.Sequential(ChannelLayerNorm(channels[-1]), nn.SiLU(), convolution(channels[-1], 1))

    def forward(self, latents: Tensor) -> Tensor:
        """Return logits [B, S, S, S], S = R times 2 per level after the first, float32. latents: [B, C, R, R, R]."""
        h = self.middle_block(self.enter_blocks(self.input_layer(latents)))
        for block in self.blocks:
            h = block(h)
        return self.out_layer(h.float()).float().squeeze(1)

    @torch.no_grad()
    def occupied(self, latents: Tensor) -> list[Tensor]:
        """Return indices [M, 3] of the occupied cells of each item of latents [B, C, R, R, R], sorted by x, y, z."""
        return [logits.nonzero() for logits in self(latents) > 0]
