"""Frames of a video as the image encoder takes them: square uint8 RGBA of the training size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gvf.errors import UserError


def as_rgba(frames: Tensor) -> Tensor:
    """Return frames, as `MotionGenerator.motion` takes them, as uint8 RGBA [T, H, W, 4]. Raises UserError for other tensors."""
    if frames.dim() != 4 or frames.shape[-1] not in (3, 4) or not frames.numel():
        raise UserError(
            f"frames: have shape {list(frames.shape)}; expected [T, H, W, 4] or [T, H, W, 3], T at least 1."
        )
    if frames.is_floating_point():
        if not (frames.isfinite().all() and frames.min() >= 0.0 and frames.max() <= 1.0):
            raise UserError("frames: hold values outside [0, 1]. Scale them, or pass uint8.")
        frames = (frames * 255.0).round().to(torch.uint8)
    elif frames.dtype != torch.uint8:
        raise UserError(f"frames: are {frames.dtype}; expected uint8, or floats in [0, 1].")
    if frames.shape[-1] == 4:
        return frames
    is_white = (frames == 255).all(-1, keepdim=True)
    return torch.cat([frames, torch.where(is_white, 0, 255).to(torch.uint8)], dim=-1)


def resized(frames: Tensor, size: int) -> Tensor:
    """Return square uint8 RGBA frames [T, size, size, 4]; frames that have this size already are returned unchanged.

    Frames are shrunk to averages over areas, as training frames are rendered, and enlarged by a bicubic filter. Colours are
    premultiplied by alpha, so that transparent pixels leave no trace.
    """
    if tuple(frames.shape[1:3]) == (size, size):
        return frames
    return torch.stack([_resized_frame(frame, size) for frame in frames])


def _resized_frame(frame: Tensor, size: int) -> Tensor:
    values = frame.permute(2, 0, 1).float() / 255.0
    premultiplied = torch.cat([values[:3] * values[3:], values[3:]])
    if frame.shape[0] > size:
        shares = _overlaps(frame.shape[0], size).to(frame.device)
        found = shares @ premultiplied @ shares.T
    else:
        found = F.interpolate(premultiplied.unsqueeze(0), (size, size), mode="bicubic", align_corners=False)[0]
    colors = (found[:3] / found[3:].clamp(min=1e-6)).clamp(0.0, 1.0)  # before the filter's overshoot is cut off
    alpha = found[3:].clamp(0.0, 1.0)
    return (torch.cat([colors, alpha]) * 255.0).round().byte().permute(1, 2, 0)


def _overlaps(num_pixels: int, num_averages: int) -> Tensor:
    """Return the shares [num_averages, num_pixels] of pixels in averages over equal lengths of a line of pixels."""
    length = num_pixels / num_averages
    starts, pixels = torch.arange(num_averages)[:, None] * length, torch.arange(num_pixels)
    return (torch.minimum(starts + length, pixels + 1) - torch.maximum(starts, pixels)).clamp(min=0.0) / length
