"""Photometric losses between images; each returns one value per image, and the caller reduces them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, SIGMA = 11, 1.5  # pixels
C1, C2 = 0.01**2, 0.03**2


def l1(rendered: Tensor, target: Tensor) -> Tensor:
    """Compute the mean absolute difference per image. rendered, target: [..., H, W, 3]. Returns [...]."""
    return (rendered - target).abs().mean((-3, -2, -1))


def ssim(rendered: Tensor, target: Tensor) -> Tensor:
    """Compute the structural similarity per image (Wang et al. 2004), as in the loss of the paper's released code.

    The window is a Gaussian of 11 x 11 pixels and sigma 1.5; pixels outside the image count as zeros; the result is the
    mean over all pixels and channels. rendered, target: [..., H, W, 3] in [0, 1], the same shape; computed in float32
    even under autocast. Returns [...].
    """
    with torch.autocast(rendered.device.type, enabled=False):
        x, y = (image.float().movedim(-1, -3).flatten(0, -3) for image in (rendered, target))
        # Only the sum of the two variances is needed, so four local means suffice.
        mean_x, mean_y, squares, product = _blur(torch.stack((x, y, x * x + y * y, x * y)))
        both = mean_x * mean_y
        means = mean_x.square() + mean_y.square()
        similarity = (2 * both + C1) * (2 * (product - both) + C2) / ((means + C1) * (squares - means + C2))
        channels = rendered.shape[-1]
        return similarity.mean((-2, -1)).unflatten(0, (-1, channels)).mean(-1).view(rendered.shape[:-3])


def _blur(planes: Tensor) -> Tensor:
    """Blur every plane of [..., H, W], columns first and then rows, with all planes as channels of one image."""
    offsets = torch.arange(WINDOW, device=planes.device, dtype=planes.dtype) - (WINDOW - 1) / 2
    weights = torch.exp(-offsets.square() / (2 * SIGMA**2))
    weights = weights / weights.sum()
    image = planes.flatten(0, -3)[None]
    count, reach = image.shape[1], (WINDOW - 1) // 2
    image = F.conv2d(image, weights.view(1, 1, -1, 1).expand(count, 1, -1, 1), padding=(reach, 0), groups=count)
    image = F.conv2d(image, weights.view(1, 1, 1, -1).expand(count, 1, 1, -1), padding=(0, reach), groups=count)
    return image.view(planes.shape)
