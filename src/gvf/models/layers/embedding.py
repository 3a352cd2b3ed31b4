"""Sine embeddings of positions and of the diffusion timestep.

Two position embeddings exist in the published weights, and they differ in the frequencies only: the absolute one
(sparse transformers, diffusion transformer) runs from 1 to 10000^-1, the variation VAE's to 10000^-2.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_PERIOD = 10000.0


def embed_positions(positions: Tensor, frequencies: Tensor, width: int) -> Tensor:
    """Return for each axis the sines, then the cosines of position times frequency; zeros up to `width` channels.

    positions: [..., 3]; frequencies: [F] with 6 F <= width. Returns [..., width], float32.
    """
    angles = positions.float().unsqueeze(-1) * frequencies.float()
    waves = torch.cat((angles.sin(), angles.cos()), dim=-1).flatten(-2)
    return F.pad(waves, (0, width - waves.shape[-1]))


class AbsolutePositionEmbedding(nn.Module):
    """Embedding of voxel indices (static VAE) or of positions (diffusion transformer); nothing in the state dict.

    position_scale: positions are multiplied by it first. The published weights use 1, so that inside the unit box only
    a fraction of a wave is seen; a small network finds its way with a few waves much sooner.
    """

    def __init__(self, width: int, position_scale: float = 1.0) -> None:
        super().__init__()
        self.width = width
        self.position_scale = position_scale

    def forward(self, positions: Tensor) -> Tensor:
        """Return the embedding [..., C], float32. positions: [..., 3]."""
        count = self.width // 6
        exponents = torch.arange(count, device=positions.device, dtype=torch.float32) / count
        return embed_positions(positions, self.position_scale / MAX_PERIOD**exponents, self.width)


class PointEmbedding(nn.Module):
    """The variation VAE's PE of Eq. 5-6: omega_j = 10000^(-2 j / F), a float64 buffer as in the published weights."""

    omega: Tensor

    def __init__(self, width: int, position_scale: float = 1.0) -> None:
        super().__init__()
        self.width = width
        self.position_scale = position_scale
        count = width // 6
        exponents = torch.arange(count, dtype=torch.float64) / (count / 2)
        self.register_buffer("omega", 1.0 / MAX_PERIOD**exponents)

    def forward(self, positions: Tensor) -> Tensor:
        """Return the embedding [..., C], float32. positions: [..., 3], object units."""
        return embed_positions(positions, self.omega * self.position_scale, self.width)


class TimestepEmbedding(nn.Module):
    """Diffusion timestep (0..999, may be fractional) to a vector: cosines, then sines, then a two-layer network."""

    def __init__(self, width: int, num_frequencies: int = 128) -> None:
        super().__init__()
        self.num_frequencies = num_frequencies
        self.mlp = nn.Sequential(nn.Linear(2 * num_frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, timesteps: Tensor) -> Tensor:
        """Return the embedding [B, C] of timesteps [B]."""
        steps = torch.arange(self.num_frequencies, device=timesteps.device, dtype=torch.float32)
        frequencies = torch.exp(steps * (-math.log(MAX_PERIOD) / self.num_frequencies))
        angles = timesteps.float().unsqueeze(-1) * frequencies
        return self.mlp(torch.cat((angles.cos(), angles.sin()), dim=-1))
