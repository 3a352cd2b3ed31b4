"""Images of what methods make of held-out clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gvf.data.clips import Views
from gvf.errors import ClipError
from gvf.gaussians.gaussians import Gaussians
from gvf.rendering.splats import draw_gaussians


@dataclass(frozen=True)
class Drawn:
    """Moving Gaussians [T, N] with their images, uint8 [T, V, H, W, 3]."""

    moving: Gaussians
    images: np.ndarray


@torch.no_grad()
def draw(moving: Gaussians, views: Views, device: torch.device) -> Drawn:
    """Render Gaussians [T, N] over white from the cameras of views [T, V, ...]. Raises ClipError where they are not finite."""
    if not moving.to_activated14().isfinite().all():
        raise ClipError("invalid", "its Gaussians are not finite.")
    rgb = draw_gaussians(moving, views.viewmats.to(device), views.Ks.to(device), views.rgba.shape[-2])
    return Drawn(moving, (rgb.clamp(0, 1) * 255.0).round().byte().cpu().numpy())
