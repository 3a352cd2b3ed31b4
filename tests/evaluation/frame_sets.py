"""Small synthetic test sets in Consistent4D's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

OBJECTS, VIEWS, FRAMES, SIZE = ("fox", "owl"), 4, 32, 20


def true_frame(name: str, view: int, frame: int, size: int = SIZE) -> np.ndarray:
    """uint8 RGBA [S, S, 4]: a square that moves with the frame; its range of values is another in every frame."""
    generator = np.random.default_rng([OBJECTS.index(name), view, frame])
    rgba = np.zeros((size, size, 4), np.uint8)
    left = 2 + frame % 8
    patch = generator.integers(20 + 2 * frame, 200, (10, 8, 3))
    rgba[4:14, left : left + 8, :3] = patch
    rgba[4:14, left : left + 8, 3] = 255
    rgba[4, left : left + 8, 3] = 100 + frame  # an edge that is half there
    rgba[0, 0] = (9, 9, 9, 0)  # colour under nothing
    return rgba


def predicted_frame(name: str, view: int, frame: int, size: int = SIZE) -> np.ndarray:
    """uint8 RGB [S, S, 3]: the ground truth over white, off by more in later frames, other views and the second object."""
    rgba = true_frame(name, view, frame, size).astype(float)
    alpha = rgba[..., 3:] / 255
    white = rgba[..., :3] * alpha + 255 * (1 - alpha)
    generator = np.random.default_rng([7, OBJECTS.index(name), view, frame])
    noise = generator.normal(scale=2 + frame / 4 + 3 * view + 8 * OBJECTS.index(name), size=white.shape)
    return np.clip(np.rint(white + noise), 0, 255).astype(np.uint8)


def write_set(folder: Path) -> Path:
    """`gt` with RGBA frames and `pred` with RGB ones, numbered without leading zeros. Returns the folder."""
    for name in OBJECTS:
        for view in range(VIEWS):
            for side, draw in (("gt", true_frame), ("pred", predicted_frame)):
                place = folder / side / name / f"eval_{view}"
                place.mkdir(parents=True)
                for frame in range(FRAMES):
                    Image.fromarray(draw(name, view, frame)).save(place / f"{frame}.png", compress_level=1)
    return folder
