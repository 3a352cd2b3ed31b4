"""The noise schedule: cosine, discrete, S steps (Sec. 4.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

MAX_BETA = 0.999
OFFSET = 0.008


@dataclass(frozen=True)
class NoiseSchedule:
    """Tables over diffusion steps s = 0..S-1, float64: z_s = alphas[s] z_0 + sigmas[s] noise, squares sum to 1."""

    betas: Tensor  # [S]

    @property
    def num_steps(self) -> int:
        """Return S, the number of diffusion steps."""
        return len(self.betas)

    @cached_property
    def log_alphas(self) -> Tensor:
        """Return log alpha [S], half the cumulative sum of log(1 - beta)."""
        return 0.5 * torch.log1p(-self.betas).cumsum(0)

    @cached_property
    def alphas(self) -> Tensor:
        """Return the factors of the data, [S]."""
        return self.log_alphas.exp()

    @cached_property
    def sigmas(self) -> Tensor:
        """Return the factors of the noise, [S]."""
        return torch.sqrt(-torch.expm1(2.0 * self.log_alphas))

    def draw_steps(self, count: int, shift: float, generator: torch.Generator) -> Tensor:
        """Draw diffusion steps [count] for training; with shift 1 all steps are equally likely, above 1 noisy ones more.

        A uniform u becomes shift u / (1 + (shift - 1) u), as in Esser et al. (2024), so that the odds u / (1 - u) grow
        by the factor `shift`.
        """
        if shift == 1.0:
            return torch.randint(self.num_steps, (count,), generator=generator)
        uniform = torch.rand(count, generator=generator, dtype=torch.float64)
        shifted = shift * uniform / (1.0 + (shift - 1.0) * uniform)
        return (shifted * self.num_steps).long().clamp_max(self.num_steps - 1)

    def coefficients(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma of integer timesteps [B], shaped to multiply `like` [B, ...], in its dtype and on its device."""
        shape = (-1, *(1,) * (like.dim() - 1))
        index = timesteps.cpu()
        alpha, sigma = (table[index].to(like).view(shape) for table in (self.alphas, self.sigmas))
        return alpha, sigma


def cosine_schedule(num_steps: int) -> NoiseSchedule:
    """Return the schedule beta_i = min(1 - a((i+1)/S) / a(i/S), 0.999), where a(u) = cos^2((u + 0.008)/1.008 pi/2)."""
    curve = [math.cos((i / num_steps + OFFSET) / (1.0 + OFFSET) * math.pi / 2.0) ** 2 for i in range(num_steps + 1)]
    betas = [min(1.0 - after / before, MAX_BETA) for before, after in pairwise(curve)]
    return NoiseSchedule(torch.tensor(betas, dtype=torch.float64))
