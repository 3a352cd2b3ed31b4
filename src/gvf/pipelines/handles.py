"""The choice of canonical Gaussians that the diffusion transformer is conditioned on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.farthest_points import farthest_points


@dataclass(frozen=True)
class Handles:
    """A choice of canonical Gaussians.

    positions: [L, 3] of the latents; static: [S, 14] activated values. Both are farthest-sampled starting with the first
    Gaussian, so that training, encoding and inference make the same choice.
    """

    positions: Tensor
    static: Tensor


def choose_handles(gaussians: Gaussians, num_latents: int, num_static: int) -> Handles:
    """Choose the latents' positions and the static condition among the Gaussians, by farthest point sampling.

    gaussians: [N, ...] of one clip. If N is less than either number, Gaussians are repeated in the order in which they
    were sampled, so that batches keep their shape.
    """
    values = gaussians.to_activated14()
    means = values[:, :3]
    return Handles(means[farthest_points(means, num_latents)], values[farthest_points(means, num_static)])
