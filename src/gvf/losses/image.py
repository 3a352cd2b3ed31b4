"""Photometric losses between images; each returns one value per image, and the caller reduces them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gvf.compiled import kernels
from gvf.compiled.simd import LANES
from gvf.compiled.tensors import flat
from gvf.losses import ssim_kernels

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
        x, y = rendered.float(), target.float()
        if _fits(x, y):
            return _Ssim.apply(x.contiguous(), y.contiguous())
        return ssim_by_torch(x, y)


def ssim_by_torch(rendered: Tensor, target: Tensor) -> Tensor:
    """Compute `ssim` by torch's operations alone. rendered, target: [..., H, W, 3] float32."""
    x, y = (image.movedim(-1, -3).flatten(0, -3) for image in (rendered, target))
    # Only the sum of the two variances is needed, so four local means suffice.
    mean_x, mean_y, squares, product = _blur(torch.stack((x, y, x * x + y * y, x * y)))
    both = mean_x * mean_y
    means = mean_x.square() + mean_y.square()
    similarity = (2 * both + C1) * (2 * (product - both) + C2) / ((means + C1) * (squares - means + C2))
    channels = rendered.shape[-1]
    return similarity.mean((-2, -1)).unflatten(0, (-1, channels)).mean(-1).view(rendered.shape[:-3])


def _window(like: Tensor) -> Tensor:
    """Return the weights of the window along one axis, [WINDOW]."""
    offsets = torch.arange(WINDOW, device=like.device, dtype=like.dtype) - (WINDOW - 1) / 2
    weights = torch.exp(-offsets.square() / (2 * SIGMA**2))
    return weights / weights.sum()


def _blur(planes: Tensor) -> Tensor:
    """Blur every plane of [..., H, W], columns first and then rows, with all planes as channels of one image."""
    weights = _window(planes)
    image = planes.flatten(0, -3)[None]
    count, reach = image.shape[1], (WINDOW - 1) // 2
    image = F.conv2d(image, weights.view(1, 1, -1, 1).expand(count, 1, -1, 1), padding=(reach, 0), groups=count)
    image = F.conv2d(image, weights.view(1, 1, 1, -1).expand(count, 1, 1, -1), padding=(0, reach), groups=count)
    return image.view(planes.shape)


def _fits(x: Tensor, y: Tensor) -> bool:
    """Return whether the kernels compute the similarity: rows of whole vectors on a CPU, and no gradient of the target."""
    row = x.shape[-1] * x.shape[-2]
    return x.device.type == "cpu" and x.shape == y.shape and x.numel() > 0 and row % LANES == 0 and not y.requires_grad


class _Ssim(torch.autograd.Function):
    """The similarity of images [..., H, W, C] by `ssim_kernels`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        shape = _shape(x)
        images, height = shape[:2]
        bands = -(-height // ssim_kernels.BAND)
        sums, window = x.new_empty(images, bands), _window(x)
        slopes = x.new_empty(3 * x.numel() if ctx.needs_input_grad[0] else 0)
        kernels.run(
            ssim_kernels.ssim_forward,
            images * bands,
            1,
            flat(x),
            flat(y),
            flat(window),
            (C1, C2),
            shape,
            flat(sums),
            flat(slopes),
        )
        ctx.save_for_backward(x, y, slopes, window)
        return sums.sum(1).div_(x.numel() / images).view(x.shape[:-3])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, y, slopes, window = ctx.saved_tensors
        shape, result = _shape(x), torch.empty_like(x)
        images, height = shape[:2]
        factors = (gradient.float() / (x.numel() / images)).flatten().contiguous()
        kernels.run(
            ssim_kernels.ssim_backward, images * -(-height // ssim_kernels.BAND), 1, flat(x), flat(y), flat(slopes),
            flat(window), flat(factors), shape, flat(result),
        )  # fmt: skip
        return result, None


def _shape(x: Tensor) -> tuple[int, int, int, int]:
    """Return images, height, values of a row, and channels."""
    height, width, channels = x.shape[-3:]
    return x.numel() // (height * width * channels), height, width * channels, channels
