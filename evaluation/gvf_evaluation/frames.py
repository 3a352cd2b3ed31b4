"""Read frames from files, composite them over white, and resize them for comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from gvf.errors import UserError
from gvf.storage.images import image_size, read_image

_MODES = ("RGB", "RGBA", "P", "L", "LA", "1")  # with 8 bits per channel; 16-bit grey would be clipped, not scaled


def frame_size(path: Path) -> tuple[int, int]:
    """Return the width and height of an image, from its header alone. Raises UserError when it is not an image."""
    return image_size(path)


def read_frame(path: Path) -> np.ndarray:
    """Return an image over white as RGB [H, W, 3] uint8. Raises UserError when it cannot be read."""
    return read_frame_and_alpha(path)[0]


def read_frame_and_alpha(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return an image over white as RGB [H, W, 3] uint8, and its alpha [H, W] uint8, None when it has none.

    Raises UserError when it cannot be read.
    """
    image = read_image(path)
    if image.mode not in _MODES:
        raise UserError(f"{path}: pixels of mode {image.mode} are not supported. Save it as 8-bit RGB or RGBA.")
    rgba = np.asarray(image.convert("RGBA"))
    return over_white(rgba), rgba[..., 3] if image.has_transparency_data else None


def over_white(rgba: np.ndarray) -> np.ndarray:
    """Composite uint8 RGBA [..., 4] with straight alpha over white: uint8 RGB [..., 3], rounded to the nearest."""
    alpha = rgba[..., 3:].astype(np.float32) / 255.0
    if (alpha == 1.0).all():
        return rgba[..., :3]
    return np.rint(rgba[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)


def resized(frame: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 [H, W, 3] or [H, W] to a side of `size`, by PIL's default filter (bicubic, antialiased when shrinking)."""
    return np.asarray(Image.fromarray(frame).resize((size, size)))
