"""Image encoders: per-pixel features for voxels (Eq. 2) and tokens of video frames for the diffusion transformer.

Both take images as they are stored, uint8 RGBA with straight alpha, and composite them over black, the background of
conditioning frames in both training and generation.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gvf.config.featurize import FeaturizeConfig
from gvf.errors import UserError
from gvf.models.encoders.dinov2 import DinoV2Encoder
from gvf.models.encoders.efficientnet_lite import load_efficientnet_lite0, pyramid_channels
from gvf.models.encoders.maps import Maps


class ImageEncoder(Protocol):
    """Interface of an image encoder for stages and pipelines."""

    @property
    def voxel_dim(self) -> int:
        """Return the number of channels of `voxel_maps`."""

    @property
    def token_dim(self) -> int:
        """Return the number of channels of a token."""

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens per frame."""

    @property
    def num_compared(self) -> int:
        """Return the number of maps by which places in different frames are compared."""

    def voxel_maps(self, images: Tensor) -> Tensor:
        """Return feature maps [B, voxel_dim, h, w] float32 that cover all of the images [B, H, W, 4] uint8."""

    def maps(self, images: Tensor) -> Maps:
        """Return all maps, float32, of images [B, H, W, 4] uint8."""

    def tokens(self, images: Tensor) -> Tensor:
        """Return tokens [B, num_tokens, token_dim] float32 of video frames [B, H, W, 4] uint8."""

    def object_tokens(self, images: Tensor) -> Tensor:
        """Return tokens [B, K, token_dim] float32 of images [B, H, W, 4] uint8 that an object fills: crops around it."""


class EfficientNetEncoder(nn.Module):
    """EfficientNet-Lite0 features, every channel standardised by its batch norm's own statistics, for small presets.

    Voxel maps are the colours and the alpha at half size, so that appearance can be read off them, and strides 4, 8 and
    16 brought to that grid. (Linear regressions on voxels of unseen characters: stride 2 adds nothing; without 16 the
    mean normal has 51% of its variance unexplained instead of 45%.)

    Tokens cover the central three quarters of a frame, which the unit box never leaves by more than its corners when
    seen from radius 2 at 49.1 degrees. A token holds stride 16 averaged over its cell, strides 4 and 8 over its four
    quarters (linear regression of point positions in unseen clips of a character: as good with 6 x 6 cells as plain
    averages with 8 x 8), and where the cell is: unlike a ViT's, these features do not know their place, and attention
    over tokens has no order.
    """

    VOXEL_STRIDES, COMPARED_STRIDES = (4, 8, 16), (2, 4, 8)
    QUARTERED_STRIDES, WHOLE_STRIDE = (4, 8), 16
    POSITION_OCTAVES = 4

    def __init__(self, token_grid: int) -> None:
        super().__init__()
        self.network = load_efficientnet_lite0()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._grid = token_grid

    @property
    def voxel_dim(self) -> int:
        return 4 + sum(pyramid_channels(stride) for stride in self.VOXEL_STRIDES)

    @property
    def token_dim(self) -> int:
        quartered = sum(4 * pyramid_channels(stride) for stride in self.QUARTERED_STRIDES)
        return quartered + pyramid_channels(self.WHOLE_STRIDE) + 4 * self.POSITION_OCTAVES

    @property
    def num_tokens(self) -> int:
        return self._grid**2

    @property
    def num_compared(self) -> int:
        return len(self.COMPARED_STRIDES)

    def voxel_maps(self, images: Tensor) -> Tensor:
        """Return feature maps [B, voxel_dim, H/2, W/2]. Raises UserError unless H and W are multiples of 16."""
        return self.maps(images).voxel

    @torch.inference_mode()
    def maps(self, images: Tensor) -> Maps:
        """Return the voxel maps, and strides 2, 4 and 8 to compare. Raises UserError unless H and W are multiples of 16."""
        pixels, alpha = _network_input(images)
        maps = self.network.pyramid(pixels, max(self.VOXEL_STRIDES))
        colors = F.avg_pool2d(torch.cat([pixels, alpha], dim=1), 2)
        size = colors.shape[-2:]
        scaled = [F.interpolate(maps[s], size, mode="bilinear", align_corners=False) for s in self.VOXEL_STRIDES]
        return Maps(torch.cat([colors, *scaled], dim=1), tuple(maps[stride] for stride in self.COMPARED_STRIDES))

    def tokens(self, images: Tensor) -> Tensor:
        """Return tokens [B, token_grid^2, token_dim], row by row. Raises UserError unless H and W are multiples of 16."""
        return self._tokens(_central(images), self._grid)

    def object_tokens(self, images: Tensor) -> Tensor:
        """Return tokens [B, (H/16)^2, token_dim] of square images, row by row. Raises UserError as `tokens` does."""
        return self._tokens(images, images.shape[1] // self.WHOLE_STRIDE)

    @torch.inference_mode()
    def _tokens(self, images: Tensor, grid: int) -> Tensor:
        """Return tokens [B, grid^2, token_dim] of all of the images, row by row."""
        pixels, _ = _network_input(images)
        maps = self.network.pyramid(pixels, self.WHOLE_STRIDE)
        parts = [_quarters(maps[stride], grid) for stride in self.QUARTERED_STRIDES]
        parts.append(F.adaptive_avg_pool2d(maps[self.WHOLE_STRIDE], grid))
        position = _position_code(grid, self.POSITION_OCTAVES).to(pixels.device)
        parts.append(position.expand(len(images), -1, -1, -1))
        return torch.cat(parts, dim=1).flatten(2).transpose(1, 2).contiguous()


def build_image_encoder(config: FeaturizeConfig, device: torch.device) -> ImageEncoder:
    """Return the encoder that the section names, on `device`. Raises UserError when its weights are missing."""
    if config.encoder == "dinov2":
        return DinoV2Encoder(config.weights).to(device)
    assert config.token_grid is not None
    return EfficientNetEncoder(config.token_grid).to(device)


def _network_input(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return pixels [B, 3, H, W] over black, scaled as in training, and alpha [B, 1, H, W] in [0, 1]."""
    height, width = images.shape[1:3]
    if height % 16 or width % 16:
        raise UserError(
            f"EfficientNet features need image sides that are multiples of 16 pixels, found {width} x {height}."
        )
    channels = images.permute(0, 3, 1, 2).float()
    alpha = channels[:, 3:] / 255.0
    pixels = (channels[:, :3] * alpha - 127.0) / 128.0
    return pixels.contiguous(memory_format=torch.channels_last), alpha


def _central(images: Tensor) -> Tensor:
    """Return the central three quarters of images [B, H, W, 4], each side rounded up to a multiple of 16."""
    height, width = (-(-side * 3 // 64) * 16 for side in images.shape[1:3])
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return images[:, top : top + height, left : left + width]


def _quarters(maps: Tensor, grid: int) -> Tensor:
    """Return averages [B, 4 C, grid, grid] of maps [B, C, h, w] over the four quarters of each cell of a grid."""
    return F.pixel_unshuffle(F.adaptive_avg_pool2d(maps, 2 * grid), 2)


def _position_code(grid: int, octaves: int) -> Tensor:
    """Return sines and cosines [4 octaves, grid, grid] of the cells' centres; the lowest is half a turn over the grid."""
    centers = (torch.arange(grid) + 0.5) / grid
    angles = torch.pi * centers * 2.0 ** torch.arange(octaves)[:, None]
    waves = torch.cat([angles.sin(), angles.cos()])
    return torch.cat([waves[:, None, :].expand(-1, grid, -1), waves[:, :, None].expand(-1, -1, grid)])
