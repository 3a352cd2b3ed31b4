"""Mesh-guided interpolation: the motion of mesh points, carried over to Gaussians (Eq. 3-4).

This is the one home of the weights that both the encoder's queries (Eq. 5) and the mesh-guided loss (Eq. 9) use.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gvf.geometry.knn import nearest_neighbors

VARIANTS = ("paper", "release")

RADIUS_EPS = 1e-6
SUM_EPS = 1e-8


def interpolation_weights(sq_dists: Tensor, beta: float, variant: str = "paper") -> Tensor:
    """Return the normalised weights of each Gaussian's K nearest points (Eq. 3-4).

    w_k = exp(-beta d_k / r^2), where d_k is the squared distance and r^2 the mean of the d_k, so that the scale of the
    scene does not matter. Eq. 3 has no cut-off; the release drops points with d_k > r^2 (`variant="release"`).

    sq_dists: [..., K], squared distances in object units. Returns [..., K], rows sum to 1.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}, must be one of {VARIANTS}")
    sq_radius = (sq_dists.mean(-1, keepdim=True).sqrt() + RADIUS_EPS).square()
    logits = -beta * sq_dists / sq_radius
    if variant == "paper":
        return logits.softmax(-1)
    weights = logits.exp().masked_fill(sq_dists > sq_radius, 0.0)
    return weights / (weights.sum(-1, keepdim=True) + SUM_EPS)


@dataclass(frozen=True)
class MeshGuide:
    """Which mesh points move each Gaussian, and how much: computed once per clip, applied to any of its frames."""

    indices: Tensor  # [M, K] or [B, M, K], int64, into the mesh points
    weights: Tensor  # [M, K] or [B, M, K], rows sum to 1

    def interpolate(self, displacements: Tensor) -> Tensor:
        """Return the displacement of each Gaussian in each frame (Eq. 4). Gradients reach the displacements.

        displacements: [T, N, 3] or [B, T, N, 3] of the mesh points. Returns [T, M, 3] or [B, T, M, 3].
        """
        if displacements.dim() == 3:
            return MeshGuide(self.indices[None], self.weights[None]).interpolate(displacements[None])[0]
        batch, num_frames, num_points, _ = displacements.shape
        first = num_points * torch.arange(batch, device=self.indices.device).view(-1, 1, 1)
        moved = F.embedding_bag(  # a weighted sum of rows; all frames of a point are one row
            (self.indices + first).flatten(0, 1),
            displacements.transpose(1, 2).reshape(batch * num_points, num_frames * 3),
            per_sample_weights=self.weights.flatten(0, 1).to(displacements),
            mode="sum",
        )
        return moved.view(batch, -1, num_frames, 3).transpose(1, 2)


@torch.no_grad()
def mesh_guide(
    positions: Tensor, points: Tensor, *, num_neighbors: int, beta: float, variant: str = "paper"
) -> MeshGuide:
    """Return the neighbours of Gaussians among the canonical mesh points and their weights (Eq. 3), without gradient.

    positions: [M, 3] or [B, M, 3], canonical means of Gaussians; points: [N, 3] or [B, N, 3], canonical mesh points.
    Where there are fewer points than `num_neighbors`, every point is a neighbour.
    """
    indices, sq_dists = nearest_neighbors(positions, points, min(num_neighbors, points.shape[-2]))
    return MeshGuide(indices, interpolation_weights(sq_dists, beta, variant))
