"""Choose colours of procedural objects: sRGB triples in [0,1], drawn so that neighbours contrast."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rgb = tuple[float, float, float]

WHITE: Rgb = (0.97, 0.97, 0.95)
BLACK: Rgb = (0.07, 0.06, 0.08)
STEEL: Rgb = (0.62, 0.65, 0.70)
WOOD: Rgb = (0.56, 0.36, 0.20)


@dataclass(frozen=True)
class Palette:
    """Colours of one object: main covers most of it, accent contrasts in hue, dark and pale are shades of the two."""

    main: Rgb
    accent: Rgb
    dark: Rgb
    pale: Rgb


def draw_palette(rng: np.random.Generator) -> Palette:
    """Draw a saturated main colour of any hue, an accent at least a third of the hue circle away, and their shades."""
    hue = rng.random()
    other = hue + rng.uniform(0.33, 0.67)
    saturation, value = rng.uniform(0.6, 0.9), rng.uniform(0.75, 0.95)
    return Palette(
        main=hsv(hue, saturation, value),
        accent=hsv(other, rng.uniform(0.65, 0.95), rng.uniform(0.8, 1.0)),
        dark=hsv(hue, saturation, 0.5 * value),
        pale=hsv(other, 0.2, 0.97),
    )


def hsv(hue: float, saturation: float, value: float) -> Rgb:
    """Return the sRGB colour of a hue (in turns, any real number), and of a saturation and value in [0,1]."""
    return colorsys.hsv_to_rgb(hue % 1.0, saturation, value)


def mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    """Mix two colours: `share` of the second, the rest of the first."""
    red, green, blue = ((1.0 - share) * a + share * b for a, b in zip(first, second))
    return red, green, blue


def linear(color: ArrayLike) -> NDArray[np.float64]:
    """Convert sRGB of any shape to linear light (IEC 61966-2-1)."""
    values = np.asarray(color, dtype=np.float64)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
