"""Nearest neighbours in one function: SciPy's k-d tree on CPU, PyTorch3D or a plain search in blocks on CUDA."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from gvf.errors import UserError
from gvf.geometry import pytorch3d_backend

CUDA_BLOCK = 1 << 26  # distances held at once on CUDA: 256 MiB


class Neighbors(NamedTuple):
    """The k nearest points of each query, nearest first."""

    indices: Tensor  # [..., M, k], int64, into the points
    sq_dists: Tensor  # [..., M, k], squared distances, object units


@torch.no_grad()
def nearest_neighbors(queries: Tensor, points: Tensor, k: int) -> Neighbors:
    """Find the k points nearest to each query, separately for each item of a batch and without gradient.

    queries: [M, 3] or [B, M, 3]; points: [N, 3] or [B, N, 3], N >= k. Raises UserError when there are fewer points.
    """
    if points.shape[-2] < k:
        raise UserError(
            f"nearest neighbours: {k} neighbours were requested, but there are only {points.shape[-2]} points. "
            "Request fewer neighbours."
        )
    if queries.dim() == 2:
        indices, sq_dists = nearest_neighbors(queries[None], points[None], k)
        return Neighbors(indices[0], sq_dists[0])
    if k <= pytorch3d_backend.MAX_NEIGHBORS and pytorch3d_backend.serves(queries):
        indices = pytorch3d_backend.nearest_indices(queries, points, k)
    else:
        search = _search_tree if queries.device.type == "cpu" else _search_blocks
        indices = torch.stack([search(query, point, k) for query, point in zip(queries, points, strict=True)])
    neighbors = torch.stack([point[index] for point, index in zip(points, indices)])
    return Neighbors(indices, (neighbors - queries.unsqueeze(-2)).square().sum(-1))


def _search_tree(queries: Tensor, points: Tensor, k: int) -> Tensor:
    tree = cKDTree(points.detach().numpy())
    _, indices = tree.query(queries.detach().numpy(), k=range(1, k + 1))
    return torch.from_numpy(indices).long()


def _search_blocks(queries: Tensor, points: Tensor, k: int) -> Tensor:
    # Distances are computed from differences: the expansion into products loses digits where points are close.
    rows = max(1, CUDA_BLOCK // len(points))
    blocks = [
        torch.cdist(block, points, compute_mode="donot_use_mm_for_euclid_dist").topk(k, largest=False).indices
        for block in queries.float().split(rows)
    ]
    return torch.cat(blocks)
