"""Chamfer distance between moving surfaces, both given as points: how far each point is from the other surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gvf.metrics.metric import PointMetric

if TYPE_CHECKING:
    from torch import Tensor


def chamfer_distance(one: Tensor, other: Tensor) -> Tensor:
    """Return the mean of the two mean distances to the nearest point, in the points' unit.

    one: [N, 3], other: [M, 3]; the result is a scalar.
    """
    from gvf.geometry.knn import nearest_neighbors

    there, back = (nearest_neighbors(*pair, k=1).sq_dists.sqrt().mean() for pair in ((one, other), (other, one)))
    return (there + back) / 2


def chamfer_over_time(prediction: Tensor, ground_truth: Tensor) -> Tensor:
    """Return the Chamfer distance of every frame, [T], without any alignment.

    prediction: [T, N, 3], ground_truth: [T, M, 3]. The mean of the result is the distance over the sequence.
    """
    import torch

    return torch.stack([chamfer_distance(*frame) for frame in zip(prediction, ground_truth, strict=True)])


METRICS = (
    PointMetric(
        name="chamfer",
        title="Chamfer distance",
        definition="Distance between the Gaussians' centres and points on the ground-truth surface: half the sum of both "
        "mean distances to the nearest point, in units of the object's longest side, without alignment.",
        higher_is_better=False,
        format="{:.4f}",
        compute=chamfer_over_time,
    ),
)
