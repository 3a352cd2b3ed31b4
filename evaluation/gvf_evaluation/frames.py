"""Frames as files: read, put over white, brought to the size in which they are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from gvf.errors import UserError
from gvf.storage.images import image_size, read_image

_MODES = ("RGB", "RGBA", "P", "L", "LA", "1")  # what 8 bits a channel hold; 16-bit grey would be clipped, not scaled


def frame_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, from its header alone. Raises UserError when it is none."""
    return image_size(path)


def read_frame(path: Path) -> np.ndarray:
    """RGB [H, W, 3] uint8 of a picture over white, rounded to the nearest. Raises UserError when it cannot be read."""
    image = read_image(path)
    if image.mode not in _MODES:
        raise UserError(f"{path}: pixels of mode {image.mode}. Save it as 8-bit RGB or RGBA.")
    return over_white(np.asarray(image.convert("RGBA")))


def over_white(rgba: np.ndarray) -> np.ndarray:
    """uint8 RGBA [..., 4] with straight alpha over white: uint8 RGB [..., 3]."""
    alpha = rgba[..., 3:].astype(np.float32) / 255.0
    if (alpha == 1.0).all():
        return rgba[..., :3]
    return np.rint(rgba[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)


def resized(frame: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H, W, 3] as uint8 [size, size, 3], by PIL's default filter (bicubic, antialiased when shrinking)."""
    return np.asarray(Image.fromarray(frame).resize((size, size)))
