"""Similarity between our objects and the files that they come from: size, place and up axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UP_AXES = ("y", "z", "-y")
"""Axes of a file that may point up: glTF and OBJ, Blender's PLY and STL, Gaussian splats."""

# Object axes (z up, front towards -y) as rows of the file's: file = points @ matrix.
_TO_FILE = {
    "y": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
    "z": np.eye(3),
    "-y": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]),
}


@dataclass(frozen=True)
class Similarity:
    """Takes object points (unit box, z up) to a file's points: center + scale * turned.

    scale: length in the file of one object unit. center: file coordinates of the object's origin. up: the file's axis
    that points up; the object's front (-y) becomes +z where that is y, and -z where it is -y.
    """

    scale: float
    center: tuple[float, float, float]
    up: str = "y"

    def apply(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the file's coordinates [..., 3] of object points [..., 3]."""
        return np.asarray(points, np.float64) @ _TO_FILE[self.up] * self.scale + self.center

    def invert(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the object's coordinates [..., 3] of a file's points [..., 3]."""
        return (np.asarray(points, np.float64) - self.center) / self.scale @ _TO_FILE[self.up].T

    def turned(self, up: str) -> Similarity:
        """Return the similarity to a file with another up axis whose points are the same ones, turned."""
        x, y, z = (float(value) for value in np.array(self.center) @ _TO_FILE[self.up].T @ _TO_FILE[up])
        return Similarity(self.scale, (x, y, z), up)


def unit_box(points: NDArray[np.floating], up: str) -> Similarity:
    """Return the similarity that puts points [N, 3] of a file into the unit box: centred, longest side 1.

    Raises ValueError when all points are in one place.
    """
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    side = float((high - low).max())
    if not side > 0.0:
        raise ValueError("all points are in one place")
    x, y, z = (float(value) for value in low / 2.0 + high / 2.0)
    return Similarity(side, (x, y, z), up)
