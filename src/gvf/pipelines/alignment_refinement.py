"""The fine stage of the alignment: Levenberg-Marquardt from several starts at once, all views of an iteration in one call."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import Array
from gvf.pipelines.alignment_target import differences, losses
from gvf.pipelines.alignment_views import Poses, draw

STEPS = np.array([1.5, 1.5, 0.08, 0.02, 0.01, 0.01])  # of the finite differences, by `PARAMETERS`
LOWEST, HIGHEST = -60.0, 80.0  # elevations, degrees
_USUAL_RADIUS, _SPREAD, _WEIGHT = 2.2, 0.3, 0.01  # perspective alone tells the distance, and badly
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
    for _ in range(iterations):
        images = draw(gaussians, Poses(trial[:, None] + offsets), target.shape[0])
        found = losses(images[:, 0], target).double().cpu().numpy()
        objective = found + _prior(trial)
        better = objective < best_objective
        best[better], best_losses[better], best_objective[better] = trial[better], found[better], objective[better]
        if better.any():
            hessian, gradient = _normal_equations(images[torch.from_numpy(better).to(images.device)], target)
            hessians[better], gradients[better] = hessian, gradient
            _add_prior(hessians, gradients, trial, directions, better)
        damping = np.where(better, damping * 0.3, damping * 5.0)
        diagonal = np.einsum("sii->si", hessians) + 1e-6
        damped = hessians + damping[:, None, None] * np.eye(len(directions)) * diagonal[:, None]
        change = -np.linalg.solve(damped + 1e-9 * np.eye(len(directions)), gradients[..., None])[..., 0]
        trial = best + np.clip(change, -6.0, 6.0) @ directions
        trial[:, 1] = trial[:, 1].clip(LOWEST, HIGHEST)
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
    return _WEIGHT * ((poses[:, 2] - np.log(_USUAL_RADIUS)) / _SPREAD) ** 2


def _add_prior(hessians: Array, gradients: Array, poses: Array, directions: Array, chosen: NDArray[np.bool_]) -> None:
    slope = directions[:, 2] / _SPREAD
    error = (poses[chosen, 2] - np.log(_USUAL_RADIUS)) / _SPREAD
    hessians[chosen] += 2 * _WEIGHT * slope[:, None] * slope
    gradients[chosen] += 2 * _WEIGHT * error[:, None] * slope
