"""Flaws of filmed videos: each alone, on a white square or a point whose place is computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from gvf.config.render import VideoVariationConfig
from gvf.geometry.camera import intrinsics, orbit, project
from gvf.video.filming import Filming, draw_filming

SIZE = 40
SQUARE = np.zeros((SIZE, SIZE, 4), np.uint8)
SQUARE[10:30, 10:30] = 255, 255, 255, 255
VIEWMAT, K = orbit([0.0], 0.0, 2.0)[0], intrinsics(49.1)
NONE: dict[str, Any] = {
    "light": 0.0,
    "gains": np.ones(3),
    "background": np.array([200, 0, 0], np.uint8),
    "edge": np.zeros(2),
    "holes": np.zeros((0, 5)),
    "shift": np.zeros((2, 2)),
    "zoom": 1.0,
    "roll": 0.0,
    "seed": 0,
}


def _filming(**changes: Any) -> Filming:
    return Filming(**{**NONE, **changes})


def test_without_flaws_nothing_changes() -> None:
    frames = np.stack([SQUARE, SQUARE // 2 * (SQUARE > 0)])
    frames[1, 10:30, 10:30, 3] = 255
    assert np.array_equal(_filming().developed(frames), frames)
    viewmats, Ks = _filming().cameras(VIEWMAT, K)
    assert np.allclose(viewmats, VIEWMAT)
    assert np.allclose(Ks, K)


def test_the_image_is_shifted_zoomed_and_rolled_about_its_centre() -> None:
    point = np.array([[0.2, 0.0, 0.1]])  # right of and above the centre
    straight = project(point, VIEWMAT[None], K[None])[0][0, 0] - 0.5
    shift = np.array([[0.01, -0.02], [0.03, 0.0]])
    viewmats, Ks = _filming(shift=shift, zoom=1.1).cameras(VIEWMAT, K)
    for viewmat, own, moved in zip(viewmats, Ks, shift):
        assert np.allclose(project(point, viewmat[None], own[None])[0][0, 0], 0.5 + 1.1 * straight + moved)
    viewmats, Ks = _filming(roll=90.0).cameras(VIEWMAT, K)  # x to y, which points down in images
    x, y = straight
    assert np.allclose(project(point, viewmats[:1], Ks[:1])[0][0, 0] - 0.5, [-y, x])


def test_other_light_leaves_the_view_and_turns_the_object_under_the_lamps() -> None:
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (20, 3))
    turned, viewmat = _filming(light=90.0).relit(points, VIEWMAT)
    assert np.allclose(turned, points[:, [1, 0, 2]] * (-1, 1, 1))
    assert np.allclose(project(turned, viewmat[None], K[None])[0], project(points, VIEWMAT[None], K[None])[0])


def test_brightness_changes_in_linear_light() -> None:
    gray = SQUARE.copy()
    gray[..., :3] = np.where(SQUARE[..., 3:] > 0, 188, 0)  # sRGB 188 is half of white's light, 137 a quarter
    frames = _filming(gains=np.array([0.5, 1.0, 4.0])).developed(np.stack([gray, gray]))
    assert np.allclose(frames[0, 20, 20], [137, 188, 255, 255], atol=1)


def test_a_mask_that_is_too_wide_shows_the_background_and_one_that_is_too_narrow_cuts() -> None:
    edge = np.array([0.2, 0.0])  # eight pixels at most, in the first frame alone
    first, second = _filming(edge=edge).developed(np.stack([SQUARE, SQUARE]))
    assert np.array_equal(second, SQUARE)
    solid = first[..., 3] > 240
    outside = solid & (SQUARE[..., 3] == 0)
    assert outside.sum() > 5
    assert (first[outside][:, :3] == [200, 0, 0]).all(axis=1).mean() > 0.8
    assert (~solid & (SQUARE[..., 3] > 0)).sum() > 5
    assert (first[19:21, 19:21] == 255).all()
    assert (first[first[..., 3] == 0] == 0).all()


def test_a_hole_is_open_in_its_frames() -> None:
    first, second = _filming(holes=np.array([[0.5, 0.5, 0.06, 1, 1]])).developed(np.stack([SQUARE, SQUARE]))
    assert np.array_equal(first, SQUARE)
    assert second[20, 20, 3] == 0
    rows, columns = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE
    expected = np.hypot(rows - 0.5, columns - 0.5) < 0.06
    assert np.array_equal(second[10:30, 10:30, 3] == 0, expected[10:30, 10:30])


def test_an_empty_frame_stays_empty() -> None:
    empty = np.zeros((2, SIZE, SIZE, 4), np.uint8)
    assert not _filming(edge=np.full(2, 0.1)).developed(empty).any()


def test_draws_stay_within_their_limits_and_differ() -> None:
    config = VideoVariationConfig(
        share=1.0, light=60.0, exposure=0.4, edge=0.02, holes=2, shift=0.02, zoom=0.05, roll=3.0
    )
    drawn = [draw_filming(config, 8, np.random.default_rng(seed)) for seed in range(100)]
    for one in drawn:
        assert abs(one.light) <= 60
        assert np.abs(np.log2(one.gains)).max() <= 0.5
        assert np.abs(one.edge).max() <= 0.025
        assert np.abs(one.shift).max() <= 0.025
        assert 0.95 <= one.zoom <= 1.05
        assert abs(one.roll) <= 3
        assert (one.holes[:, 3] <= one.holes[:, 4]).all()
    assert {len(one.holes) for one in drawn} == {0, 1, 2}
    assert len({one.light for one in drawn}) == 100
