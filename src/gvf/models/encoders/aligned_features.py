"""Pixel-aligned features: what an image encoder sees of a video at the pixels where its camera shows given points."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gvf.geometry.camera import project
from gvf.models.encoders.image_encoder import ImageEncoder

_OUTSIDE = -1.0  # image coordinate of a point behind the camera


def aligned_channels(encoder: ImageEncoder) -> int:
    """Return the number of channels of `aligned_features`."""
    return 2 * encoder.voxel_dim


def aligned_features(
    encoder: ImageEncoder,
    frames: Tensor,
    points: Tensor,
    viewmat: np.ndarray,
    K: np.ndarray,
    batch_size: int,
    device: torch.device,
) -> Tensor:
    """Return the features [T, L, aligned_channels] float32, on the CPU, of points in every frame of a video.

    frames: [T, H, W, 4] uint8 RGBA, seen by one camera; points: [L, 3], object units, of the first frame; viewmat: [4, 4],
    world-to-camera; K: [3, 3], normalised by image size; batch_size: frames encoded at once. Features are the encoder's
    `voxel_maps` where the camera shows the point, 0 outside the image, and their difference from those in the first frame.
    """
    coordinates, depths = project(points.double().cpu().numpy(), viewmat, K)
    coordinates[~(depths > 0.0)] = _OUTSIDE
    places = torch.from_numpy(coordinates).to(device)
    parts = []
    for batch in frames.split(batch_size):
        maps = encoder.voxel_maps(batch.to(device))
        parts.append(sample_maps(maps, places.expand(len(maps), -1, -1)).transpose(1, 2).cpu())
    values = torch.cat(parts)
    return torch.cat([values, values - values[:1]], dim=-1)


def sample_maps(maps: Tensor, coordinates: Tensor) -> Tensor:
    """Return the values [B, C, M] of maps [B, C, h, w] at image coordinates [B, M, 2], interpolated bilinearly.

    Coordinates are those of `gvf.geometry.camera`: in [0, 1] inside the image; outside the maps are zero.
    """
    grid = (2.0 * coordinates - 1.0).float()[:, None]
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[:, :, 0]
