"""Finding the camera of an image of known Gaussians (Appendix A.2): azimuth, elevation, distance, field of view and shift."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import Array, OrbitCamera
from gvf.pipelines.alignment_search import search
from gvf.pipelines.alignment_target import Target
from gvf.pipelines.alignment_views import thinned
from gvf.progress import Progress


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

    image: [S, S, 4] uint8, straight alpha; what is transparent is not the object. Raises UserError when it shows none.
    """
    started = time.perf_counter()
    gaussians = gaussians.detach()
    target = Target.of(image)
    coarse = thinned(gaussians, 10_000)
    azimuths = np.arange(0.0, 360.0, 5.0) if settings.azimuth is None else np.array([settings.azimuth])
    elevations = np.array([-15.0, 0.0, 15.0, 30.0]) if settings.elevation is None else np.array([settings.elevation])
    with progress.step("align", total=1, unit="search") as step:
        found = search(coarse, target.canvas(48, gaussians.means.device), azimuths, elevations)
        step.advance()
    best = np.unravel_index(found.losses.argmin(), found.losses.shape)
    return Alignment(
        camera=_camera(found.poses[best], target),
        confidence=1.0,
        ambiguous=False,
        rivals=(),
        loss=float(found.losses[best]),
        azimuths=tuple(azimuths.tolist()),
        losses=tuple(found.losses.min(0).tolist()),
        seconds=time.perf_counter() - started,
    )


def _camera(pose: Array, target: Target) -> OrbitCamera:
    """Return the camera of the whole image, given that of the target's canvas."""
    azimuth, elevation, log_radius, log_scale, x, y = (float(value) for value in pose)
    focal = math.exp(log_radius + log_scale) * target.side
    shift = (
        target.left + target.side * (0.5 + x) - 0.5,
        target.top + target.side * (0.5 + y) - 0.5,
    )
    azimuth = (azimuth + 180.0) % 360.0 - 180.0
    return OrbitCamera(azimuth, elevation, math.exp(log_radius), math.degrees(2 * math.atan(0.5 / focal)), shift)
