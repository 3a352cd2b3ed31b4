"""A camera that circles moving Gaussians once: the quickest look at a result from all sides."""

from __future__ import annotations

import numpy as np
import torch

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import intrinsics, orbit
from gvf.rendering.splats import draw_gaussians

ELEVATION, RADIUS, FOV = 15.0, 2.0, 49.1  # degrees, object units, degrees


@torch.no_grad()
def turntable(gaussians: Gaussians, size: int, num_images: int) -> np.ndarray:
    """Render Gaussians [T, N, ...] over white; their motion repeats during the turn.

    Returns uint8 [num_images, size, size, 3].
    """
    device = gaussians.means.device
    num_frames = len(gaussians.means)
    azimuths = np.arange(num_images) * 360.0 / num_images
    viewmats = torch.from_numpy(orbit(azimuths, ELEVATION, RADIUS)).float().to(device)
    K = torch.from_numpy(intrinsics(FOV)).float().to(device)
    images = []
    for index, viewmat in enumerate(viewmats):
        frame = index % num_frames
        moment = gaussians.map(lambda values: values[frame])  # noqa: B023
        rgb = draw_gaussians(moment, viewmat[None], K[None], size)[0]
        images.append((rgb.clamp(0, 1) * 255.0).round().byte().cpu().numpy())
    return np.stack(images)
