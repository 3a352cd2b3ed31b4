"""Take the background's colour out of the soft edge of an object."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def with_inner_colors(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return RGBA uint8 [H, W, 4]: mixed pixels take the colour of the nearest pixel that shows the object alone.

    rgb: uint8 [H, W, 3]. alpha: float32 [H, W] in [0, 1].
    """
    colors = rgb.copy()
    sure, mixed = alpha > 0.95, (alpha > 0) & (alpha <= 0.95)
    if sure.any() and mixed.any():
        inner = ndimage.binary_erosion(sure, iterations=2)
        inner = inner if inner.any() else sure
        at = ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True)
        colors[mixed] = rgb[at[0][mixed], at[1][mixed]]
    colors[alpha == 0] = 0
    return np.dstack([colors, np.round(255 * alpha).astype(np.uint8)])
