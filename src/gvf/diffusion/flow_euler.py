"""Euler sampler of rectified flows, for TRELLIS's image-to-3D networks.

x = (1 - t) data + t noise; the network predicts dx/dt. Times run from 1 (noise) to 0 (data).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from gvf.errors import UserError

NETWORK_TIME = 1000.0  # the networks take 1000 t

FlowPrediction = Callable[[Tensor, float], Tensor]
"""A network with its conditions: (noised [B, ...], network time) -> velocity [B, ...]."""


@dataclass(frozen=True)
class FlowSettings:
    """Steps and guidance of the sampler; the defaults are those of the published pipeline.

    num_steps: number of steps. guidance: s in (1 + s) conditional - s unconditional; 0 means no guidance.

    guided_from, guided_to: times between which, both included, guidance acts. rescale: r of t = r u / (1 + (r - 1) u),
    u uniform: above 1 it puts more steps at the noisy end.
    """

    num_steps: int = 25
    guidance: float = 5.0
    guided_from: float = 0.5
    guided_to: float = 1.0
    rescale: float = 3.0

    def __post_init__(self) -> None:
        if self.num_steps < 1 or not self.rescale > 0 or self.guidance < 0:
            raise UserError(f"{self}: needs num_steps >= 1, rescale > 0 and guidance >= 0.")

    def times(self) -> list[float]:
        """Return num_steps + 1 times from 1 down to 0."""
        uniform = [(self.num_steps - index) / self.num_steps for index in range(self.num_steps + 1)]
        return [self.rescale * u / (1.0 + (self.rescale - 1.0) * u) for u in uniform]

    def guides(self, time: float) -> bool:
        """Return whether guidance acts at this time."""
        return self.guidance > 0.0 and self.guided_from <= time <= self.guided_to


@torch.no_grad()
def sample_flow(
    noise: Tensor,
    conditional: FlowPrediction,
    both: FlowPrediction,
    settings: FlowSettings,
    report: Callable[[float], None] | None = None,
) -> Tensor:
    """Integrate from noise [B, ...] to data.

    conditional: predicts with the condition. both: takes the noised values twice, concatenated along the first axis, and
    predicts the first half with the condition and the second half without, in one batch; it is called where guidance
    acts, `conditional` elsewhere. report: called with the time reached after each step.
    """
    x = noise
    for time, following in pairwise(settings.times()):
        if settings.guides(time):
            with_condition, without = both(torch.cat((x, x)), NETWORK_TIME * time).chunk(2)
            velocity = torch.lerp(without, with_condition, 1.0 + settings.guidance)
        else:
            velocity = conditional(x, NETWORK_TIME * time)
        x = x - (time - following) * velocity
        if report is not None:
            report(following)
    return x
