"""Cut an object out in front of a plain background, such as the white of a render or a studio's wall.

The background is a smooth surface in Oklab, fitted to the border of a frame; its noise gives the tolerance. Limits: parts of
the object in the background's own colour that reach the silhouette are lost, and a cast shadow belongs to the object.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from gvf.video.color import oklab

_FLARE = 0.005  # of white (IEC 61966-2-1 assumes 1 % in a lit room)
_BAND = 0.02  # of the shorter side: the border whose colours are taken
_INLIER = 0.06  # Oklab distance within which a border pixel can be background (3 times what is just visible)
_LEAST_SHARE = 0.7  # of the border's pixels must be background: the object may touch one side
_LEAST_SIDE = 0.3  # ... and of three of the four sides
_MOST_INTERRUPTIONS = 6  # along the border: more of them are a texture
_MOST_NOISE = 0.015
_MOST_RANGE = 0.25  # of a gradient, from corner to corner
_TOLERANCE, _NOISES = 0.02, 4.0
_SURE = 3.0  # tolerances from which a pixel shows the object alone
_ROOM = 8  # pixels around the object
_HOLE = 5e-5  # of the picture's area: smaller enclosed parts in the background's colour are highlights
_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Backdrop:
    """A plain background. weights: [6, 3] of a quadratic surface in Oklab over (x, y) in [-1, 1]. noise: Oklab units."""

    weights: np.ndarray
    noise: float

    @property
    def tolerance(self) -> float:
        """Oklab distance up to which a pixel counts as background."""
        return max(_TOLERANCE, _NOISES * self.noise)

    def colors(self, height: int, width: int) -> np.ndarray:
        """Return the background's Oklab colours [H, W, 3]."""
        return (_surface(height, width) @ self.weights).astype(np.float32)


def find_backdrop(rgb: np.ndarray) -> Backdrop | None:
    """Return the plain background of a frame uint8 [H, W, 3], or None where its border is not uniform."""
    height, width = rgb.shape[:2]
    band = max(2, round(_BAND * min(height, width)))
    inside = np.zeros((height, width), bool)
    inside[band:-band, band:-band] = True
    rows, columns = np.nonzero(~inside)
    colors = oklab(rgb[rows, columns], _FLARE)
    surface = _surface(height, width)[rows, columns]
    weights = _fitted(colors, surface)
    if weights is None:
        return None
    distances = np.linalg.norm(colors - surface @ weights, axis=1)
    backdrop = Backdrop(weights, float(np.median(distances)) / 1.54)  # the median of a 3D normal distribution's length
    near = np.zeros((height, width), bool)
    near[rows, columns] = distances < backdrop.tolerance
    span = np.ptp(_surface(9, 9).reshape(-1, 6) @ weights, axis=0)
    too_rough = backdrop.noise > _MOST_NOISE or np.linalg.norm(span) > _MOST_RANGE
    return None if too_rough or not _is_plain(near, near[rows, columns].mean(), band) else backdrop


def _fitted(colors: np.ndarray, surface: np.ndarray) -> np.ndarray | None:
    """Fit a surface to the most frequent of some colours, dropping the others; first a constant, then more terms.

    colors: [N, 3] Oklab. surface: [N, 6], the terms at their places. Returns [6, 3], or None where too few agree.
    """
    weights = np.zeros((6, 3))
    weights[0] = _densest(colors)
    reach = _INLIER
    for order in (1, 3, 3, 6, 6):
        near = np.linalg.norm(colors - surface @ weights, axis=1) < reach
        if near.mean() < _LEAST_SHARE / 2:
            return None
        weights = np.zeros((6, 3))
        weights[:order] = np.linalg.lstsq(surface[near, :order], colors[near], rcond=None)[0]
        reach = _INLIER * 0.7
    return weights


def _is_plain(near: np.ndarray, share: float, band: int) -> bool:
    """Return whether a border is background but for a few places where the object stands on it.

    near: [H, W], where the border has the background's colour. share: of the border's pixels.
    """
    top, bottom, left, right = near[:band].T, near[-band:].T, near[:, :band], near[:, -band:]
    along = [side.mean(axis=1) >= 0.5 for side in (top, right, bottom[::-1], left[::-1])]  # clockwise
    once_around = np.concatenate(along)
    interruptions = np.count_nonzero(once_around & ~np.roll(once_around, -1))
    plain_sides = sum(side.mean() >= _LEAST_SIDE for side in along)
    return bool(share >= _LEAST_SHARE and plain_sides >= 3 and interruptions <= _MOST_INTERRUPTIONS)


def key(rgb: np.ndarray, backdrop: Backdrop) -> np.ndarray:
    """Return a frame uint8 [H, W, 3] as RGBA [H, W, 4]: the background transparent, edges soft and without its colour."""
    height, width = rgb.shape[:2]
    distance = np.linalg.norm(oklab(rgb, _FLARE) - backdrop.colors(height, width), axis=2)
    tolerance = backdrop.tolerance
    smooth = np.minimum(distance, ndimage.median_filter(distance, 3, mode="nearest"))  # no single noisy pixels
    empty = _empty(smooth, distance, tolerance, backdrop.noise)
    image = np.zeros((height, width, 4), np.uint8)
    rows, columns = np.flatnonzero(~empty.all(1)), np.flatnonzero(~empty.all(0))
    if len(rows):  # the rest works on the object's box alone
        box = (_around(rows, height), _around(columns, width))
        image[box] = _with_soft_edges(rgb[box], empty[box], distance[box], tolerance)
    return image


def _around(places: np.ndarray, size: int) -> slice:
    """Return a slice from the first to the last of some sorted indices, with some room on both sides."""
    return slice(max(int(places[0]) - _ROOM, 0), min(int(places[-1]) + 1 + _ROOM, size))


def _empty(smooth: np.ndarray, distance: np.ndarray, tolerance: float, noise: float) -> np.ndarray:
    """Return where the background is seen [H, W]: what is connected to the border, and holes that look just like it."""
    near = smooth < tolerance
    labels, count = ndimage.label(near)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    is_empty = np.zeros(count + 1, bool)
    is_empty[border[border > 0]] = True
    numbers = np.arange(1, count + 1)
    areas = ndimage.sum_labels(near, labels, numbers)
    means = ndimage.mean(distance, labels, numbers) if count else np.zeros(0)
    exact = means < max(0.35 * _TOLERANCE, 2.5 * noise)
    is_empty[1:] |= exact & (areas >= max(9, _HOLE * near.size))
    return is_empty[labels]


def _with_soft_edges(rgb: np.ndarray, empty: np.ndarray, distance: np.ndarray, tolerance: float) -> np.ndarray:
    """Estimate alpha where object and background mix, by the colour's place on the line between the two."""
    solid = ~empty
    sure = ndimage.binary_erosion(solid, _EIGHT, iterations=2, border_value=1)
    far = ~ndimage.binary_dilation(sure, _EIGHT, iterations=4)
    sure |= solid & far & (distance > _SURE * tolerance)  # thin parts, which have no inside
    band = (solid & ~sure) | (empty & ndimage.binary_dilation(solid, _EIGHT))
    colors = rgb.astype(np.float32)
    alpha = solid.astype(np.float32)
    if sure.any() and band.any() and empty.any():
        rows, columns = np.nonzero(band)
        mixed, front = colors[rows, columns], colors[_nearest(sure, rows, columns)]
        weights = ndimage.uniform_filter(empty.astype(np.float32), 5)
        sums = ndimage.uniform_filter(colors * empty[..., None], (5, 5, 0))
        place = _nearest(empty, rows, columns)
        back = sums[place] / np.maximum(weights[place], 1e-6)[:, None]  # the mean over the background nearby
        line = front - back
        share = np.clip(((mixed - back) * line).sum(1) / np.maximum((line**2).sum(1), 1.0), 0, 1)
        pure = np.clip(back + (mixed - back) / np.maximum(share, 0.1)[:, None], 0, 255)
        alpha[rows, columns] = share
        colors[rows, columns] = np.where(share[:, None] > 0.3, pure, front)
    alpha[alpha < 0.02] = 0
    colors[alpha == 0] = 0
    return np.dstack([np.round(colors), np.round(255 * alpha)]).astype(np.uint8)


def _nearest(mask: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the place (rows, columns) of the nearest pixel of a mask [H, W] for each of some pixels."""
    indices = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return indices[0][rows, columns], indices[1][rows, columns]


def _surface(height: int, width: int) -> np.ndarray:
    """Return the terms 1, x, y, x^2, xy, y^2 of every pixel [H, W, 6]."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def _densest(colors: np.ndarray) -> np.ndarray:
    """Return the most frequent colour of [N, 3]: the median of the fullest cell of a coarse grid and its neighbours."""
    cells = np.round(colors / _INLIER).astype(int)
    values, counts = np.unique(cells, axis=0, return_counts=True)
    fullest = values[counts.argmax()]
    return np.median(colors[(np.abs(cells - fullest) <= 1).all(1)], axis=0)
