"""Moving Gaussians for tests of file formats: smooth motion of every attribute, about an object-sized cloud."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gvf.gaussians.gaussians import Gaussians


def swinging_gaussians(num_frames: int, count: int, seed: int = 0) -> Gaussians:
    """T frames of N Gaussians: two rigid halves that swing, while scales, colours and opacities change slowly."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    points = torch.rand(count, 3, generator=generator) - 0.5
    own = torch.nn.functional.normalize(noise(count, 4), dim=-1)
    times = torch.linspace(0, 1, num_frames)
    side = torch.where(points[:, 0] < 0, -1.0, 1.0)
    angles = (math.pi * torch.sin(2 * math.pi * times))[:, None] * side / 2  # about the z axis, up to 90 degrees
    cosine, sine = angles.cos(), angles.sin()
    x, y, z = points.unbind(-1)
    means = torch.stack([cosine * x - sine * y, sine * x + cosine * y, z.expand_as(cosine)], dim=-1)
    (a, b), (w, i, j, k) = ((angles / 2).cos(), (angles / 2).sin()), own.unbind(-1)
    quats = torch.stack([a * w - b * k, a * i - b * j, a * j + b * i, a * k + b * w], dim=-1)
    wave = torch.sin(2 * math.pi * (times[:, None] + torch.rand(count, generator=generator)))[..., None]
    return Gaussians.from_rendered(
        means=means,
        colors=noise(count, 3) + 0.1 * wave,
        scales=(0.01 * torch.exp(0.5 * noise(count, 3) + 0.2 * wave)).clamp_min(0.001),
        quats=quats,
        opacities=torch.sigmoid(2 * noise(count) + 0.3 * wave[..., 0]),
    )
