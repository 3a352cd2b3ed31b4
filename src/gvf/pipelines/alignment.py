"""Finding the camera of an image of known Gaussians (Appendix A.2): azimuth, elevation, distance, field of view and shift."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from gvf.errors import UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import Array, OrbitCamera
from gvf.pipelines.alignment_confidence import RIVAL_DISTANCE, confidence, fits_as_well
from gvf.pipelines.alignment_features import feature_losses, require_features
from gvf.pipelines.alignment_refinement import STEPS, Refined, refine
from gvf.pipelines.alignment_search import Search, search
from gvf.pipelines.alignment_target import Target
from gvf.pipelines.alignment_views import thinned
from gvf.progress import Progress

AZIMUTHS = np.arange(0.0, 360.0, 5.0)
ELEVATIONS = np.array([-20.0, 0.0, 20.0, 40.0])
UNSURE = 0.5  # confidence below which the user is warned
_MOST, _MOST_COARSE = 40_000, 8_000  # Gaussians
_COARSE_SIZE, _FINE_SIZE = 48, 96  # pixels of the canvas
_STARTS, _START_DISTANCE, _COARSE_ITERATIONS = 6, 20.0, 10
_FINALISTS, _SAME_POSE, _FINE_ITERATIONS = 3, 3.0, 10


@dataclass(frozen=True)
class AlignmentSettings:
    """Settings of the alignment.

    azimuth, elevation: degrees; fov: full angle of the square image, degrees; None is found out. features: `clip` adds the
    difference of CLIP's image features to the loss, as the paper's release does; its weights must be on this machine.
    """

    azimuth: float | None = None
    elevation: float | None = None
    fov: float | None = None
    features: Literal["clip"] | None = None

    def __post_init__(self) -> None:
        if self.azimuth is not None and not math.isfinite(self.azimuth):
            raise UserError(f"align: azimuth must be a number of degrees, found {self.azimuth}.")
        if self.elevation is not None and not -90.0 <= self.elevation <= 90.0:
            raise UserError(f"align: elevation must be within -90 and 90 degrees, found {self.elevation}.")
        if self.fov is not None and not 1.0 <= self.fov <= 150.0:
            raise UserError(f"align: fov must be within 1 and 150 degrees, found {self.fov}.")
        if self.features not in (None, "clip"):
            raise UserError(f"align: features must be 'clip' or None, found {self.features!r}.")


@dataclass(frozen=True)
class Rival:
    """Another view that fits nearly as well. azimuth, elevation: degrees. loss: as `Alignment.loss`."""

    azimuth: float
    elevation: float
    loss: float


@dataclass(frozen=True)
class Alignment:
    """A camera whose image of the Gaussians fits an image.

    confidence: in [0, 1], the estimated probability that the azimuth is within 10 degrees of the right one; 1 where the user
    gave it. ambiguous: whether a rival, a view more than 30 degrees away, fits nearly as well. rivals: those that do.
    loss: 0 for a perfect fit. azimuths, losses: the best loss of the coarse search at each azimuth. seconds: how long it took.
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
    if settings.features is not None:
        require_features()
    target = Target.of(image)
    gaussians = thinned(gaussians.detach(), _MOST)
    with progress.step("align", total=3, unit="stages") as step:
        found, curve = _searched(gaussians, target, settings)
        step.advance()
        refined = _refined(gaussians, target, _starts(found, curve), settings)
        step.advance(2)
        camera = _camera(refined.poses[0], target)
        rivals = [
            Rival(_wrapped(pose[0]), float(pose[1]), float(loss))
            for pose, loss in zip(refined.poses, refined.losses)
            if _apart(pose[0], refined.poses[0, 0]) > RIVAL_DISTANCE
        ]
        loss = float(refined.losses[0])
        sure = 1.0 if settings.azimuth is not None else confidence(loss, _rival_loss(rivals, found, curve, refined))
        step.note(f"azimuth {camera.azimuth:.0f}, elevation {camera.elevation:.0f}, confidence {sure:.2f}")
    close = tuple(rival for rival in rivals if fits_as_well(loss, rival.loss))
    if settings.azimuth is None:
        _warn(camera, sure, close, progress)
    return Alignment(
        camera=camera,
        confidence=sure,
        ambiguous=bool(close),
        rivals=close,
        loss=loss,
        azimuths=tuple(found.poses[0, :, 0].tolist()),
        losses=tuple(curve.tolist()),
        seconds=time.perf_counter() - started,
    )


def _searched(gaussians: Gaussians, target: Target, settings: AlignmentSettings) -> tuple[Search, Array]:
    """Return the candidates of the coarse search, and the loss [A] of the best one at each azimuth."""
    azimuths = AZIMUTHS if settings.azimuth is None else np.array([settings.azimuth])
    elevations = ELEVATIONS if settings.elevation is None else np.array([settings.elevation])
    coarse, canvas = thinned(gaussians, _MOST_COARSE), target.canvas(_COARSE_SIZE, gaussians.means.device)
    found = search(coarse, canvas, azimuths, elevations)
    curve = found.losses.min(0)
    if settings.features is not None:
        best = found.poses[found.losses.argmin(0), np.arange(len(curve))]
        curve = curve + feature_losses(coarse, canvas, best)
    return found, curve


def _refined(gaussians: Gaussians, target: Target, starts: Array, settings: AlignmentSettings) -> Refined:
    """Return the refined poses [S, 6] and losses [S] of a few starts, the best first."""
    device, directions = gaussians.means.device, _directions(settings)
    poses = _with_fov(starts, settings, target)
    for size, most, iterations in (
        (_COARSE_SIZE, _MOST_COARSE, _COARSE_ITERATIONS),
        (_FINE_SIZE, _MOST, _FINE_ITERATIONS),
    ):
        canvas, drawn = target.canvas(size, device), thinned(gaussians, most)
        refined = refine(drawn, canvas, poses, directions, iterations)
        poses = refined.poses[_finalists(refined)]
    losses = refined.losses
    if settings.features is not None:
        losses = losses + feature_losses(drawn, canvas, refined.poses)
    order = np.argsort(losses)
    return Refined(refined.poses[order], losses[order])


def _rival_loss(rivals: Sequence[Rival], found: Search, curve: Array, refined: Refined) -> float:
    """Return the loss of the best rival; where all starts met, the coarse search's, improved as much as the best view was."""
    if rivals:
        return min(rival.loss for rival in rivals)
    far = [_apart(azimuth, refined.poses[0, 0]) > RIVAL_DISTANCE for azimuth in found.poses[0, :, 0]]
    improvement = float(refined.losses[0]) / max(float(curve.min()), 1e-6)
    return float(curve[far].min(initial=np.inf)) * min(improvement, 1.0) if any(far) else math.inf


def _warn(camera: OrbitCamera, sure: float, close: Sequence[Rival], progress: Progress) -> None:
    advice = "If preview.mp4 shows the object from the wrong side, set --azimuth (0 is the front)."
    if close:
        others = ", ".join(f"{rival.azimuth:.0f}" for rival in close)
        progress.warn(
            f"the object looks much the same from azimuth {camera.azimuth:.0f}, which was chosen, and from {others}. {advice}"
        )
    elif sure < UNSURE:
        progress.warn(
            f"no view of the object fits the video well; azimuth {camera.azimuth:.0f} was chosen with confidence {sure:.2f}. "
            f"{advice}"
        )


def _directions(settings: AlignmentSettings) -> Array:
    """Return the directions [D, 6] in which poses may be refined."""
    directions = np.diag(STEPS)
    if settings.fov is not None:  # scale and distance change together, so that the focal length stays
        directions[2, 3] = -directions[2, 2]
    known = [settings.azimuth, settings.elevation, None, settings.fov, None, None]
    return directions[[value is None for value in known]]


def _starts(found: Search, curve: Array) -> Array:
    """Return the poses [S, 6] to start from: the best elevation of each of the best azimuths, a few steps apart."""
    azimuths = found.poses[0, :, 0]
    chosen: list[int] = []
    for index in np.argsort(curve):
        if all(_apart(azimuths[index], azimuths[other]) >= _START_DISTANCE for other in chosen):
            chosen.append(int(index))
        if len(chosen) == _STARTS:
            break
    return found.poses[found.losses[:, chosen].argmin(0), chosen]


def _with_fov(poses: Array, settings: AlignmentSettings, target: Target) -> Array:
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
        one, others = refined.poses[index], refined.poses[chosen]
        if all(_apart(one[0], other[0]) > _SAME_POSE or abs(one[1] - other[1]) > _SAME_POSE for other in others):
            chosen.append(index)
    rivals = [i for i in chosen if _apart(refined.poses[i, 0], refined.poses[order[0], 0]) > RIVAL_DISTANCE]
    return list(dict.fromkeys([*chosen[: _FINALISTS - 1], *rivals[:1], *chosen]))[:_FINALISTS]


def _apart(azimuth: float, other: float) -> float:
    """Return the angle between two azimuths, degrees."""
    return abs(_wrapped(azimuth - other))


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
