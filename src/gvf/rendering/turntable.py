"""A camera once around moving Gaussians: the quickest look at a result from all sides."""

from __future__ import annotations

import numpy as np
import torch

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import intrinsics, orbit
from gvf.rendering.splats import draw_gaussians

ELEVATION, RADIUS, FOV = 15.0, 2.0, 49.1  # degrees, object units, degrees


@torch.no_grad()
def turntable(gaussians: Gaussians, size: int, num_pictures: int) -> np.ndarray:
    """uint8 [num_pictures, size, size, 3] over white of Gaussians [T, N, ...], whose motion repeats on the way round."""
    device = gaussians.means.device
    num_frames = len(gaussians.means)
    azimuths = np.arange(num_pictures) * 360.0 / num_pictures
    viewmats = torch.from_numpy(orbit(azimuths, ELEVATION, RADIUS)).float().to(device)
    K = torch.from_numpy(intrinsics(FOV)).float().to(device)
    pictures = []
    for index, viewmat in enumerate(viewmats):
        frame = index % num_frames
        moment = gaussians.map(lambda values: values[frame])  # noqa: B023
        rgb = draw_gaussians(moment, viewmat[None], K[None], size)[0]
        pictures.append((rgb.clamp(0, 1) * 255.0).round().byte().cpu().numpy())
    return np.stack(pictures)
