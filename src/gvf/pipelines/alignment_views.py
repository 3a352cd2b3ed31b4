"""Cameras of the alignment as a batch, and images of Gaussians seen by them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import Array, orbit
from gvf.rendering.convention import COMPENSATE, LOW_PASS
from gvf.rendering.rasterize import rasterize

PARAMETERS = ("azimuth", "elevation", "log_radius", "log_scale", "x", "y")
_SAMPLES = 2  # along each side of a pixel
_AT_ONCE = 2_000_000  # Gaussians, or pixels, of the cameras drawn in one call, which bounds the memory


@dataclass(frozen=True)
class Poses:
    """Cameras that look at the origin. values: [..., 6], `PARAMETERS`.

    azimuth, elevation: degrees. radius: distance, object units. scale: length of one object unit at the origin, in shares of the
    image. x, y: where the origin appears, minus the image's centre, in shares of the image.
    """

    values: Array

    @property
    def viewmats(self) -> Array:
        """Return the world-to-camera matrices [..., 4, 4]."""
        azimuth, elevation, log_radius = np.moveaxis(self.values[..., :3], -1, 0)
        return orbit(azimuth, elevation, np.exp(log_radius))

    @property
    def Ks(self) -> Array:
        """Return the normalised intrinsics [..., 3, 3]."""
        focal = np.exp(self.values[..., 2] + self.values[..., 3])
        matrices = np.zeros((*focal.shape, 3, 3))
        matrices[..., 0, 0] = matrices[..., 1, 1] = focal
        matrices[..., :2, 2] = 0.5 + self.values[..., 4:6]
        matrices[..., 2, 2] = 1.0
        return matrices


@torch.no_grad()
def draw(gaussians: Gaussians, poses: Poses, size: int) -> Tensor:
    """Return images [..., size, size, 4] of Gaussians [N], premultiplied RGB and alpha, one for each of `poses`.

    They are drawn larger and averaged: overlapping Gaussians cover more than their share of a pixel at the silhouette, which
    would make small images of an object look larger than its photographs.
    """
    lead = poses.values.shape[:-1]
    device = gaussians.means.device
    viewmats = torch.from_numpy(poses.viewmats.reshape(-1, 4, 4)).float().to(device)
    Ks = torch.from_numpy(poses.Ks.reshape(-1, 3, 3)).float().to(device)
    fields = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.rgb.clamp(max=1.0))
    drawn = _SAMPLES * size
    step = max(1, _AT_ONCE // max(gaussians.num_gaussians, drawn**2))
    parts = []
    for first in range(0, len(viewmats), step):
        chosen = slice(first, first + step)
        views = rasterize(*fields, viewmats[chosen], Ks[chosen], drawn, drawn, low_pass=LOW_PASS, compensate=COMPENSATE)
        planes = torch.cat([views.rgb, views.alpha[..., None]], dim=-1).movedim(-1, 1)
        parts.append(F.avg_pool2d(planes, _SAMPLES).movedim(1, -1))
    return torch.cat(parts).view(*lead, size, size, 4)


def thinned(gaussians: Gaussians, count: int) -> Gaussians:
    """Return at most `count` of the Gaussians [N], always the same ones, grown so that they cover about the same surface."""
    total = gaussians.num_gaussians
    if total <= count:
        return gaussians
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(0))[:count].to(gaussians.means.device)
    part = gaussians[chosen]
    grown = part.scales * (total / count) ** 0.5
    return Gaussians.from_rendered(part.means, part.colors, grown, part.quats, part.opacities, part.activation)
