"""Images of moving Gaussians, one per frame and camera: the frames of a video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera
from gvf.rendering.convention import COMPENSATE, LOW_PASS
from gvf.rendering.rasterize import rasterize


def draw_moments(
    gaussians: Gaussians,
    frames: Iterable[int],
    cameras: Sequence[OrbitCamera],
    size: int,
    *,
    background: Sequence[float] | None,
    low_pass: float = LOW_PASS,
    compensate: bool = COMPENSATE,
) -> Iterator[np.ndarray]:
    """Yield an image of each frame of Gaussians [T, N, ...] from the camera beside it.

    background: RGB in [0, 1], display sRGB; None for a transparent one. Yields uint8 [size, size, 3], or straight RGBA
    [size, size, 4] where the background is transparent.
    """
    device = gaussians.means.device
    level = torch.tensor(background or (0.0, 0.0, 0.0), dtype=torch.float32, device=device)
    for frame, camera in zip(frames, cameras, strict=True):
        yield _image(gaussians[frame], camera, size, level, background is None, low_pass, compensate)


@torch.no_grad()
def _image(
    moment: Gaussians,
    camera: OrbitCamera,
    size: int,
    background: Tensor,
    transparent: bool,
    low_pass: float,
    compensate: bool,
) -> np.ndarray:
    device = moment.means.device
    viewmat, K = (torch.from_numpy(matrix).float().to(device)[None] for matrix in (camera.viewmat, camera.K))
    drawn = rasterize(
        moment.means,
        moment.quats,
        moment.scales,
        moment.opacities,
        moment.rgb,
        viewmat,
        K,
        size,
        size,
        background=background,
        low_pass=low_pass,
        compensate=compensate,
    )
    rgb, alpha = drawn.rgb[0], drawn.alpha[0, ..., None]
    if transparent:
        rgb = torch.cat([rgb / alpha.clamp_min(1e-6), alpha], -1)
    return (rgb.clamp(0, 1) * 255.0).round().byte().cpu().numpy()
