"""A small moving object for tests of file formats: a coloured ellipsoid that bends, drawn by our rasteriser."""

from __future__ import annotations

import math

import numpy as np
import torch

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera
from gvf.rendering.moments import draw_moments

CAMERA = OrbitCamera(30.0, 15.0, 2.0, 40.0, (0.02, -0.03))
LOW_PASS, COMPENSATE = 0.1, True


def moving_object(count: int = 1500, num_frames: int = 3) -> Gaussians:
    """Gaussians [T, N] on an ellipsoid that is not symmetric about any axis; everything but colour changes over time."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    times = torch.arange(num_frames)[:, None, None] / max(num_frames - 1, 1)
    means = directions * torch.tensor([0.4, 0.15, 0.3]) + torch.tensor([0.05, 0.0, 0.1])
    means = means + 0.15 * times * torch.sin(3 * means[:, [2, 0, 1]])
    quats = torch.randn(count, 4, generator=generator).expand(num_frames, -1, -1)
    quats = torch.nn.functional.normalize(quats + 0.8 * times * quats[..., [1, 0, 3, 2]], dim=-1)
    scales = 0.004 + 0.02 * torch.rand(count, 3, generator=generator) * (1 + 0.5 * times)
    colors = torch.sin(7 * directions + torch.tensor([0.0, 2.0, 4.0])).expand(num_frames, -1, -1)
    opacities = (0.3 + 0.6 * torch.rand(count, generator=generator)).expand(num_frames, -1) * (1 - 0.1 * times[..., 0])
    return Gaussians.from_rendered(means, colors, scales, quats, opacities)


def picture(moment: Gaussians, size: int = 128) -> np.ndarray:
    """Render one frame over white, uint8 [size, size, 3]."""
    sequence = moment.map(lambda values: values[None])
    return next(draw_moments(sequence, [0], [CAMERA], size, background=(1, 1, 1)))


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 images, dB."""
    error = np.square(first.astype(float) - second.astype(float)).mean()
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
