"""Scores of objects of first frames: IoU by hand, means over the objects that a method has, and the worst of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gvf_evaluation.held_out import Clip
from gvf_evaluation.reporting.report_tables import shapes_by_group
from gvf_evaluation.reporting.shape_section import worst
from gvf_evaluation.shape_scores import flat_shapes, intersection_over_union, shape_summary, shape_table


def test_iou_of_voxels_given_by_their_indices() -> None:
    voxels = np.array([[0, 0, 0], [0, 0, 1], [3, 2, 1]], np.int32)
    assert intersection_over_union(voxels, voxels[[2, 0, 1]]) == 1.0
    others = np.array([[0, 0, 1], [3, 2, 1], [7, 7, 7], [6, 7, 7]], np.int64)
    assert intersection_over_union(voxels, others) == pytest.approx(2 / 5)
    assert intersection_over_union(voxels, np.array([[1, 0, 0]])) == 0.0
    assert intersection_over_union(voxels, np.empty((0, 3), np.int64)) == 0.0


def scored() -> pd.DataFrame:
    clips = {name: Clip(name, name[:3], asset_seen=name == "cat-0", skeleton_seen=True, motion=0.1) for name in SCORES}
    return shape_table([(clips[name], SCORES[name]) for name in SCORES], ("psnr", "lpips"))


SCORES = {
    "cat-0": {
        "nearest": {"iou": 0.5, "psnr": 20.0},
        "video": {"iou": 0.7, "psnr": 24.0},
        "true_voxels": {"psnr": 30.0},
    },
    "dog-0": {"nearest": {"iou": 0.3, "psnr": 18.0}, "true_voxels": {"psnr": 28.0}},  # nothing was generated
    "dog-1": {
        "nearest": {"iou": 0.9, "psnr": 25.0},
        "video": {"iou": 0.2, "psnr": 16.0},
        "true_voxels": {"psnr": 26.0},
    },
}


def test_rows_average_over_the_objects_that_a_method_has() -> None:
    table = scored()
    assert [*table.columns][-3:] == ["method", "iou", "psnr"], "lpips was not measured"
    summary = shape_summary(table).set_index(["group", "method"])
    assert summary.loc["all"]["num_clips"].to_dict() == {"nearest": 3, "video": 2, "true_voxels": 3}
    assert summary.at[("all", "video"), "iou"] == pytest.approx(0.45)
    assert summary.at[("all", "nearest"), "iou"] == pytest.approx(17 / 30)
    assert summary.at[("unseen", "video"), "psnr"] == 16.0
    assert summary.at[("seen", "nearest"), "psnr"] == 20.0
    assert np.isnan(summary.at[("all", "true_voxels"), "iou"])
    metrics = flat_shapes(summary.reset_index())
    assert metrics["shape_video_iou"] == pytest.approx(0.45)
    assert "shape_true_voxels_iou" not in metrics


def test_groups_say_where_a_method_has_fewer_clips() -> None:
    table = shapes_by_group(shape_summary(scored())).set_index("group")
    assert table["num_clips"].to_dict() | {"kind dog": 2, "all": 3} == table["num_clips"].to_dict()
    assert table.at["all", "video_num_clips"] == 2
    assert table.at["kind dog", "video_num_clips"] == 1
    assert "nearest_num_clips" not in table.columns
    assert table.at["kind dog", "video_iou"] == 0.2
    assert table.at["kind dog", "nearest_psnr"] == 21.5


def test_the_worst_objects_are_those_that_failed_then_those_of_lowest_iou() -> None:
    assert worst(scored()) == ["dog-0", "dog-1"]
