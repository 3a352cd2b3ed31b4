"""The coarse stage of the alignment: views from all around, each zoomed and shifted onto the input's mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import Array, intrinsics
from gvf.pipelines.alignment_target import losses
from gvf.pipelines.alignment_views import Poses, draw

START_RADIUS = 2.0  # the training camera's
_FOV = 49.1
_SIZE = 64  # pixels of a view


@dataclass(frozen=True)
class Search:
    """Candidates on a grid. poses: [E, A, 6], cameras of the target's canvas. losses: [E, A]."""

    poses: Array
    losses: Array


def search(gaussians: Gaussians, target: Tensor, azimuths: Array, elevations: Array) -> Search:
    """Compare views from every azimuth [A] and elevation [E] with the target's canvas [P, P, 4].

    Every view is zoomed and shifted so that its mask has the area and the centroid of the target's: the object's size and
    place in the input do not matter.
    """
    grid = np.stack(np.meshgrid(elevations, azimuths, indexing="ij"), axis=-1)
    scale = intrinsics(_FOV)[0, 0] / START_RADIUS
    poses = np.zeros((*grid.shape[:2], 6))
    poses[..., 0], poses[..., 1] = grid[..., 1], grid[..., 0]
    poses[..., 2], poses[..., 3] = np.log(START_RADIUS), np.log(scale)
    images = draw(gaussians, Poses(poses), _SIZE).flatten(0, 1)
    zooms, shifts = _placement(images, target)
    placed = _placed(images, zooms, shifts, target.shape[0])
    found = losses(placed, target).view(grid.shape[:2]).double().cpu().numpy()
    zooms_, shifts_ = zooms.double().cpu().numpy(), shifts.double().cpu().numpy()
    poses[..., 3] += np.log(zooms_).reshape(grid.shape[:2])
    poses[..., 4:] = shifts_.reshape(*grid.shape[:2], 2)
    return Search(poses, found)


def _placement(images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the zoom [C] of each view and the shift [C, 2] of its centre, in shares, that bring its mask onto the target's."""
    area, center = _moments(images[..., 3])
    target_area, target_center = _moments(target[..., 3][None])
    zooms = (target_area / area).sqrt()
    return zooms, target_center - zooms[:, None] * center


def _moments(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the areas [C] and centroids [C, 2] (x, y from the centre) of soft masks [C, P, P], in shares of the image."""
    size = masks.shape[-1]
    offsets = (torch.arange(size, device=masks.device) + 0.5) / size - 0.5
    total = masks.sum((-1, -2)).clamp(min=1e-6)
    x = (masks.sum(-2) * offsets).sum(-1) / total
    y = (masks.sum(-1) * offsets).sum(-1) / total
    return total / size**2, torch.stack([x, y], dim=-1)


def _placed(images: Tensor, zooms: Tensor, shifts: Tensor, size: int) -> Tensor:
    """Return views [C, P, P, 4] zoomed about their centres and shifted, as [C, size, size, 4]."""
    matrices = torch.zeros(len(images), 2, 3, device=images.device)
    matrices[:, 0, 0] = matrices[:, 1, 1] = 1.0 / zooms
    matrices[:, :, 2] = -2.0 * shifts / zooms[:, None]
    grid = F.affine_grid(matrices, [len(images), 4, size, size], align_corners=False)
    return F.grid_sample(images.movedim(-1, 1), grid, mode="bilinear", align_corners=False).movedim(1, -1)
