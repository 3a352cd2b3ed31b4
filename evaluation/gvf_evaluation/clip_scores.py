"""Score one held-out clip of this pipeline: every method's renders and Gaussians against the ground truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gvf.data.clips import load_points, load_views, on_white
from gvf.errors import UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.methods import INTERPOLATED, OWN_OBJECTS, STATIC
from gvf.metrics.displacement import relative_error
from gvf.metrics.metric import ImagePairs, Metric, PointMetric
from gvf.storage.files import load_npz, load_tensors
from gvf.workspace import Workspace
from gvf_evaluation.scoring import FramePairs, FrameScores, score_frames


@dataclass(frozen=True)
class ClipScores:
    """The scores of one clip by method.

    over_time: metric -> value of every frame, [T]. displacement_errors: of the Gaussians, NaN where nothing moves. features:
    set metric -> [2, V, D]. absent: metric -> reason, of all methods. shape: frames, views, image size.
    """

    over_time: dict[str, dict[str, np.ndarray]]
    displacement_errors: dict[str, float]
    features: dict[str, Mapping[str, np.ndarray]]
    absent: dict[str, str]
    shape: tuple[int, int, int]


def score_clip(
    workspace: Workspace, clip_id: str, methods: Sequence[str], metrics: Sequence[Metric], device: torch.device
) -> ClipScores:
    """Score every method on a clip. Raises UserError when a prediction is missing, ValueError when shapes differ."""
    rgba = load_views(workspace, clip_id, "eval").rgba.to(device)
    path = workspace.predictions / f"{clip_id}.npz"
    arrays = load_npz(path)
    over_time: dict[str, dict[str, np.ndarray]] = {}
    features: dict[str, Mapping[str, np.ndarray]] = {}
    absent: dict[str, str] = {}
    known: dict[str, np.ndarray] = {}
    for method in methods:
        if f"{method}_rgb" not in arrays:
            raise UserError(f"{path}: has no array '{method}_rgb'. Run `dvc repro sample` again.")
        prediction = torch.from_numpy(arrays[f"{method}_rgb"]).to(device)
        scores: FrameScores = score_frames(clip_views(prediction, rgba), metrics, device, known)
        known = {name: vectors[1] for name, vectors in scores.features.items()}
        over_time[method], features[method] = dict(scores.over_time), scores.features
        absent |= scores.absent
    frames, views, size = rgba.shape[:3]
    canonical, centres = _centres(workspace, clip_id, methods, frames, device)
    for metric in metrics:
        if isinstance(metric, PointMetric):
            points = load_points(workspace, clip_id).to(device)
            for method, value in centres.items():
                over_time[method][metric.name] = metric.compute(value, points).double().cpu().numpy()
    errors = displacement_errors(canonical, centres)
    return ClipScores(over_time, errors, features, absent, (frames, views, size))


def clip_views(prediction: Tensor, ground_truth: Tensor) -> Iterator[list[FramePairs]]:
    """Yield every view as one batch of frames.

    prediction: uint8 [T, V, H, W, 3] over white. ground_truth: uint8 [T, V, H, W, 4] with straight alpha. Raises
    ValueError when their shapes differ.
    """
    if prediction.dim() != 5 or prediction.shape[:-1] != ground_truth.shape[:-1]:
        raise ValueError(
            f"prediction {tuple(prediction.shape)} and ground truth {tuple(ground_truth.shape)} are not both [T, V, H, W, C]"
        )
    for predicted, rgba in zip(prediction.unbind(1), ground_truth.unbind(1)):
        images = ImagePairs(predicted.float() / 255.0, on_white(rgba), rgba[..., 3] > 0)
        video = tuple([*(255.0 * frames.cpu().numpy())] for frames in images.unit)
        yield [FramePairs(images, (video[0], video[1]))]


def displacement_errors(canonical: Tensor, centres: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the displacement error of every method, relative to the motion of `interpolated`.

    It is NaN if that does not move, and of `OWN_OBJECTS`, whose Gaussians are others. canonical: [N, 3]. centres: of every method,
    [T, N, 3].
    """
    motion = centres[INTERPOLATED] - canonical
    if not motion.any():
        return dict.fromkeys(centres, math.nan)
    return {
        method: math.nan if method in OWN_OBJECTS else relative_error(value - canonical, motion)
        for method, value in centres.items()
    }


def _centres(
    workspace: Workspace, clip_id: str, methods: Sequence[str], num_frames: int, device: torch.device
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the centres of a clip's canonical Gaussians [N, 3], and of every method's moving ones [T, N, 3]."""
    tensors = load_tensors(workspace.predictions / f"{clip_id}.safetensors", device.type)
    canonical = Gaussians.from_activated14(tensors["canonical"]).means
    still = canonical.expand(num_frames, -1, -1)
    return canonical, {name: still if name == STATIC else tensors[f"{name}_means"] for name in methods}
