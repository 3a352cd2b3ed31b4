"""Frames of a video: the background, transparency, and that each frame meets its own camera."""

from __future__ import annotations

import numpy as np
import pytest

from gvf.geometry.camera import OrbitCamera
from gvf.rendering.moments import draw_moments
from gvf.rendering.turntable import turntable_cameras, turntable_length
from tests.formats.moving import moving_object

FRONT, SIDE = OrbitCamera(0.0, 0.0, 2.0, 40.0), OrbitCamera(90.0, 20.0, 2.0, 40.0)


def test_a_transparent_image_over_a_colour_is_the_image_over_that_colour() -> None:
    moving = moving_object(400, 2)
    color = (0.2, 0.9, 0.4)
    (clear,) = draw_moments(moving, [1], [SIDE], 64, background=None)
    (solid,) = draw_moments(moving, [1], [SIDE], 64, background=color)
    assert (clear.shape, solid.shape) == ((64, 64, 4), (64, 64, 3))
    alpha = clear[..., 3:] / 255
    over = clear[..., :3] * alpha + 255 * np.array(color) * (1 - alpha)
    assert np.abs(over - solid).max() < 2.5  # two roundings of each of colour and alpha
    assert clear[0, 0, 3] == 0


def test_frames_and_cameras_go_together() -> None:
    moving = moving_object(400, 2)
    both = list(draw_moments(moving, [1, 0], [FRONT, SIDE], 48, background=(1, 1, 1)))
    for image, frame, camera in ((both[0], 1, FRONT), (both[1], 0, SIDE)):
        (alone,) = draw_moments(moving, [frame], [camera], 48, background=(1, 1, 1))
        np.testing.assert_array_equal(image, alone)
    assert np.abs(both[0].astype(int) - both[1]).max() > 100
    with pytest.raises(ValueError, match="zip"):
        list(draw_moments(moving, [0, 1], [FRONT], 16, background=None))


def test_the_low_pass_filter_is_the_callers() -> None:
    moving = moving_object(50, 1)
    drawn = [
        next(draw_moments(moving, [0], [FRONT], 32, background=(1, 1, 1), low_pass=low_pass, compensate=False))
        for low_pass in (0.0, 3.0)
    ]
    assert drawn[1].mean() < drawn[0].mean() - 1  # a wider footprint covers more of the white


@pytest.mark.parametrize(
    ("num_frames", "rate", "seconds", "length"),
    [(24, 24.0, 6.0, 144), (24, 24.0, 6.01, 168), (10, 3.0, 1.0, 10), (1, 12.0, 0.5, 6), (7, 10.0, 0.7, 7)],
)
def test_a_turn_is_whole_repetitions_and_never_shorter(
    num_frames: int, rate: float, seconds: float, length: int
) -> None:
    assert turntable_length(num_frames, rate, seconds) == length
    azimuths = [camera.azimuth for camera in turntable_cameras(length)]
    assert azimuths[0] == 0.0
    np.testing.assert_allclose(np.diff(azimuths), 360 / length)
