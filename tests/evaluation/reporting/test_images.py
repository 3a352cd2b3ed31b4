"""Images of clips: strips, stacks and data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from gvf_evaluation.reporting.images import GAP, fit, loop_uri, spread, stack, still_uri, strip

FRAMES = np.stack([np.full((4, 6, 3), value, np.uint8) for value in (0, 120, 240)])


def opened(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


def test_frames_are_spread_from_first_to_last() -> None:
    assert spread(8, 3) == [0, 4, 7]
    assert spread(3, 8) == [0, 1, 2]
    assert spread(5, 1) == [4]


def test_strips_and_stacks_keep_every_tile() -> None:
    row = strip(FRAMES)
    assert row.shape == (4, 3 * 6 + 2 * GAP, 3)
    assert [int(row[0, x, 0]) for x in (0, 6 + GAP, 12 + 2 * GAP)] == [0, 120, 240]
    both = stack([row, row[:, :6]])
    assert both.shape == (2 * (4 + GAP), row.shape[1], 3)
    assert (both[4 + GAP, 7:] == 255).all()


def test_large_tiles_shrink_and_small_ones_stay() -> None:
    assert fit(FRAMES, 3).shape == (3, 2, 3, 3)
    assert fit(FRAMES, 6) is FRAMES


def test_data_uris_hold_the_frames_and_are_the_same_every_time() -> None:
    image = opened(still_uri(FRAMES[1]))
    assert image.size == (6, 4)
    assert np.asarray(image.convert("RGB")).mean() == pytest.approx(120, abs=2)
    loop = opened(loop_uri(FRAMES))
    assert loop.n_frames == 3
    assert loop_uri(FRAMES) == loop_uri(FRAMES)
