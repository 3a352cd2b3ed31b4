"""Pixel-aligned features: what an image encoder sees of a video at the pixels where its camera shows given points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gvf.config.variation_dit import WINDOW, aligned_channels
from gvf.geometry.camera import project
from gvf.models.encoders.image_encoder import ImageEncoder
from gvf.models.encoders.maps import Maps

_OUTSIDE = -1.0  # image coordinate of a point behind the camera
_NEIGHBOURHOOD = 0.03  # of the image's side, in which the surface may hide a point
_DEPTH_SCALE = 0.05  # object units behind the surface at which a point's visibility is 1/e
_POINTS_AT_ONCE = 64  # compared with windows or the whole surface, which bounds the memory


@dataclass(frozen=True)
class PointsInView:
    """Points [L, 3] on a surface, given by other points [N, 3], in the first frame of a camera's video; object units.

    viewmat: [4, 4], world-to-camera; K: [3, 3], normalised by image size.
    """

    points: Tensor
    surface: Tensor
    viewmat: np.ndarray
    K: np.ndarray

    def places(self) -> Tensor:
        """Return the image coordinates [L, 2] float64 of the points, on the CPU; those behind the camera are outside."""
        coordinates, depths = self._projected(self.points)
        return torch.from_numpy(np.where(depths[:, None] > 0.0, coordinates, _OUTSIDE))

    def described(self) -> Tensor:
        """Return visibility, depth and image coordinates of the points, [L, 4] float32, on the CPU.

        Visibility falls exponentially with the depth behind the nearest part of the surface around the point's pixel; depths and
        coordinates are those of the object's origin subtracted.
        """
        depths, places = torch.from_numpy(self._projected(self.points)[1]).float(), self.places().float()
        coordinates, surface_depths = (torch.from_numpy(part).float() for part in self._projected(self.surface))
        coordinates[surface_depths <= 0.0] = _OUTSIDE
        nearest = torch.cat(
            [
                torch.where(torch.cdist(part, coordinates) < _NEIGHBOURHOOD, surface_depths, torch.inf).amin(1)
                for part in places.split(_POINTS_AT_ONCE)
            ]
        )
        visibility = torch.exp((nearest - depths).clamp(max=0.0) / _DEPTH_SCALE)
        return torch.column_stack([visibility, depths - float(self.viewmat[2, 3]), places - 0.5])

    def _projected(self, points: Tensor) -> tuple[np.ndarray, np.ndarray]:
        return project(points.double().cpu().numpy(), self.viewmat, self.K)


def num_channels(encoder: ImageEncoder, features: Sequence[str]) -> int:
    """Return the number of channels of `aligned_features`."""
    return aligned_channels(features, encoder.voxel_dim, encoder.num_compared)


def aligned_features(
    encoder: ImageEncoder,
    frames: Tensor,
    seen: PointsInView,
    features: Sequence[str],
    batch_size: int,
    device: torch.device,
) -> Tensor:
    """Return the features [T, L, num_channels] float32, on the CPU, of points in every frame of a video.

    frames: [T, H, W, 4] uint8 RGBA. features: the parts of which they are made, of `variation_dit.aligned_features`.
    batch_size: frames encoded at once.
    """
    places = seen.places().to(device)
    described = seen.described().to(device) if "point" in features else None
    first: list[Tensor] | None = None
    parts = []
    for batch in frames.split(batch_size):
        maps = encoder.maps(batch.to(device))
        first = first or [sample_maps(one[:1], places[None], "border")[0].T for one in (maps.voxel, *maps.compared)]
        parts.append(_features_of_maps(maps, first, places, described, features).cpu())
    return torch.cat(parts)


def _features_of_maps(
    maps: Maps, first: Sequence[Tensor], places: Tensor, described: Tensor | None, features: Sequence[str]
) -> Tensor:
    """Return the features [B, L, num_channels] of points in some frames, from the encoder's maps of these.

    first: values [L, C] of each map in the video's first frame, the voxels' map first. places: [L, 2], image coordinates.
    described: [L, 4], of `PointsInView`; None without the part `point`. features: as in `aligned_features`.
    """
    count = len(maps.voxel)
    made: list[Tensor] = []
    if "values" in features or "differences" in features:
        values = sample_maps(maps.voxel, places.expand(count, -1, -1), "border").transpose(1, 2)
        made += [values] * ("values" in features)
        made += [values - first[0]] * ("differences" in features)
    if "correlations" in features:
        made += [correlations(one, value, places) for one, value in zip(maps.compared, first[1:])]
    if described is not None:
        made.append(described.expand(count, -1, -1))
    return torch.cat(made, dim=-1)


def correlations(maps: Tensor, first: Tensor, places: Tensor) -> Tensor:
    """Return how similar points in the first frame are to the places around their pixels in other frames.

    maps: [B, C, h, w], of the other frames; first: [L, C], values in the first frame; places: [L, 2], image coordinates.
    Returns [B, L, 2 (2 WINDOW + 1)^2]: the cosine similarity with each cell of a window, row by row, then minus the
    root mean square of the difference.
    """
    height, width = maps.shape[-2:]
    steps = torch.arange(-WINDOW, WINDOW + 1, device=maps.device)
    offsets = torch.cartesian_prod(steps, steps).flip(-1) / torch.tensor([width, height], device=maps.device)
    parts = []
    for center, place in zip(first.split(_POINTS_AT_ONCE), places.split(_POINTS_AT_ONCE)):
        around = (place[:, None] + offsets).flatten(0, 1).expand(len(maps), -1, -1)
        windows = sample_maps(maps, around, "border").unflatten(-1, (len(place), -1))
        value = center.T[..., None]
        similarity = F.cosine_similarity(windows, value, dim=1)
        parts.append(torch.cat([similarity, -(windows - value).square().mean(1).sqrt()], dim=-1))
    return torch.cat(parts, dim=1)


def sample_maps(maps: Tensor, coordinates: Tensor, padding: str = "zeros") -> Tensor:
    """Return the values [B, C, M] of maps [B, C, h, w] at image coordinates [B, M, 2], interpolated bilinearly.

    Coordinates are those of `gvf.geometry.camera`: in [0, 1] inside the image. padding: what is outside, `zeros` or the
    nearest pixel of the `border`.
    """
    grid = (2.0 * coordinates - 1.0).float()[:, None]
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode=padding, align_corners=False)[:, :, 0]
