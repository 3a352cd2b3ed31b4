"""The diagonal Gaussian that an encoder returns."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

INITIAL_LOGVAR = -6.0
"""Where log variances start: with a KL weight of 1e-6 a unit of noise would be unlearned first, at the price of steps."""


class Posterior(NamedTuple):
    """Mean and log variance of latents, both of the same shape."""

    mean: Tensor  # [..., C]
    logvar: Tensor  # [..., C]

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw latents [..., C] with the reparametrisation trick."""
        device = self.mean.device if generator is None else generator.device
        noise = torch.randn(self.mean.shape, generator=generator, device=device, dtype=self.mean.dtype).to(
            self.mean.device
        )
        return torch.addcmul(self.mean, (0.5 * self.logvar).exp(), noise)
