"""Tables of held-out clips, worked out by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from gvf_evaluation.held_out import Clip, clip_table, flat_metrics, gap_closed, summary_table

SEEN = Clip("cat-0--walk", "cat", asset_seen=True, skeleton_seen=True, motion=0.3)
UNSEEN = Clip("dog-0--walk", "dog", asset_seen=False, skeleton_seen=True, motion=0.29)


def table() -> pd.DataFrame:
    psnr = {
        SEEN: {"static": 20.0, "interpolated": 30.0, "vae": 28.0, "dit": 22.0},
        UNSEEN: {"static": 24.0, "interpolated": 24.05, "vae": 24.0, "dit": 23.0},  # hardly moves
    }
    scores = ((clip, name, value) for clip, values in psnr.items() for name, value in values.items())
    return clip_table((clip, name, {"psnr": value, "ssim": value / 40}) for clip, name, value in scores)


def test_gap_closed_of_clips_and_of_the_means() -> None:
    clips = table().set_index(["clip_id", "method"])
    assert clips.at[("cat-0--walk", "vae"), "gap_closed"] == pytest.approx(0.8)
    assert clips.at[("cat-0--walk", "dit"), "gap_closed"] == pytest.approx(0.2)
    assert clips.at[("cat-0--walk", "static"), "gap_closed"] == 0
    assert math.isnan(clips.at[("dog-0--walk", "dit"), "gap_closed"])
    assert gap_closed(19.0, 20.0, 30.0) == pytest.approx(-0.1)

    summary = summary_table(table(), {"dit": {"fvd": 7.0}}).set_index(["group", "method"])
    # means: static 22, interpolated 27.025, vae 26, dit 22.5
    assert summary.at[("all", "vae"), "gap_closed"] == pytest.approx(4 / 5.025)
    assert summary.at[("all", "dit"), "psnr"] == pytest.approx(22.5)
    assert summary.at[("all", "dit"), "fvd"] == 7.0
    assert math.isnan(summary.at[("all", "vae"), "fvd"])
    assert summary.at[("seen", "dit"), "gap_closed"] == pytest.approx(0.2)
    assert math.isnan(summary.at[("unseen", "dit"), "gap_closed"])
    assert list(summary.index.get_level_values(0).unique()) == [
        *("all", "seen", "unseen", "skeleton seen", "kind cat", "kind dog", "motion small", "motion medium"),
    ]
    assert list(summary.loc["all"].index) == ["static", "interpolated", "vae", "dit"]
    assert summary.at[("kind dog", "vae"), "num_clips"] == 1
    assert summary.at[("skeleton seen", "vae"), "num_clips"] == 2
    assert summary.at[("motion small", "dit"), "psnr"] == 23.0, "0.29 is below 0.3"
    assert summary.at[("motion medium", "dit"), "psnr"] == 22.0


def test_flat_metrics_hold_every_metric_that_exists_and_no_reference_gaps() -> None:
    metrics = flat_metrics(summary_table(table()))
    assert metrics["num_clips"] == 2
    assert metrics["dit_psnr"] == pytest.approx(22.5)
    assert metrics["static_ssim"] == pytest.approx(0.55)
    assert metrics["vae_gap_closed_seen"] == metrics["vae_gap_closed_kind_cat"] == pytest.approx(0.8)
    assert not {"static_gap_closed", "interpolated_gap_closed", "dit_gap_closed_unseen", "dit_fvd"} & set(metrics)
    assert all(math.isfinite(value) for value in metrics.values())
