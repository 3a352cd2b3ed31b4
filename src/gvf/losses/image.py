"""Photometric losses; each returns one value a picture, the caller reduces."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def l1(rendered: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference. rendered, target: [..., H, W, 3]. Returns [...]."""
    return (rendered - target).abs().mean((-3, -2, -1))


def ssim(rendered: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) for data in [0, 1]: Gaussian window of 11 pixels, zeros outside the picture.

    rendered, target: [..., H, W, 3]. Returns [...], the mean over pixels and channels.
    """
    lead = rendered.shape[:-3]
    x, y = (image.reshape(-1, *image.shape[-3:]).permute(0, 3, 1, 2).flatten(0, 1) for image in (rendered, target))
    moments = _blur(torch.stack((x, y, x * x, y * y, x * y)))
    mean_x, mean_y, xx, yy, xy = moments
    cross, squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    numerator = (2.0 * cross + C1) * (2.0 * (xy - cross) + C2)
    denominator = (squares + C1) * (xx + yy - squares + C2)
    return (numerator / denominator).mean((-2, -1)).unflatten(0, (-1, 3)).mean(-1).view(lead)


def _blur(x: Tensor) -> Tensor:
    """x: [..., H, W]. The window is separable and the same for all, so it is two banded matrix products."""
    rows, columns = (_band(size, x) for size in x.shape[-2:])
    return rows @ x @ columns


def _band(size: int, like: Tensor) -> Tensor:
    offsets = torch.arange(size, device=like.device, dtype=torch.float64)
    distance = offsets[:, None] - offsets
    reach = (WINDOW - 1) / 2
    norm = torch.exp(-torch.arange(-reach, reach + 1, dtype=torch.float64).square() / (2 * SIGMA**2)).sum()
    weights = torch.exp(-distance.square() / (2 * SIGMA**2)) / norm.to(like.device)
    return weights.where(distance.abs() <= reach, weights.new_zeros(())).to(like.dtype)
