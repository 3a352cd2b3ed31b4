"""What the flows are given of images: tokens, and features where a nominal camera shows a cell or a voxel.

The latter, the pixel-aligned condition, goes beyond the paper. It needs objects that are turned to their image's camera
(orientation `view`). The camera itself is not known in use: a nominal one stands at azimuth 0 and elevation 0. Images are
square crops around the object (`CROP_ROOM`), which tells where an object of known voxels lies in its image, and its scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gvf.config.slat_flow import SlatFlowConfig
from gvf.config.ss_flow import SsFlowConfig
from gvf.models.encoders.aligned_features import sample_maps
from gvf.models.image_to_3d.flow_transformer import ImageCondition
from gvf.models.layers.voxel_batch import VoxelBatch

CROP_ROOM = 1.2  # side of an image, in longer sides of the object's mask (TRELLIS)
NOMINAL_RADIUS = 2.0  # object units, of the nominal camera
_DEPTH_SCALE = 0.05  # object units behind the front voxel at which a voxel's visibility is 1/e


@dataclass(frozen=True)
class ImageFeatures:
    """An image encoder's features of the crops of B images.

    tokens: [B, K, D], as the encoder gives them. maps: [B, C, h, w], which cover the crop; None where no network is given
    pixel-aligned features.
    """

    tokens: Tensor
    maps: Tensor | None = None

    def to(self, device: torch.device) -> ImageFeatures:
        """Return the features as float32 on a device."""
        return ImageFeatures(
            self.tokens.float().to(device), None if self.maps is None else self.maps.float().to(device)
        )

    def at_cells(self, config: SsFlowConfig) -> ImageCondition:
        """Return what the structure flow is given, with features at the cells of its grid, z fastest."""
        aligned = features_at_cells(self._maps(), config.resolution) if config.sees_aligned else None
        return ImageCondition(self._tokens() if config.sees_tokens else None, aligned)

    def at_voxels(self, config: SlatFlowConfig, voxels: VoxelBatch, resolution: int) -> ImageCondition:
        """Return what the structured latent flow is given, with features at B objects' active voxels of a grid."""
        aligned = features_at_voxels(self._maps(), voxels, resolution) if config.sees_aligned else None
        return ImageCondition(self._tokens() if config.sees_tokens else None, aligned)

    def _tokens(self) -> Tensor:
        """Return the tokens, each scaled to mean 0 and deviation 1 as TRELLIS does."""
        return F.layer_norm(self.tokens, self.tokens.shape[-1:])

    def _maps(self) -> Tensor:
        if self.maps is None:
            raise ValueError("a network is given pixel-aligned features, for which there are no maps")
        return self.maps


def features_at_cells(maps: Tensor, resolution: int) -> Tensor:
    """Return image features at the cells of a dense grid, z fastest: [B * resolution^3, C].

    maps: [B, C, h, w], of the images. The object's longest visible side is taken to be that of the unit box, which is all that
    is known before there are voxels.
    """
    axis = (torch.arange(resolution, device=maps.device) + 0.5) / resolution - 0.5
    places = 0.5 + _nominal(torch.cartesian_prod(axis, axis, axis)) / CROP_ROOM
    return sample_maps(maps, places.expand(len(maps), -1, -1), "border").transpose(1, 2).flatten(0, 1)


def features_at_voxels(maps: Tensor, voxels: VoxelBatch, resolution: int) -> Tensor:
    """Return image features at the active voxels of B objects: [M, C + POINT_CHANNELS].

    maps: [B, C, h, w], of the images. The box around an object's projected voxels is laid onto its mask's. Besides the maps'
    values a voxel gets its visibility, its depth behind the front voxel of its column, and its depth.
    """
    parts = []
    for own, coords in zip(maps, voxels.coords.split(voxels.counts), strict=True):
        points = (coords.float() + 0.5) / resolution - 0.5
        values = sample_maps(own[None], places_in_crop(points, 1.0 / resolution)[None], "border")[0].T
        behind = depth_behind_front(coords, resolution)
        point = torch.stack([torch.exp(-behind / _DEPTH_SCALE), behind, points[:, 1]], dim=1)
        parts.append(torch.cat([values, point], dim=1))
    return torch.cat(parts)


def places_in_crop(points: Tensor, side: float) -> Tensor:
    """Return image coordinates [M, 2] of points [M, 3] of an object in a crop around it.

    side: of a voxel around each point, object units. Coordinates as in `gvf.geometry.camera`, in [0, 1] inside the image.
    """
    places = _nominal(points)
    low, high = places.amin(0), places.amax(0)
    return 0.5 + (places - (low + high) / 2.0) / ((high - low).max() + side) / CROP_ROOM


def depth_behind_front(coords: Tensor, resolution: int) -> Tensor:
    """Return how far each voxel [M, 3] lies behind the front voxel of its column along y, [M], object units."""
    columns = coords[:, 0].long() * resolution + coords[:, 2].long()
    depths = coords[:, 1].float() / resolution
    front = depths.new_full((resolution**2,), torch.inf).scatter_reduce(0, columns, depths, "amin")
    return depths - front[columns]


def _nominal(points: Tensor) -> Tensor:
    """Return where the nominal camera shows points [M, 3], minus the origin's place, in object units at the origin: [M, 2]."""
    scale = NOMINAL_RADIUS / (NOMINAL_RADIUS + points[:, 1])
    return torch.stack([points[:, 0] * scale, -points[:, 2] * scale], dim=1)
