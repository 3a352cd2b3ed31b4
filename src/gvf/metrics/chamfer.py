"""Chamfer distance of moving surfaces, both as points: how far each point is from the other surface, both ways."""

from __future__ import annotations

import torch
from torch import Tensor

from gvf.geometry.knn import nearest_neighbors


def chamfer_distance(one: Tensor, other: Tensor) -> Tensor:
    """Mean of the two mean distances to the nearest point, in the points' unit. one: [N, 3], other: [M, 3]; a scalar."""
    there, back = (nearest_neighbors(*pair, k=1).sq_dists.sqrt().mean() for pair in ((one, other), (other, one)))
    return (there + back) / 2


def chamfer_over_time(prediction: Tensor, truth: Tensor) -> Tensor:
    """Chamfer distance of every frame, without any alignment. prediction: [T, N, 3], truth: [T, M, 3]. Returns [T].

    Its mean is the distance over the sequence.
    """
    return torch.stack([chamfer_distance(*frame) for frame in zip(prediction, truth, strict=True)])
