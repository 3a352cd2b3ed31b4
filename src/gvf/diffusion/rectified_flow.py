"""Training side of rectified flows, as in TRELLIS: times, noised data, and the velocity to predict.

x_t = (1 - t) data + t noise, and dx/dt = noise - data. (TRELLIS adds 1e-5 of noise at t = 0, which is below what float32
networks resolve; it is left out.)
"""

from __future__ import annotations

import torch
from torch import Tensor

_LOGIT_MEAN, _LOGIT_DEVIATION = 1.0, 1.0  # of the published training: most times are noisy ones


def draw_times(count: int, generator: torch.Generator) -> Tensor:
    """Return times [count] in (0, 1), logit-normal."""
    return torch.sigmoid(_LOGIT_MEAN + _LOGIT_DEVIATION * torch.randn(count, generator=generator))


def noised_data(data: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """Return x_t. times: broadcasts against data and noise."""
    return torch.lerp(data, noise, times)


def flow_velocity(data: Tensor, noise: Tensor) -> Tensor:
    """Return dx/dt, which is the same at all times."""
    return noise - data
