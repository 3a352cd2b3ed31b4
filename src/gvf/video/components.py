"""Separate the pieces of a foreground mask, and follow one object from frame to frame."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_SPECK = 1e-3  # of the largest piece's area
_NEAR = 0.02  # of the picture's longer side: how far an object may move between frames and still be the same
_EIGHT = np.ones((3, 3), bool)


def piece_areas(mask: np.ndarray) -> np.ndarray:
    """Return the areas of the connected pieces of a mask [H, W] in pixels, largest first."""
    labels, count = ndimage.label(mask, _EIGHT)
    return np.sort(np.bincount(labels.ravel(), minlength=count + 1)[1:])[::-1]


def without_specks(mask: np.ndarray) -> np.ndarray:
    """Return a mask [H, W] without pieces of less than a thousandth of the largest one's area."""
    labels, count = ndimage.label(mask, _EIGHT)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    keep = areas >= max(_SPECK * areas[1:].max(initial=0), 9)
    keep[0] = False
    return keep[labels]


def followed(mask: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """Return the pieces of a mask [H, W] that belong to the object of the frame before; the largest one if none does.

    before: the object's mask [H, W] in the frame before, None for the first frame.
    """
    labels, count = ndimage.label(mask, _EIGHT)
    if count == 0:
        return mask
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    areas[0] = 0
    if before is not None and before.any():
        near = ndimage.distance_transform_edt(~before) <= _NEAR * max(mask.shape)
        shared = np.bincount(labels[near], minlength=count + 1)
        keep = (shared > 0.3 * areas) & (areas >= _SPECK * areas.max())
        keep[0] = False
        if keep.any():
            return keep[labels]
    return labels == areas.argmax()
