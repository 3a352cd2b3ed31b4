"""Convert between display sRGB, linear light and Oklab, a space where distances follow what the eye sees."""

from __future__ import annotations

import numpy as np

# Björn Ottosson, "A perceptual color space for image processing" (2020).
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    dtype=np.float32,
)
_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    dtype=np.float32,
)
_LEVELS = np.arange(256, dtype=np.float32) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_from_srgb(rgb: np.ndarray) -> np.ndarray:
    """Decode display sRGB uint8 [...] to linear light in [0, 1], float32."""
    return _LINEAR[rgb]


def srgb_from_linear(light: np.ndarray) -> np.ndarray:
    """Encode linear light in [0, 1] as sRGB in [0, 1] (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def oklab(rgb: np.ndarray, flare: float = 0.0) -> np.ndarray:
    """Return Oklab [..., 3] float32 of display sRGB uint8 [..., 3]; lightness from 0 to 1.

    A difference of about 0.02 is just visible between neighbouring patches. flare: light that a screen reflects, relative
    to its white; without it, the noise of near-black pixels gets huge distances.
    """
    return np.cbrt(((_LINEAR + np.float32(flare)) / np.float32(1 + flare))[rgb] @ _CONES.T) @ _LAB.T
