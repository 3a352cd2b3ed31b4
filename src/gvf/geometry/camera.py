"""Pinhole cameras: OpenCV world-to-camera matrices and intrinsics normalised by image size.

World: right-handed, z up. Camera: x right, y down, z forward. `viewmats` [..., 4, 4] take world points to the camera;
`Ks` [..., 3, 3] take camera points to image coordinates in [0, 1] (x right, y down, (0, 0) the top left corner of the
top left pixel, so that pixel (column, row) of a W x H image has its centre at ((column + 0.5)/W, (row + 0.5)/H)).
Azimuth 0 is the camera at (0, -radius, 0) looking along +y; azimuth grows towards +x, elevation towards +z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Orbit:
    """Cameras around an object. azimuths: degrees, 0 is the frontal camera. elevation, fov: degrees.

    radius: distance from the object's centre. fov: full vertical angle.
    """

    azimuths: tuple[float, ...]
    elevation: float
    radius: float
    fov: float


CONSISTENT4D_ORBIT = Orbit(azimuths=(-75.0, 15.0, 105.0, 195.0), elevation=0.0, radius=2.0, fov=49.1)
"""The views in which Consistent4D's test set shows its objects; held-out clips are rendered in them too."""


def orbit(azimuth_deg: ArrayLike, elevation_deg: ArrayLike, radius: ArrayLike) -> Array:
    """Return cameras on a sphere around the origin that look at it, without roll; defined at the poles too.

    azimuth_deg, elevation_deg: [...] degrees; radius: [...] world units. Returns viewmats [..., 4, 4] float64.
    """
    a, e, r = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (azimuth_deg, elevation_deg, radius)))
    a, e = np.deg2rad(a), np.deg2rad(e)
    zero = np.zeros_like(a)
    forward = np.stack([-np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), -np.sin(e)], axis=-1)
    right = np.stack([np.cos(a), np.sin(a), zero], axis=-1)
    return _viewmats(right, np.cross(forward, right), forward, -r[..., None] * forward)


def intrinsics(fov_deg: ArrayLike) -> Array:
    """Return normalised intrinsics of a square image: fx = fy = 0.5/tan(fov/2), cx = cy = 0.5.

    fov_deg: [...] full field of view, degrees. Returns Ks [..., 3, 3] float64.
    """
    fov = np.asarray(fov_deg, dtype=np.float64)
    Ks = np.zeros((*fov.shape, 3, 3))
    Ks[..., 0, 0] = Ks[..., 1, 1] = 0.5 / np.tan(np.deg2rad(fov) / 2)
    Ks[..., 0, 2] = Ks[..., 1, 2] = 0.5
    Ks[..., 2, 2] = 1.0
    return Ks


def positions(viewmats: NDArray[np.floating]) -> Array:
    """Return the world positions [..., 3] of cameras `viewmats` [..., 4, 4]."""
    rotations = viewmats[..., :3, :3]
    return -np.einsum("...ji,...j->...i", rotations, viewmats[..., :3, 3])


def project(
    points: NDArray[np.floating], viewmats: NDArray[np.floating], Ks: NDArray[np.floating]
) -> tuple[Array, Array]:
    """Return the image coordinates and depths of world points in every camera.

    points: [N, 3]; viewmats: [..., 4, 4]; Ks: [..., 3, 3]. Returns coordinates [..., N, 2] in [0, 1] inside the image,
    and depths [..., N] along the camera's z; a point at depth 0 or less has no meaningful coordinates (nan or inf).
    """
    camera = points @ np.swapaxes(viewmats[..., :3, :3], -1, -2) + viewmats[..., None, :3, 3]
    image = camera @ np.swapaxes(Ks, -1, -2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return image[..., :2] / image[..., 2:], camera[..., 2]


def fov_of_part(fov: float, share: float) -> float:
    """Return the field of view, degrees, of an image `share` times as high as one of `fov` degrees, of the same focal length."""
    return 2.0 * math.degrees(math.atan(math.tan(math.radians(fov) / 2.0) * share))


@dataclass(frozen=True)
class OrbitCamera:
    """One camera that looks at the origin, and a square image.

    azimuth, elevation, fov (full angle): degrees. radius: object units. shift: where the origin appears, minus the image
    centre, in shares of the image's size (x right, y down); other than (0, 0) for a crop around something else.
    """

    azimuth: float
    elevation: float
    radius: float
    fov: float
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def viewmat(self) -> Array:
        """Return the world-to-camera matrix [4, 4] float64."""
        return orbit(self.azimuth, self.elevation, self.radius)

    @property
    def K(self) -> Array:
        """Return the intrinsics [3, 3] float64, normalised by image size."""
        matrix = intrinsics(self.fov)
        matrix[:2, 2] += self.shift
        return matrix


TRAINING_CAMERA = OrbitCamera(0.0, CONSISTENT4D_ORBIT.elevation, CONSISTENT4D_ORBIT.radius, CONSISTENT4D_ORBIT.fov)
"""The frontal camera, whose videos the diffusion transformer is trained with."""


def sphere_hammersley(count: int, offset: tuple[float, float] = (0.5, 0.0)) -> tuple[Array, Array]:
    """Return azimuths and elevations [count], degrees, spread evenly over the sphere by the Hammersley sequence.

    Point i has height z = 1 - 2 (i + offset[0])/count, read from the top pole to the bottom one, and azimuth
    360 (radical inverse of i in base 2 + offset[1]). A random offset in [0, 1)^2 gives another equally even set.
    """
    i = np.arange(count)
    heights = 1.0 - 2.0 * (i + offset[0]) / max(count, 1)
    turns = np.zeros(count)
    digit_value, rest = 0.5, i.copy()
    while rest.any():
        turns += digit_value * (rest % 2)
        rest //= 2
        digit_value /= 2
    return 360.0 * ((turns + offset[1]) % 1.0), np.rad2deg(np.arcsin(np.clip(heights, -1.0, 1.0)))


def _viewmats(right: Array, down: Array, forward: Array, eye: Array) -> Array:
    rotation = np.stack([right, down, forward], axis=-2)
    viewmats = np.zeros((*rotation.shape[:-2], 4, 4))
    viewmats[..., :3, :3] = rotation
    viewmats[..., :3, 3] = -np.einsum("...ij,...j->...i", rotation, eye)
    viewmats[..., 3, 3] = 1.0
    return viewmats
