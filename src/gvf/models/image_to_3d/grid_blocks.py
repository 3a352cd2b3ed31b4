"""Blocks of the sparse structure VAE, convolutions over dense grids (TRELLIS; names as in its weights)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from gvf.models.layers.norm import ChannelLayerNorm


def convolution(in_channels: int, out_channels: int) -> nn.Conv3d:
    """Return a convolution of 3^3 cells that keeps the resolution."""
    return nn.Conv3d(in_channels, out_channels, kernel_size=3, padding=1)


class GridResidualBlock(nn.Module):
    """Norm, SiLU and convolution, twice, with a residual connection; it starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelLayerNorm(channels)
        self.norm2 = ChannelLayerNorm(channels)
        self.conv1 = convolution(channels, channels)
        self.conv2 = convolution(channels, channels)
        for parameter in self.conv2.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output in the shape of the input. x: [B, C, X, Y, Z]."""
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class GridDownsampling(nn.Module):
    """Convolution of the 2 x 2 x 2 cells that become one."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, kernel_size=2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the grid at half the resolution, [B, out, X/2, Y/2, Z/2]. x: [B, C, X, Y, Z]."""
        return self.conv(x)


class GridUpsampling(nn.Module):
    """Convolution to eight values per channel, which become the 2 x 2 x 2 finer cells of each cell."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = convolution(in_channels, 8 * out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the grid at twice the resolution, [B, out, 2X, 2Y, 2Z]. x: [B, C, X, Y, Z]."""
        return shuffle_cells(self.conv(x))


def shuffle_cells(x: Tensor) -> Tensor:
    """Rearrange [B, 8 C, X, Y, Z], channels ordered c, dx, dy, dz, to [B, C, 2X, 2Y, 2Z]."""
    parts = x.unflatten(1, (-1, 2, 2, 2)).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return parts.flatten(6, 7).flatten(4, 5).flatten(2, 3)
