"""Cut an object out of one image as TRELLIS does, whose networks take a square a fifth larger than the object."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gvf.errors import UserError

_OPAQUE = 0.8  # of full alpha, above which a pixel belongs to the object
_LARGEST = 1024  # pixels on the longer side of an image whose object is not cut out
_ROOM = 1.2  # side of the square, in longer sides of the object's box


def shrunk(rgba: np.ndarray) -> np.ndarray:
    """Return an opaque image [H, W, 4] as TRELLIS looks for its object: with at most 1024 pixels on the longer side.

    An image with transparency is returned unchanged, as its alpha tells the object.
    """
    height, width = rgba.shape[:2]
    scale = min(1, _LARGEST / max(width, height))
    if scale == 1 or (rgba[..., 3] < 255).any():
        return rgba
    size = (max(int(width * scale), 1), max(int(height * scale), 1))
    return np.array(Image.fromarray(rgba).convert("RGB").resize(size, Image.Resampling.LANCZOS).convert("RGBA"))


def object_square(alpha: np.ndarray) -> tuple[int, int, int]:
    """Return left, top and side of the square around the object of an image, in pixels; it may reach beyond the image.

    alpha: [H, W] uint8. The box of opaque pixels runs from the first to the last of them, without the last one's own width.
    The square's side is 1.2 times the box's longer side, rounded down to an even number, at least 2. Its corners are rounded
    half to even, as Pillow rounds the box of a crop. Raises UserError when no pixel is opaque enough to belong to an object.
    """
    rows, columns = np.nonzero(alpha > _OPAQUE * 255)
    if not len(rows):
        raise UserError(
            "the image has no opaque pixel, so it shows no object. Cut the object out, or choose another --matting."
        )
    first = np.array([columns.min(), rows.min()])
    last = np.array([columns.max(), rows.max()])
    half = max(int((last - first).max() * _ROOM) // 2, 1)
    left, top = np.round((first + last) / 2.0 - half).astype(int)
    return int(left), int(top), 2 * half


def cropped(rgba: np.ndarray) -> np.ndarray:
    """Return the square around the object [S, S, 4] of an image [H, W, 4]; transparent black where it reaches beyond it.

    Raises UserError as `object_square` does.
    """
    left, top, side = object_square(rgba[..., 3])
    square = np.zeros((side, side, 4), np.uint8)
    height, width = rgba.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    square[y0 - top : y1 - top, x0 - left : x1 - left] = rgba[y0:y1, x0:x1]
    return square


def object_image(rgba: np.ndarray, size: int) -> np.ndarray:
    """Return the crop of an image uint8 [H, W, 4], resampled to [size, size, 4]. Raises UserError as `cropped` does."""
    crop = Image.fromarray(cropped(rgba))
    return np.array(crop if crop.width == size else crop.resize((size, size), Image.Resampling.LANCZOS))
