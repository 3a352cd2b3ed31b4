"""Resampling squares out of images, also beyond their edges; colours are weighted by alpha."""

from __future__ import annotations

import torch
from torch import Tensor

_SHARPNESS = -0.5  # Keys' cubic convolution, the one that reproduces quadratics


def resampled(images: Tensor, left: float, top: float, side: float, size: int) -> Tensor:
    """Return a square part of images as images of another size; what lies outside the input is transparent.

    images: [..., H, W, 4] uint8 with straight alpha. left, top, side: the square in pixels of the input, from the top left
    corner of its top left pixel; not whole numbers in general. Returns [..., size, size, 4] uint8. Shrinking averages over areas,
    enlarging interpolates by cubic convolution; both premultiplied by alpha, so that transparent pixels leave no trace.
    """
    height, width = images.shape[-3:-1]
    rows = _weights(height, top, side, size).to(images.device)
    columns = _weights(width, left, side, size).to(images.device)
    flat = images.reshape(-1, height, width, 4)
    found = torch.empty(len(flat), size, size, 4, dtype=torch.uint8, device=images.device)
    for index, image in enumerate(flat):  # one at a time, which bounds the memory
        values = image.movedim(-1, 0).float() / 255.0
        premultiplied = torch.cat([values[:3] * values[3:], values[3:]])
        part = rows @ premultiplied @ columns.T
        colors = (part[:3] / part[3:].clamp(min=1e-6)).clamp(0.0, 1.0)  # before the filter's overshoot is cut off
        visible = torch.cat([colors, part[3:].clamp(0.0, 1.0)])
        found[index] = (visible * 255.0).round().byte().movedim(0, -1)
    return found.view(*images.shape[:-3], size, size, 4)


def _weights(length: int, start: float, side: float, size: int) -> Tensor:
    """Return the weights [size, length] of input pixels in output pixels along one axis."""
    step = side / size
    pixels = torch.arange(length, dtype=torch.float64)
    if step >= 1.0:
        starts = start + torch.arange(size, dtype=torch.float64)[:, None] * step
        overlaps = torch.minimum(starts + step, pixels + 1) - torch.maximum(starts, pixels)
        return (overlaps.clamp(min=0.0) / step).float()
    centers = start + (torch.arange(size, dtype=torch.float64)[:, None] + 0.5) * step
    return _cubic((pixels + 0.5 - centers).abs()).float()


def _cubic(distance: Tensor) -> Tensor:
    near = ((_SHARPNESS + 2) * distance - (_SHARPNESS + 3)) * distance.square() + 1
    far = _SHARPNESS * (((distance - 5) * distance + 8) * distance - 4)
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))
