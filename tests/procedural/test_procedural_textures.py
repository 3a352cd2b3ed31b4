"""Patterns have the right size, seams and shares of colours; faces look straight ahead."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from gvf.procedural.colors import draw_palette, linear, mix
from gvf.procedural.textures import bands, checks, face, spots, stripes

RED, BLUE = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9)


def decoded(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(np.float64) / 255.0


@pytest.mark.parametrize(
    "png",
    [
        stripes(RED, BLUE, 4),
        stripes(RED, BLUE, 4, vertical=True),
        stripes(RED, BLUE, 3, vertical=True, slope=1),
        checks(RED, BLUE, 4, 3),
    ],
)
def test_patterns_have_equal_shares_of_both_colors_and_wrap_around(png: bytes) -> None:
    image = decoded(png)
    blue = image[..., 2] > image[..., 0]
    assert blue.mean() == pytest.approx(0.5, abs=0.06)
    seam = np.abs(image[:, 0] - image[:, -1]).mean()
    inside = np.abs(np.diff(image, axis=1)).mean(axis=(0, 2)).max()
    assert seam <= inside + 0.02, "the seam is no sharper than an edge of the pattern"
    assert len(png) < 20_000


def test_stripes_run_across_or_along() -> None:
    assert np.ptp(decoded(stripes(RED, BLUE, 4)), axis=1).max() < 0.01
    assert np.ptp(decoded(stripes(RED, BLUE, 4, vertical=True)), axis=0).max() < 0.01


def test_spots_and_bands_follow_their_generator() -> None:
    first = spots(np.random.default_rng(3), RED, BLUE, 9, 0.08)
    assert first == spots(np.random.default_rng(3), RED, BLUE, 9, 0.08)
    assert first != spots(np.random.default_rng(4), RED, BLUE, 9, 0.08)
    image = decoded(first)
    share = (image[..., 2] > image[..., 0]).mean()
    assert 0.04 < share < 9 * np.pi * (1.2 * 0.08) ** 2
    planet = decoded(bands(np.random.default_rng(3), (RED, BLUE, (0.0, 0.8, 0.2)), 7))
    assert np.abs(planet[:, 0] - planet[:, -1]).mean() < 0.1


def test_a_face_has_two_eyes_at_equal_height_and_a_mouth_below() -> None:
    image = decoded(face(RED, BLUE, eye=0.07, height=0.4, smile=1.0))
    size = len(image)
    whites = (image > 0.9).all(axis=2)
    rows, columns = np.nonzero(whites)
    assert whites[:, : size // 2].sum() == pytest.approx(whites[:, size // 2 :].sum(), rel=0.25)
    assert columns.mean() / size == pytest.approx(0.5, abs=0.01)
    assert rows.mean() / size == pytest.approx(0.4, abs=0.02)
    dark = (image < 0.3).all(axis=2)
    mouth_rows, mouth_columns = np.nonzero(dark[int(0.5 * size) :])
    assert len(mouth_rows) > 10
    middle = np.abs(mouth_columns - size / 2) < 2
    corners = np.abs(mouth_columns - size / 2) > 4
    assert mouth_rows[middle].mean() > mouth_rows[corners].mean(), "a smile hangs in the middle"


def test_palettes_contrast() -> None:
    for seed in range(20):
        palette = draw_palette(np.random.default_rng(seed))
        assert np.abs(np.array(palette.main) - np.array(palette.accent)).max() > 0.3
        assert max(palette.dark) < max(palette.main)
    assert mix(RED, BLUE, 0.0) == RED
    np.testing.assert_allclose(linear([0.0, 0.5, 1.0]), [0.0, 0.2140411, 1.0], atol=1e-6)
