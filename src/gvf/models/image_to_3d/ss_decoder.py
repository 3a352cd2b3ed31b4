"""Sparse structure decoder: latent grid to occupancy, 16^3 to 64^3 as published (TRELLIS; names as in its weights)."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gvf.config.ss_decoder import SsDecoderConfig
from gvf.models.layers.norm import ChannelLayerNorm
from gvf.models.layers.precision import BlockNetwork
from gvf.models.network_folder import StoredNetwork


def _convolution(in_channels: int, out_channels: int) -> nn.Conv3d:
    return nn.Conv3d(in_channels, out_channels, kernel_size=3, padding=1)


class GridResidualBlock(nn.Module):
    """Norm, SiLU and convolution, twice, with a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelLayerNorm(channels)
        self.norm2 = ChannelLayerNorm(channels)
        self.conv1 = _convolution(channels, channels)
        self.conv2 = _convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output in the shape of the input. x: [B, C, X, Y, Z]."""
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class GridUpsampling(nn.Module):
    """Convolution to eight values per channel, which become the 2 x 2 x 2 finer cells of each cell."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = _convolution(in_channels, 8 * out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the grid at twice the resolution, [B, out, 2X, 2Y, 2Z]. x: [B, C, X, Y, Z]."""
        return shuffle_cells(self.conv(x))


def shuffle_cells(x: Tensor) -> Tensor:
    """Rearrange [B, 8 C, X, Y, Z], channels ordered c, dx, dy, dz, to [B, C, 2X, 2Y, 2Z]."""
    parts = x.unflatten(1, (-1, 2, 2, 2)).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return parts.flatten(6, 7).flatten(4, 5).flatten(2, 3)


class SsDecoder(StoredNetwork, BlockNetwork):
    """Residual convolution network; a cell is occupied where its logit is above 0."""

    KIND = "ss-decoder"
    CONFIG = SsDecoderConfig

    BLOCKS: ClassVar[tuple[str, ...]] = ("middle_block", "blocks")

    def __init__(self, config: SsDecoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.input_layer = _convolution(config.latent_channels, channels[0])
        self.middle_block = nn.Sequential(*(GridResidualBlock(channels[0]) for _ in range(config.num_middle_blocks)))
        blocks: list[nn.Module] = []
        for level, width in enumerate(channels):
            if level:
                blocks.append(GridUpsampling(channels[level - 1], width))
            blocks.extend(GridResidualBlock(width) for _ in range(config.num_res_blocks))
        self.blocks = nn.ModuleList(blocks)
        self.out_layer = nn.Sequential(ChannelLayerNorm(channels[-1]), nn.SiLU(), _convolution(channels[-1], 1))

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
