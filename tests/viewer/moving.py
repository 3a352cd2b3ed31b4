"""Moving Gaussians for the player: a wobbling, turning blob with needles, discs and transparent parts."""

from __future__ import annotations

import math

import torch

from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.sh import SH_C0

FRAMES_PER_SECOND = 12.0


def moving_gaussians(num_frames: int, count: int, seed: int = 0) -> Gaussians:
    """Return Gaussians with fields [num_frames, count, ...] inside the unit box; every attribute moves."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    means = torch.nn.functional.normalize(normal(count, 3), dim=-1) * torch.tensor([0.38, 0.28, 0.42])
    scales = 0.7 / math.sqrt(count) * torch.exp(0.6 * normal(count, 3))
    scales[: count // 10, 0] *= 6.0  # needles
    scales[count // 10 : count // 5, 2] *= 0.02  # discs
    quats = normal(count, 4)
    rgb = 0.5 + 0.45 * torch.sin(means * torch.tensor([9.0, 11.0, 7.0]) + torch.tensor([0.0, 2.0, 4.0]))
    opacities = torch.sigmoid(1.5 + 1.5 * normal(count))
    frames = []
    for frame in range(num_frames):
        phase = 2 * math.pi * frame / num_frames
        wave = 1 + 0.12 * torch.sin(phase + 6 * means[:, 2:])
        turn = torch.tensor([[math.cos(phase / 4), -math.sin(phase / 4), 0.0], [math.sin(phase / 4), math.cos(phase / 4), 0.0],
                             [0.0, 0.0, 1.0]])  # fmt: skip
        colors = (rgb * (0.9 + 0.1 * math.cos(phase))).clamp(0, 1)
        frames.append(
            Gaussians.from_rendered(
                means=(means * wave) @ turn.T,
                colors=(colors - 0.5) / SH_C0,
                scales=scales * wave,
                quats=quats + 0.2 * math.sin(phase),
                opacities=(opacities * (0.85 + 0.15 * math.cos(phase + 1))).clamp(0, 1),
            )
        )
    fields = ("means", "colors", "raw_scales", "raw_quats", "raw_opacities")
    return Gaussians(*(torch.stack([getattr(frame, name) for frame in frames]) for name in fields))
