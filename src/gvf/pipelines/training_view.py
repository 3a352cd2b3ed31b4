"""Resample the frames of a video as the training camera would show them."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from gvf.geometry.camera import TRAINING_CAMERA, OrbitCamera, fov_of_part
from gvf.geometry.resampling import resampled


def training_view(frames: Tensor, camera: OrbitCamera, size: int) -> Tensor:
    """Return frames in which the object lies where the training camera (`TRAINING_CAMERA`) shows it.

    frames: [T, S, S, 4] uint8, straight alpha, seen by `camera`. Returns [T, size, size, 4] uint8: the object's origin in the
    centre, its scale there that of the training camera. What a camera of another distance shows in perspective stays.
    """
    source = frames.shape[-2]
    side = source * zoom(camera)
    left, top = (source * (0.5 + offset) - side / 2.0 for offset in camera.shift)
    return resampled(frames, left, top, side, size)


def camera_of_view(camera: OrbitCamera) -> OrbitCamera:
    """Return the camera of what `training_view` returns: it stands where `camera` does, and has its perspective."""
    return replace(camera, fov=fov_of_part(camera.fov, zoom(camera)), shift=(0.0, 0.0))


def zoom(camera: OrbitCamera) -> float:
    """Return the side of the training camera's image in shares of the camera's image, as measured at the object's origin."""
    return _scale(camera.fov, camera.radius) / _scale(TRAINING_CAMERA.fov, TRAINING_CAMERA.radius)


def _scale(fov: float, radius: float) -> float:
    """Return the length of one object unit at the origin, in shares of the image's size."""
    return 0.5 / math.tan(math.radians(fov) / 2.0) / radius
