"""Images of clips as data URIs, and the choice of clips."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gvf_evaluation.reporting.images import GAP, fit, loop_uri, spread, stack, still_uri, strip
from gvf_evaluation.reporting.shown_clips import choose, choose_failures

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


def table(gaps: dict[str, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"clip_id": clip, "method": "dit", "psnr": 20 + i, "gap_closed": gap}
            for i, (clip, gap) in enumerate(gaps.items())
        ]
    )


def test_best_and_median_are_chosen_by_gap_then_by_name() -> None:
    clips = table({"a": 0.1, "b": 0.9, "c": math.nan, "d": 0.5, "e": 0.5, "f": -1.0})
    assert choose(clips) == [("best", "b"), ("median", "e")]
    assert choose_failures(clips) == [("worst", "f")]
    still = table({"a": math.nan, "b": math.nan})
    assert choose(still) == [("best", "b"), ("median", "a")]
    assert choose_failures(still) == []
    assert choose(table({"a": 0.1})) == [("best", "a")]
    assert choose_failures(table({"a": 0.1})) == []


def test_failures_are_the_clips_below_zero_or_the_worst_one() -> None:
    clips = {"a": -0.1, "b": 0.9, "c": -0.3, "d": -0.2, "e": 0.5, "f": 0.8, "g": 0.7, "h": -0.05, "i": 0.6}
    assert choose_failures(table(clips)) == [("worst", "c"), ("second worst", "d"), ("third worst", "a")]
    assert choose_failures(table({"a": 0.1, "b": 0.9, "c": 0.5})) == [("worst", "a")]
    assert choose_failures(table({"a": -0.1, "b": -0.9, "c": -0.5})) == [("worst", "b")]  # the others are shown above
