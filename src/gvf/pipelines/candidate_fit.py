"""How well a generated motion fits the video that it was made from: its renders from the video's camera beside the frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera
from gvf.metrics.metric import ImagePairs
from gvf.metrics.psnr import psnr_object
from gvf.pipelines.frames import resized
from gvf.rendering.splats import draw_views

LARGEST_SIDE = 256  # pixels; more does not change which candidate is best, and takes longer
_FRAMES_AT_ONCE = 4


@dataclass(frozen=True)
class Fit:
    """Agreement of renders with frames, means over frames.

    color_error: mean absolute difference of colours over white, in [0, 1], over the pixels of either object. iou: overlap of
    the masks, alpha above one half. psnr: over the video's object, dB; NaN where it is never seen.
    """

    color_error: float
    iou: float
    psnr: float

    @property
    def error(self) -> float:
        """Return what a choice among candidates minimises: colours and outlines have equal weight."""
        return self.color_error + 1.0 - self.iou


@torch.no_grad()
def fit_of(gaussians: Gaussians, frames: Tensor, camera: OrbitCamera) -> Fit:
    """Compare moving Gaussians [T, N] with the frames [T, S, S, 4] uint8 of a camera, at no more than 256 pixels."""
    frames = resized(frames, min(frames.shape[1], LARGEST_SIDE))
    device = gaussians.means.device
    viewmat = torch.from_numpy(camera.viewmat).float()[None].to(device)
    K = torch.from_numpy(camera.K).float()[None].to(device)
    rows = [
        _rows(gaussians[part], frames[part].to(device), viewmat, K)
        for part in (slice(start, start + _FRAMES_AT_ONCE) for start in range(0, len(frames), _FRAMES_AT_ONCE))
    ]
    color_error, iou, psnr = torch.cat(rows, dim=1)
    return Fit(color_error.mean().item(), iou.mean().item(), psnr.nanmean().item())


def _rows(gaussians: Gaussians, frames: Tensor, viewmat: Tensor, K: Tensor) -> Tensor:
    """Return colour error, IoU and PSNR of each frame, [3, T] float64 on the CPU."""
    views = draw_views(gaussians, viewmat, K, frames.shape[1])
    rgb, mask = views.rgb[:, 0].clamp(0.0, 1.0), views.alpha[:, 0] > 0.5
    values = frames.float() / 255.0
    alpha = values[..., 3:]
    truth, truth_mask = values[..., :3] * alpha + 1.0 - alpha, alpha[..., 0] > 0.5
    union = (mask | truth_mask).sum((1, 2))
    either = (views.alpha[:, 0] > 0.0) | (alpha[..., 0] > 0.0)
    differences = ((rgb - truth).abs().mean(-1) * either).sum((1, 2)) / either.sum((1, 2)).clamp(min=1)
    overlap = torch.where(union > 0, (mask & truth_mask).sum((1, 2)) / union.clamp(min=1), 1.0)
    psnr = cast(Tensor, psnr_object(ImagePairs(rgb, truth, alpha[..., 0] > 0.0)))
    return torch.stack([differences.double(), overlap.double(), psnr.double()]).cpu()
