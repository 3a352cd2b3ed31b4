"""Axes in which a generator sees an object: turned so that the camera is at azimuth 0, and in the unit box."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.resizing import resized
from gvf.gaussians.rotation import rotated_about_z
from gvf.geometry.camera import Array, OrbitCamera, project
from gvf.geometry.similarity import unit_box


@dataclass(frozen=True)
class TrainingAxes:
    """Takes an object from its own axes to those in which generators were trained.

    azimuth: degrees by which the object is turned back, that of the camera in its own axes. center, scale: middle and longest
    side of the turned object's bounding box, own units; it becomes the unit box. Both have z up.
    """

    azimuth: float
    scale: float = 1.0
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def around(cls, points: NDArray[np.floating], azimuth: float) -> TrainingAxes:
        """Return the axes in which points [N, 3] of an object fill the unit box. Raises ValueError when they are one place."""
        box = unit_box(points @ _rotation(-azimuth).T, "z")
        return cls(azimuth, box.scale, box.center)

    def entered(self, points: NDArray[np.floating]) -> Array:
        """Return points [..., 3] of the object's own axes in these."""
        return (points @ _rotation(-self.azimuth).T - self.center) / self.scale

    def returned(self, points: NDArray[np.floating]) -> Array:
        """Return points [..., 3] of these axes in the object's own ones."""
        return (points * self.scale + self.center) @ _rotation(self.azimuth).T

    def own_viewmats(self, viewmats: Array) -> Array:
        """Return the matrices [..., 4, 4] by which cameras of these axes see the object in its own ones; depths in its units."""
        own = viewmats.copy()
        own[..., :3, :3] = viewmats[..., :3, :3] @ _rotation(-self.azimuth)
        own[..., :3, 3] = self.scale * viewmats[..., :3, 3] - viewmats[..., :3, :3] @ self.center
        return own

    def left(self, gaussians: Gaussians) -> Gaussians:
        """Return Gaussians [..., N] of these axes in the object's own ones."""
        return rotated_about_z(resized(gaussians, self.scale, self.center), self.azimuth)

    def camera(self, camera: OrbitCamera) -> OrbitCamera:
        """Return a camera of the object's own axes in these, up to the perspective of what is off the origin.

        The origin of these axes appears where it does in the given camera, at the same scale.
        """
        origin = _rotation(self.azimuth) @ self.center
        image, depth = project(origin[None], camera.viewmat, camera.K)
        (x, y), radius = image[0] - 0.5, float(depth[0]) / self.scale
        return OrbitCamera(camera.azimuth - self.azimuth, camera.elevation, radius, camera.fov, (float(x), float(y)))


def _rotation(degrees: float) -> Array:
    """Return the rotation about the z axis [3, 3], counter-clockwise seen from above."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
