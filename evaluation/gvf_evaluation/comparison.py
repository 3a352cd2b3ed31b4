"""Score a generated asset, and the references `static` and `interpolated`, against the ground-truth animation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import CONSISTENT4D_ORBIT, intrinsics, orbit
from gvf.geometry.interpolation import mesh_guide
from gvf.geometry.similarity import Similarity
from gvf.methods import INTERPOLATED, STATIC
from gvf.metrics.displacement import relative_error, relative_errors
from gvf.metrics.metric import ImageMetric, PointMetric
from gvf.metrics.table import METRICS
from gvf.models.variation.joint_vae import displace
from gvf.progress import Progress, Step
from gvf.rendering.mesh_views import MeshRenderer
from gvf.rendering.rasterize import rasterize
from gvf_evaluation.clip_scores import clip_views
from gvf_evaluation.held_out import DISPLACEMENT_ERROR, gap_closed
from gvf_evaluation.scoring import FramePairs, FrameScores, mean, score_frames
from gvf_evaluation.true_motion import TrueMotion

ASSET = "asset"
METHODS = (STATIC, ASSET, INTERPOLATED)
NUM_NEIGHBORS, BETA = 8, 7.0  # Eq. 3-4; Table 6
IMAGE_METRICS = tuple(metric for metric in METRICS.values() if isinstance(metric, ImageMetric))
POINT_METRICS = tuple(metric for metric in METRICS.values() if isinstance(metric, PointMetric))
_FRAMES_AT_ONCE = 8  # of one view: 100 MB at 512 x 512


@dataclass(frozen=True)
class Candidate:
    """An asset to score.

    moving: Gaussians [T, N]. canonical: Gaussians [N]. low_pass, compensate: as it is rendered. scale: factor of the
    Gaussians' own scales, 1 unless the means were brought into another unit.
    """

    moving: Gaussians
    canonical: Gaussians
    low_pass: float
    compensate: bool
    scale: float = 1.0


@dataclass(frozen=True)
class Comparison:
    """Scores of every method.

    over_time: method -> metric -> value of every frame, mean over views, [T]. means: method -> metric -> mean over frames;
    the displacement error's is that of the whole motion. absent: metric -> what is missing and how to get it.
    """

    over_time: Mapping[str, Mapping[str, np.ndarray]]
    means: Mapping[str, Mapping[str, float]]
    absent: Mapping[str, str]

    @property
    def gap_closed(self) -> float:
        """Return (asset - static) / (interpolated - static) in PSNR; NaN when there is hardly a gap to close."""
        static, asset, interpolated = (self.means[method]["psnr"] for method in METHODS)
        return gap_closed(asset, static, interpolated)

    def facts(self) -> dict[str, Any]:
        """Return the scores ready for JSON; a value that does not exist is null."""
        return {
            "gap_closed": _number(self.gap_closed),
            "methods": {
                method: {
                    "mean": {name: _number(value) for name, value in self.means[method].items()},
                    "frames": {name: [*map(_number, values)] for name, values in self.over_time[method].items()},
                }
                for method in METHODS
            },
            "absent": dict(self.absent),
        }


def in_unit_of(truth: Similarity, candidate: Candidate, own: Similarity) -> Candidate:
    """Bring an asset into the unit of the true motion. own: from the asset's units to those of the same file."""
    upright, true_upright = own.turned("z"), truth.turned("z")
    scale = own.scale / truth.scale
    offset = (np.array(upright.center) - np.array(true_upright.center)) / truth.scale

    def moved(gaussians: Gaussians) -> Gaussians:
        means = gaussians.means.double() * scale + torch.from_numpy(offset).to(gaussians.means.device)
        return replace(gaussians, means=means.float())

    return replace(
        candidate,
        moving=moved(candidate.moving),
        canonical=moved(candidate.canonical),
        scale=candidate.scale * scale,
    )


def compare(
    candidate: Candidate, truth: TrueMotion, size: int, samples: int, device: torch.device, progress: Progress
) -> Comparison:
    """Score an asset in the four evaluation views and as points. size: of the views, pixels. samples: rays per pixel side."""
    points = truth.points.to(device)
    canonical, moving = candidate.canonical.to(device), candidate.moving.to(device)
    truth_displacements = points - truth.canonical_points.to(device)
    guide = mesh_guide(canonical.means, truth.canonical_points.to(device), num_neighbors=NUM_NEIGHBORS, beta=BETA)
    displacements = guide.interpolate(truth_displacements)
    shapes = {
        STATIC: displace(canonical, torch.zeros_like(displacements)),
        ASSET: moving,
        INTERPOLATED: displace(canonical, displacements),
    }
    images = _score_images(shapes, candidate, truth, size, samples, device, progress)
    over_time = {method: dict(images[method].over_time) for method in METHODS}
    means = {method: dict(images[method].means) for method in METHODS}
    for method, shape in shapes.items():
        for metric in POINT_METRICS:
            values = metric.compute(shape.means, points).double().cpu().numpy()
            over_time[method][metric.name], means[method][metric.name] = values, float(mean(values))
        found = shape.means - canonical.means
        over_time[method][DISPLACEMENT_ERROR] = relative_errors(found, displacements).double().cpu().numpy()
        means[method][DISPLACEMENT_ERROR] = relative_error(found, displacements)
    return Comparison(over_time, means, images[ASSET].absent)


def _score_images(
    shapes: Mapping[str, Gaussians],
    candidate: Candidate,
    truth: TrueMotion,
    size: int,
    samples: int,
    device: torch.device,
    progress: Progress,
) -> dict[str, FrameScores]:
    """Score the renders of every method, view by view, so that only the true frames of one view are in memory."""
    azimuths = CONSISTENT4D_ORBIT.azimuths
    viewmats = orbit(azimuths, CONSISTENT4D_ORBIT.elevation, CONSISTENT4D_ORBIT.radius)
    K = intrinsics(CONSISTENT4D_ORBIT.fov)
    renderer, num_frames = MeshRenderer(truth.mesh), truth.mesh.num_frames
    scores: dict[str, list[FrameScores]] = {method: [] for method in shapes}
    with progress.step("score", total=len(azimuths) * num_frames * len(shapes), unit="images") as step:
        for viewmat in viewmats:
            true = [
                renderer.render(vertices, viewmat[None], K[None], size, samples) for vertices in truth.mesh.vertices
            ]
            rgba = torch.from_numpy(np.stack(true)).to(device)
            camera = (torch.from_numpy(viewmat).float().to(device), torch.from_numpy(K).float().to(device))
            for method, shape in shapes.items():
                pairs = _pairs(shape, candidate, camera, rgba, step)
                scores[method].append(score_frames([pairs], IMAGE_METRICS, device))
    return {method: _joined(views) for method, views in scores.items()}


def _pairs(
    shape: Gaussians, candidate: Candidate, camera: tuple[Tensor, Tensor], rgba: Tensor, step: Step
) -> Iterator[FramePairs]:
    """Yield the frames of one view, some at a time. rgba: the true ones, uint8 [T, 1, H, W, 4]."""
    for start in range(0, len(rgba), _FRAMES_AT_ONCE):
        part = slice(start, start + _FRAMES_AT_ONCE)
        true = rgba[part]
        for batch in clip_views(_draw(shape[part], candidate, camera, rgba.shape[-2]), true):
            yield from batch
        step.advance(len(true))


@torch.no_grad()
def _draw(gaussians: Gaussians, candidate: Candidate, camera: tuple[Tensor, Tensor], size: int) -> Tensor:
    """Render Gaussians [t, N] over white: uint8 [t, 1, size, size, 3]."""
    viewmat, K = camera
    rgb = rasterize(
        gaussians.means,
        gaussians.quats,
        gaussians.scales * candidate.scale,
        gaussians.opacities,
        gaussians.rgb,
        viewmat[None],
        K[None],
        size,
        size,
        background=torch.ones(3, device=gaussians.means.device),
        low_pass=candidate.low_pass,
        compensate=candidate.compensate,
    ).rgb
    return (rgb.clamp(0.0, 1.0) * 255.0).round().byte()


def _joined(views: list[FrameScores]) -> FrameScores:
    absent = {name: reason for view in views for name, reason in view.absent.items()}
    names = [name for name in views[0].values if name not in absent]
    return FrameScores({name: np.concatenate([view.values[name] for view in views]) for name in names}, {}, absent)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
