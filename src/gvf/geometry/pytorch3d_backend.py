"""PyTorch3D's point searches, used for tensors on CUDA where the package is installed.

Each has a plain twin beside the function that calls it (`knn.py`, `farthest_points.py`), which serves the CPU and
machines without PyTorch3D. On the CPU the twins are faster, see `benchmarks/pytorch3d_ops.py`.
"""

from __future__ import annotations

import importlib.util
from functools import cache

import torch
from torch import Tensor

MAX_NEIGHBORS = 32  # PyTorch3D's fast CUDA kernels are compiled for up to this many


@cache
def is_installed() -> bool:
    """Return whether PyTorch3D can be imported together with its compiled part."""
    if importlib.util.find_spec("pytorch3d") is None:
        return False
    try:
        import pytorch3d._C  # noqa: F401
    except ImportError:  # built for another PyTorch or CUDA
        return False
    return True


def serves(points: Tensor) -> bool:
    """Return whether a search among these points is PyTorch3D's to do."""
    return points.is_cuda and is_installed()


def nearest_indices(queries: Tensor, points: Tensor, k: int) -> Tensor:
    """Return the indices of the k points nearest to each query, nearest first.

    queries: [B, M, 3], points: [B, N, 3], N >= k. Returns [B, M, k], int64.
    """
    from pytorch3d.ops import knn_points

    return knn_points(queries.float(), points.float(), K=k, return_sorted=True).idx


def farthest_indices(points: Tensor, count: int, starts: Tensor) -> Tensor | None:
    """Return indices chosen by farthest point sampling, or None if PyTorch3D chose a point twice.

    It does that where points lie in one place and nothing else is left. points: [B, N, 3], N >= count; starts: [B], the
    first index of each item. Returns [B, count], int64.
    """
    from pytorch3d.ops import sample_farthest_points

    available = points.shape[1]
    rotated = (torch.arange(available, device=points.device) + starts[:, None]) % available  # the start comes first
    ordered = points.float().gather(1, rotated[..., None].expand(-1, -1, 3))
    _, chosen = sample_farthest_points(ordered, K=count)
    indices = rotated.gather(1, chosen)
    ascending = indices.sort(-1).values
    return None if (ascending[:, 1:] == ascending[:, :-1]).any() else indices
