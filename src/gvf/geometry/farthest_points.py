"""Farthest point sampling: a subset of points spread evenly over the shape."""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.geometry import pytorch3d_backend


@torch.no_grad()
def farthest_points(points: Tensor, count: int, *, start: int = 0, generator: torch.Generator | None = None) -> Tensor:
    """Choose points greedily, each as far as possible from those chosen before (squared distances, float32).

    points: [N, 3] or [B, N, 3], N >= 1. start: index of the first point; if a generator is given, the first point is
    drawn from it instead. Ties go to the lowest index, so the result is deterministic. No point is chosen twice while
    others are left; if there are fewer than `count` points, all are chosen once and that order is then repeated from
    its beginning. Returns int64 indices [count] or [B, count]. Raises UserError when there are no points.
    """
    if points.dim() == 2:
        return farthest_points(points[None], count, start=start, generator=generator)[0]
    batch, available, _ = points.shape
    if available < 1:
        raise UserError("farthest point sampling: there are no points to choose from.")
    if available < count:
        once = farthest_points(points, available, start=start, generator=generator)
        return once[:, torch.arange(count, device=once.device) % available]
    starts = torch.full((batch,), start)
    if generator is not None:
        starts = torch.randint(available, (batch,), generator=generator, device=generator.device).cpu()
    if points.device.type == "cpu":
        array = np.ascontiguousarray(points.detach().float().transpose(1, 2).numpy())
        return torch.from_numpy(_choose_compiled(array, count, starts.numpy()))
    points, starts = points.detach().float(), starts.to(points.device)
    chosen = pytorch3d_backend.farthest_indices(points, count, starts) if pytorch3d_backend.serves(points) else None
    return _choose_batched(points, count, starts) if chosen is None else chosen


@numba.njit(cache=True, fastmath={"contract", "arcp", "nsz"})
def _choose_compiled(points: np.ndarray, count: int, starts: np.ndarray) -> np.ndarray:
    batch, _, available = points.shape
    chosen = np.empty((batch, count), np.int64)
    sq_dists = np.empty(available, np.float32)
    for item in range(batch):
        x, y, z = points[item]
        sq_dists[:] = np.inf
        last = starts[item]
        chosen[item, 0] = last
        for step in range(1, count):
            for i in range(available):
                dx, dy, dz = x[i] - x[last], y[i] - y[last], z[i] - z[last]
                sq_dists[i] = min(sq_dists[i], dx * dx + dy * dy + dz * dz)
            sq_dists[last] = -1.0  # never chosen again, even if all the others coincide with chosen points
            last = np.argmax(sq_dists)
            chosen[item, step] = last
    return chosen


def _choose_batched(points: Tensor, count: int, starts: Tensor) -> Tensor:
    chosen = [starts]
    sq_dists = points.new_full(points.shape[:2], float("inf"))
    items = torch.arange(len(points), device=points.device)
    for _ in range(1, count):
        last = points[items, chosen[-1]].unsqueeze(1)
        sq_dists = torch.minimum(sq_dists, (points - last).square().sum(-1))
        sq_dists[items, chosen[-1]] = -1.0  # never chosen again, even if all the others coincide with chosen points
        chosen.append(sq_dists.argmax(-1))
    return torch.stack(chosen, dim=1)
