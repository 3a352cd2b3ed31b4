"""The fine stage of the alignment: Levenberg-Marquardt from several starts at once, all views of an iteration in one call."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import Array
from gvf.pipelines.alignment_target import differences, losses
from gvf.pipelines.alignment_views import Poses, draw

STEPS = np.array([1.5, 1.5, 0.08, 0.02, 0.01, 0.01])  # of the finite differences, by `PARAMETERS`
LOWEST, HIGHEST = -50.0, 75.0  # elevations, degrees
_USUAL = np.array([0.0, 10.0, np.log(2.2), 0.0, 0.0, 0.0])  # what cameras of videos are like, by `PARAMETERS`
_RATES = np.array(
    [0.0, 1 / 30.0, 1 / 0.3, 0.0, 0.0, 0.0]
)  # 1 / spread around it; perspective alone tells distances badly
_WEIGHT = 0.01  # loss of being off by one spread
_SOFTENING = 0.05  # differences below this count as squares, above as absolute values
_FIRST_DAMPING = 0.01


@dataclass(frozen=True)
class Refined:
    """Poses [S, 6] and their losses [S], those of `alignment_target.losses`."""

    poses: Array
    losses: Array


def refine(gaussians: Gaussians, target: Tensor, poses: Array, directions: Array, iterations: int) -> Refined:
    """Improve poses [S, 6] of the target's canvas [P, P, 4]; none gets worse.

    directions: [D, 6], in which poses may change; a finite difference has this length. The views of all starts and
    directions of an iteration are drawn in one call. Differences count by their absolute values (iteratively reweighted
    least squares).
    """
    if not len(directions):
        images = draw(gaussians, Poses(poses), target.shape[0])
        return Refined(poses, losses(images, target).double().cpu().numpy())
    trial, damping = poses.copy(), np.full(len(poses), _FIRST_DAMPING)
    best, best_objective = poses.copy(), np.full(len(poses), np.inf)
    best_losses = np.full(len(poses), np.inf)
    hessians = np.zeros((len(poses), len(directions), len(directions)))
    gradients = np.zeros((len(poses), len(directions)))
    offsets = np.concatenate([np.zeros((1, 6)), directions])
    lowest, highest = min(LOWEST, poses[:, 1].min()), max(HIGHEST, poses[:, 1].max())
    for _ in range(iterations):
        images = draw(gaussians, Poses(trial[:, None] + offsets), target.shape[0])
        found = losses(images[:, 0], target).double().cpu().numpy()
        objective = found + _prior(trial)
        better = objective < best_objective
        best[better], best_losses[better], best_objective[better] = trial[better], found[better], objective[better]
        if better.any():
            data = _normal_equations(images[torch.from_numpy(better).to(images.device)], target)
            prior = _prior_equations(trial[better], directions)
            hessians[better], gradients[better] = data[0] + prior[0], data[1] + prior[1]
        damping = np.where(better, damping * 0.3, damping * 5.0)
        diagonal = np.einsum("sii->si", hessians) + 1e-6
        damped = hessians + damping[:, None, None] * np.eye(len(directions)) * diagonal[:, None]
        change = -np.linalg.solve(damped + 1e-9 * np.eye(len(directions)), gradients[..., None])[..., 0]
        trial = best + np.clip(change, -6.0, 6.0) @ directions
        trial[:, 1] = trial[:, 1].clip(lowest, highest)
    return Refined(best, best_losses)


def _normal_equations(images: Tensor, target: Tensor) -> tuple[Array, Array]:
    """Return J^T W J [S, D, D] and J^T W r [S, D] of views [S, 1 + D, P, P, 4]: the current ones, then one per direction."""
    residuals = differences(images[:, 0], target) * residual_weights(images.device)
    union = torch.maximum(images[:, 0, ..., 3], target[..., 3]).sum((-1, -2)).clamp(min=1e-6)
    weights = (residuals.square() + _SOFTENING**2).rsqrt() / union[:, None, None, None]
    slopes = differences(images[:, 1:], images[:, :1]) * residual_weights(images.device)
    flat, weighted = slopes.flatten(2), (slopes * weights[:, None]).flatten(2)
    hessian = weighted @ flat.transpose(1, 2)
    gradient = (weighted @ residuals.flatten(1)[..., None])[..., 0]
    return hessian.double().cpu().numpy(), gradient.double().cpu().numpy()


def residual_weights(device: torch.device) -> Tensor:
    """Return how much the four differences of a pixel count, as in `losses`."""
    return torch.tensor([1.0, 1.0, 1.0, 3.0], device=device) / 3.0


def _prior(poses: Array) -> Array:
    """Return what unusual elevations and distances add to the losses, [S]."""
    return _WEIGHT * (((poses - _USUAL) * _RATES) ** 2).sum(-1)


def _prior_equations(poses: Array, directions: Array) -> tuple[Array, Array]:
    """Return the prior's part of J^T W J, [D, D], and of J^T W r, [S, D]."""
    slopes = directions * _RATES
    return 2 * _WEIGHT * slopes @ slopes.T, 2 * _WEIGHT * ((poses - _USUAL) * _RATES) @ slopes.T
