"""Images of Gaussians as the paper's release draws them: Mip-Splatting's filter, square images, a plain background."""

from __future__ import annotations

import torch
from torch import Tensor

from gvf.gaussians.gaussians import Gaussians
from gvf.rendering.convention import COMPENSATE, LOW_PASS, WHITE
from gvf.rendering.rasterize import RasterizedViews, rasterize


def draw_gaussians(gaussians: Gaussians, viewmats: Tensor, Ks: Tensor, size: int, background: float = WHITE) -> Tensor:
    """Return RGB images over a grey level, [..., C, size, size, 3] float32 in [0, 1], not clamped.

    gaussians: fields [..., N, ...]; viewmats: [..., C, 4, 4]; Ks: [..., C, 3, 3], normalised; leading axes broadcast.
    """
    return draw_views(gaussians, viewmats, Ks, size, background).rgb


def draw_views(
    gaussians: Gaussians, viewmats: Tensor, Ks: Tensor, size: int, background: float = WHITE
) -> RasterizedViews:
    """Return the images of `draw_gaussians` with their alpha and depth."""
    level = torch.full((3,), background, device=gaussians.means.device)
    return rasterize(
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        gaussians.rgb,
        viewmats,
        Ks,
        size,
        size,
        background=level,
        low_pass=LOW_PASS,
        compensate=COMPENSATE,
    )
