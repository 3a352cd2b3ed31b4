"""Finding the camera of an image of known Gaussians (Appendix A.2): azimuth, elevation, distance, field of view and shift."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import Array, OrbitCamera
from gvf.pipelines.alignment_refinement import STEPS, Refined, refine
from gvf.pipelines.alignment_search import Search, search
from gvf.pipelines.alignment_target import Target
from gvf.pipelines.alignment_views import thinned
from gvf.progress import Progress

AZIMUTHS = np.arange(0.0, 360.0, 5.0)
ELEVATIONS = np.array([-20.0, 0.0, 20.0, 40.0])
RIVAL_DISTANCE = 30.0  # degrees of azimuth from which on another fit is a rival
_MOST, _MOST_COARSE = 40_000, 8_000  # Gaussians
_COARSE_SIZE, _FINE_SIZE = 48, 96  # pixels of the canvas
_STARTS, _START_DISTANCE, _COARSE_ITERATIONS = 6, 20.0, 10
_FINALISTS, _SAME_POSE, _FINE_ITERATIONS = 3, 3.0, 10


@dataclass(frozen=True)
class AlignmentSettings:
    """What is known of the camera, and how thoroughly the rest is searched.

    azimuth, elevation: degrees; fov: full angle of the image, degrees; None is found out.
    """

    azimuth: float | None = None
    elevation: float | None = None
    fov: float | None = None


@dataclass(frozen=True)
class Rival:
    """Another view that fits. azimuth, elevation: degrees. loss: as `Alignment.loss`."""

    azimuth: float
    elevation: float
    loss: float


@dataclass(frozen=True)
class Alignment:
    """A camera whose image of the Gaussians fits an image.

    confidence: in [0, 1]. ambiguous: whether a rival more than 30 degrees away fits as well. loss: 0 for a perfect fit.
    azimuths, losses: the best loss of the coarse search at each azimuth. seconds: how long it took.
    """

    camera: OrbitCamera
    confidence: float
    ambiguous: bool
    rivals: tuple[Rival, ...]
    loss: float
    azimuths: tuple[float, ...]
    losses: tuple[float, ...]
    seconds: float


def align(gaussians: Gaussians, image: Tensor, settings: AlignmentSettings, progress: Progress) -> Alignment:
    """Find the camera from which Gaussians [N] look most like the object in an image.

    image: [S, S, 4] uint8, straight alpha; what is transparent is not the object. Views from all around are compared first;
    from the best azimuths, azimuth, elevation, distance, scale and shift are refined together. Raises UserError when the
    image shows no object.
    """
    started = time.perf_counter()
    device = gaussians.means.device
    target = Target.of(image)
    gaussians = thinned(gaussians.detach(), _MOST)
    azimuths, elevations, directions = _freedom(settings)
    with progress.step("align", total=len(azimuths) + _STARTS + _FINALISTS, unit="views") as step:
        coarse = thinned(gaussians, _MOST_COARSE)
        canvas = target.canvas(_COARSE_SIZE, device)
        found = search(coarse, canvas, azimuths, elevations)
        step.advance(len(azimuths))
        starts = _held(_best(found), settings, target)
        refined = refine(coarse, canvas, starts, directions, _COARSE_ITERATIONS)
        step.advance(_STARTS)
        finalists = refined.poses[_finalists(refined)]
        final = refine(gaussians, target.canvas(_FINE_SIZE, device), finalists, directions, _FINE_ITERATIONS)
        step.advance(_FINALISTS)
        order = np.argsort(final.losses)
        poses, losses = final.poses[order], final.losses[order]
        rivals = tuple(
            Rival(_wrapped(pose[0]), float(pose[1]), float(loss))
            for pose, loss in zip(poses[1:], losses[1:])
            if abs(_wrapped(pose[0] - poses[0, 0])) > RIVAL_DISTANCE
        )
        camera = _camera(poses[0], target)
        step.note(f"azimuth {camera.azimuth:.0f}, elevation {camera.elevation:.0f}")
    return Alignment(
        camera=camera,
        confidence=1.0,
        ambiguous=False,
        rivals=rivals,
        loss=float(losses[0]),
        azimuths=tuple(azimuths.tolist()),
        losses=tuple(found.losses.min(0).tolist()),
        seconds=time.perf_counter() - started,
    )


def _freedom(settings: AlignmentSettings) -> tuple[Array, Array, Array]:
    """Return the azimuths and elevations of the search, degrees, and the directions [D, 6] in which poses may be refined."""
    azimuths, elevations, directions = AZIMUTHS, ELEVATIONS, np.diag(STEPS)
    if settings.fov is not None:  # scale and distance change together, so that the focal length stays
        directions[2, 3] = -directions[2, 2]
        directions = np.delete(directions, 3, axis=0)
    if settings.elevation is not None:
        elevations, directions = np.array([settings.elevation]), np.delete(directions, 1, axis=0)
    if settings.azimuth is not None:
        azimuths, directions = np.array([settings.azimuth]), np.delete(directions, 0, axis=0)
    return azimuths, elevations, directions


def _best(found: Search) -> Array:
    """Return the poses [S, 6] to start from: the best elevation of each of the best azimuths, a few steps apart."""
    losses = found.losses.min(0)
    chosen: list[int] = []
    for index in np.argsort(losses):
        azimuth = found.poses[0, index, 0]
        if all(abs(_wrapped(azimuth - found.poses[0, other, 0])) >= _START_DISTANCE for other in chosen):
            chosen.append(int(index))
        if len(chosen) == _STARTS:
            break
    return found.poses[found.losses[:, chosen].argmin(0), chosen]


def _held(poses: Array, settings: AlignmentSettings, target: Target) -> Array:
    """Return poses with the field of view that the settings give, if they do; the scale stays, the distance changes."""
    if settings.fov is None:
        return poses
    focal = 0.5 / math.tan(math.radians(settings.fov) / 2.0) / target.side
    return np.concatenate([poses[:, :2], np.log(focal) - poses[:, 3:4], poses[:, 3:]], axis=1)


def _finalists(refined: Refined) -> list[int]:
    """Return the indices of the poses to refine further: the best ones, of those that have met only one, and the best rival."""
    order = [int(index) for index in np.argsort(refined.losses)]
    chosen: list[int] = []
    for index in order:
        changes = [refined.poses[index] - refined.poses[other] for other in chosen]
        if all(max(abs(_wrapped(change[0])), abs(change[1])) > _SAME_POSE for change in changes):
            chosen.append(index)
    rivals = [i for i in chosen if abs(_wrapped(refined.poses[i, 0] - refined.poses[order[0], 0])) > RIVAL_DISTANCE]
    return list(dict.fromkeys([*chosen[: _FINALISTS - 1], *rivals[:1], *chosen]))[:_FINALISTS]


def _wrapped(degrees: float) -> float:
    """Return an angle in [-180, 180)."""
    return float((degrees + 180.0) % 360.0 - 180.0)


def _camera(pose: Array, target: Target) -> OrbitCamera:
    """Return the camera of the whole image, given that of the target's canvas."""
    azimuth, elevation, log_radius, log_scale, x, y = (float(value) for value in pose)
    focal = math.exp(log_radius + log_scale) * target.side
    shift = (
        target.left + target.side * (0.5 + x) - 0.5,
        target.top + target.side * (0.5 + y) - 0.5,
    )
    return OrbitCamera(
        _wrapped(azimuth), elevation, math.exp(log_radius), math.degrees(2 * math.atan(0.5 / focal)), shift
    )
