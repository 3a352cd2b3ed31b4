"""Cut a square around the object out of every frame."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gvf.video.options import Crop

_SEEN = 0.8  # of the largest alpha: from there a pixel belongs to the object (as TRELLIS crops)
_NOTHING = 8  # a frame whose alpha stays below is empty


def object_boxes(alphas: np.ndarray) -> np.ndarray:
    """Return the box of the object in each frame.

    alphas: uint8 [T, H, W]. Returns [T, 4] (left, top, right, bottom) in pixels, right and bottom exclusive; NaN where a
    frame shows nothing.
    """
    boxes = np.full((len(alphas), 4), np.nan)
    for box, alpha in zip(boxes, alphas):
        seen = alpha >= max(_SEEN * int(alpha.max()), _NOTHING)
        columns, rows = np.flatnonzero(seen.any(0)), np.flatnonzero(seen.any(1))
        if len(columns):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def square_crops(boxes: np.ndarray, margin: float, crop: Crop) -> np.ndarray:
    """Return [T, 3] (left, top, side) in whole pixels: one square around all boxes, or one for each frame.

    A frame that shows nothing gets the square of the frame before, or of the first that shows something.
    """
    if crop == "video":
        box = np.concatenate([np.nanmin(boxes[:, :2], 0), np.nanmax(boxes[:, 2:], 0)])
        boxes = np.broadcast_to(box, boxes.shape)
    shown = ~np.isnan(boxes[:, 0])
    latest = np.maximum.accumulate(np.where(shown, np.arange(len(boxes)), -1))
    boxes = boxes[np.where(latest >= 0, latest, shown.argmax())]
    side = np.ceil((1 + 2 * margin) * np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]))
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.column_stack([np.round(centre - side[:, None] / 2), side])


def cut(frame: np.ndarray, crop: np.ndarray, size: int) -> np.ndarray:
    """Return the square `crop` (left, top, side) of an RGBA frame [H, W, 4], resampled to [size, size, 4].

    Outside the picture it is transparent.
    """
    left, top, side = (int(value) for value in crop)
    square = np.zeros((side, side, 4), np.uint8)
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x1 > x0 and y1 > y0:
        square[y0 - top : y1 - top, x0 - left : x1 - left] = frame[y0:y1, x0:x1]
    image = np.array(Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS))
    image[image[..., 3] == 0] = 0
    return image
