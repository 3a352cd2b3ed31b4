"""A camera that circles moving Gaussians once: the quickest look at a result from all sides."""

from __future__ import annotations

import math

import numpy as np

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera
from gvf.rendering.moments import draw_moments

ELEVATION, RADIUS, FOV = 15.0, 2.0, 49.1  # degrees, object units, degrees
_WHITE = (1.0, 1.0, 1.0)


def turntable_cameras(num_images: int) -> list[OrbitCamera]:
    """Return cameras evenly spaced over one turn, from the front towards +x."""
    return [OrbitCamera(index * 360.0 / num_images, ELEVATION, RADIUS, FOV) for index in range(num_images)]


def turntable_length(num_frames: int, frames_per_second: float, seconds: float) -> int:
    """Return how many images one turn of at least `seconds` has when the motion, too, ends where it began."""
    return num_frames * max(1, math.ceil(round(seconds * frames_per_second / num_frames, 6)))


def turntable(gaussians: Gaussians, size: int, num_images: int) -> np.ndarray:
    """Render Gaussians [T, N, ...] over white; their motion repeats during the turn.

    Returns uint8 [num_images, size, size, 3].
    """
    frames = [index % len(gaussians.means) for index in range(num_images)]
    return np.stack(list(draw_moments(gaussians, frames, turntable_cameras(num_images), size, background=_WHITE)))
