"""The key of a plain background: what counts as plain, soft edges, holes, and colours without the background."""

from __future__ import annotations

import numpy as np
import pytest

from gvf.video.color import oklab
from gvf.video.keying import find_backdrop, key
from tests.video.clips import ball, iou, over

SIZE = (160, 144)


def disc(radius: float = 40) -> np.ndarray:
    return ball(1, size=SIZE, radius=radius, start=80)[0]


def cut_out(picture: np.ndarray) -> np.ndarray:
    backdrop = find_backdrop(picture)
    assert backdrop is not None
    return key(picture, backdrop)


def test_oklab_of_known_colours():
    """Values of the space's author: white is (1, 0, 0), and red as published."""
    colors = np.array([[255, 255, 255], [255, 0, 0], [0, 0, 0]], np.uint8)
    expected = [[1, 0, 0], [0.62796, 0.22486, 0.12585], [0, 0, 0]]
    np.testing.assert_allclose(oklab(colors), expected, atol=2e-4)


@pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 0), (40, 90, 200), (128, 128, 128)])
def test_alpha_and_colours_of_an_edge_are_recovered(color):
    truth = disc()
    found = cut_out(over(truth[None], np.array(color))[0])
    assert np.abs(found[..., 3].astype(int) - truth[..., 3]).mean() < 1
    edge = (truth[..., 3] > 90) & (truth[..., 3] < 220)
    assert np.abs(found[edge][:, 3].astype(int) - truth[edge][:, 3]).mean() < 12
    assert np.abs(found[edge][:, :3].astype(int) - truth[edge][:, :3]).mean() < 14


def test_noise_and_gradients_are_tolerated():
    truth, random = disc(), np.random.default_rng(0)
    gradient = (
        235 + 12 * np.linspace(-1, 1, SIZE[0])[None, :, None] - 8 * np.linspace(-1, 1, SIZE[1])[:, None, None] ** 2
    )
    picture = over(truth[None], gradient)[0] + random.normal(0, 2.5, (SIZE[1], SIZE[0], 3))
    found = cut_out(np.clip(picture, 0, 255).astype(np.uint8))
    assert iou(found[..., 3] > 127, truth[..., 3] > 127) > 0.98


def test_pictures_without_a_plain_border_are_refused():
    random = np.random.default_rng(0)
    assert find_backdrop(random.integers(0, 255, (64, 64, 3), dtype=np.uint8)) is None
    halves = np.full((64, 64, 3), 255, np.uint8)
    halves[:, :32] = (30, 90, 40)
    assert find_backdrop(halves) is None
    bricks = np.full((96, 96, 3), 150, np.uint8)
    bricks[::12, :] = bricks[:, ::24] = 210  # mortar covers a tenth of the border
    assert find_backdrop(bricks) is None
    ramp = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    assert find_backdrop(ramp) is None


def test_an_object_may_stand_on_the_border():
    picture = np.full((100, 100, 3), 250, np.uint8)
    picture[40:, 20:80] = (200, 40, 30)
    found = cut_out(picture)
    assert (found[45:, 25:75, 3] == 255).all()
    assert (found[:35, :, 3] == 0).all()


def test_holes_are_open_and_highlights_are_kept():
    """A ring's hole shows the background exactly; a white patch that is shaded belongs to the object."""
    ring = disc(50)
    hole = ball(1, size=SIZE, radius=20, start=80)[0][..., 3] > 0
    ring[hole] = 0
    assert cut_out(over(ring[None], 255)[0])[72, 80, 3] == 0
    shaded = over(disc(50)[None], 255)[0]
    shaded[60:84, 70:90] = np.linspace(215, 250, 20).astype(np.uint8)[None, :, None]
    assert cut_out(shaded)[72, 80, 3] == 255


def test_thin_parts_survive():
    picture = np.full((100, 100, 3), 255, np.uint8)
    picture[30:70, 30:70] = (30, 120, 60)
    picture[50:52, 70:95] = (30, 120, 60)
    found = cut_out(picture)
    assert (found[50:52, 74:93, 3] > 200).all()
    assert (found[56:, 74:, 3] == 0).all()


def test_a_frame_of_background_alone_is_empty():
    assert (cut_out(np.full((40, 40, 3), 255, np.uint8))[..., 3] == 0).all()
