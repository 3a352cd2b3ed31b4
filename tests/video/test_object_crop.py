"""The square that TRELLIS cuts out around an object: hand-computed cases, and Pillow's crop of the same box."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gvf.errors import UserError
from gvf.video.object_crop import cropped, object_square, shrunk


def opaque(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    """An alpha channel that is full in a box and nothing elsewhere."""
    alpha = np.zeros((height, width), np.uint8)
    alpha[rows, columns] = 255
    return alpha


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        # Columns 10 to 29: 19 apart, 1.2 times that is 22.8, so 22; around (19.5, 24.5): 8.5 and 13.5 round to 8 and 14.
        (slice(20, 30), slice(10, 30), (8, 14, 22)),
        # Columns 10 to 31: 21 apart, 25.2, so 25, whose half is 12: 24 pixels around (20.5, 24.5).
        (slice(20, 30), slice(10, 32), (8, 12, 24)),
        # Rows 5 to 25 around (12, 15): whole numbers are not rounded. 24 pixels.
        (slice(5, 26), slice(12, 13), (0, 3, 24)),
        # One pixel: Pillow could not crop an empty square, so it is 2 pixels wide.
        (slice(7, 8), slice(9, 10), (8, 6, 2)),
    ],
)
def test_the_square_around_an_object(rows: slice, columns: slice, expected: tuple[int, int, int]) -> None:
    assert object_square(opaque(40, 50, rows, columns)) == expected


def test_a_pixel_belongs_to_the_object_above_four_fifths() -> None:
    alpha = opaque(40, 50, slice(20, 30), slice(10, 30))
    known = object_square(alpha)
    alpha[0, 0] = 204  # 0.8 of 255: not opaque enough
    assert object_square(alpha) == known
    alpha[0, 0] = 205
    assert object_square(alpha) != known
    with pytest.raises(UserError, match="no opaque pixel"):
        object_square(np.full((4, 4), 204, np.uint8))


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5, 6])
def test_pillow_cuts_the_same_square(seed: int) -> None:
    """Pillow rounds the corners of the box, half to even, and fills what lies outside the image with nothing."""
    rng = np.random.default_rng(seed)
    rgba = rng.integers(0, 256, (37, 61, 4), np.uint8)
    top, bottom = sorted(rng.choice(37, 2, replace=False))
    left, right = sorted(rng.choice(61, 2, replace=False))
    rgba[..., 3] = opaque(37, 61, slice(top, bottom + 1), slice(left, right + 1))
    half = int(max(right - left, bottom - top) * 1.2) // 2
    x, y = (left + right) / 2, (top + bottom) / 2
    expected = Image.fromarray(rgba).crop((x - half, y - half, x + half, y + half))
    np.testing.assert_array_equal(cropped(rgba), np.asarray(expected))


def test_outside_the_image_the_square_is_transparent() -> None:
    wide = np.full((10, 40, 4), 255, np.uint8)
    square = cropped(wide)  # 39 x 1.2 is 46.8: 46 pixels
    assert square.shape == (46, 46, 4)
    assert (square[..., 3] > 0).sum() == 400
    assert not square[:18].any()


def test_large_images_shrink_before_their_object_is_looked_for() -> None:
    rng = np.random.default_rng(0)
    large = np.dstack([rng.integers(0, 256, (500, 1500, 3), np.uint8), np.full((500, 1500), 255, np.uint8)])
    found = shrunk(large)
    assert found.shape == (341, 1024, 4)  # 500 x 1024 / 1500 is 341.3
    expected = Image.fromarray(large[..., :3]).resize((1024, 341), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(found[..., :3], np.asarray(expected))
    assert (found[..., 3] == 255).all()
    cut_out = large.copy()
    cut_out[0, 0, 3] = 254
    for image in (large[:, :1024], cut_out):
        assert shrunk(image) is image
