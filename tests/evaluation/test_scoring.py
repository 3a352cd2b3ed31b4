"""The scoring engine on drawn frames: values worked out by hand, absences, and memory bounded by batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from gvf.metrics.absence import Absence
from gvf.metrics.metric import ImageMetric, ImagePairs, VideoSetMetric
from gvf.metrics.psnr import LARGEST_PSNR
from gvf.metrics.table import METRICS
from gvf_evaluation.clip_scores import clip_views
from gvf_evaluation.scoring import FramePairs, mean, score_frames, score_sets

CPU = torch.device("cpu")
SUM = ImageMetric(
    name="sum",
    title="Sum",
    definition="Sum of differences.",
    higher_is_better=False,
    format="{}",
    compute=lambda pairs: (pairs.prediction - pairs.ground_truth).sum(dim=(1, 2, 3)),
)
BRIGHTNESS = VideoSetMetric(
    name="brightness",
    title="Brightness",
    definition="Difference of brightness.",
    higher_is_better=False,
    format="{}",
    features=lambda frames, device: torch.tensor([np.stack(frames).mean() / 255.0]),
    distance=lambda one, other: float((one - other).abs().mean()),
)


def pairs(prediction: torch.Tensor, ground_truth: torch.Tensor) -> FramePairs:
    frames = [[*(255.0 * images.numpy())] for images in (prediction, ground_truth)]
    return FramePairs(ImagePairs(prediction, ground_truth), (frames[0], frames[1]))


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    """[V, T, H, W, 3]: one of six images is off by 0.1, which is 20 dB."""
    ground_truth = torch.zeros(3, 2, 12, 12, 3)
    prediction = ground_truth.clone()
    prediction[2, 1] = 0.1
    return prediction, ground_truth


def test_values_are_those_of_each_frame_and_means_go_over_frames_or_views() -> None:
    views = ([pairs(*view)] for view in zip(*drawn()))
    scores = score_frames(views, [METRICS["psnr"], SUM, METRICS["chamfer"]], CPU)
    expected = np.full((3, 2), LARGEST_PSNR)
    expected[2, 1] = 20.0
    np.testing.assert_allclose(scores.values["psnr"], expected, rtol=1e-6)
    assert scores.over_time["psnr"] == pytest.approx([LARGEST_PSNR, (2 * LARGEST_PSNR + 20.0) / 3])
    assert scores.over_time["sum"] == pytest.approx([0, 12 * 12 * 3 * 0.1 / 3], rel=1e-5)
    assert scores.means["psnr"] == pytest.approx((5 * LARGEST_PSNR + 20.0) / 6)
    assert scores.values.keys() == {"psnr", "sum"}, "point clouds are not images"


def test_one_batch_is_read_at_a_time_and_batches_change_nothing() -> None:
    alive = 0

    def batches(view: tuple[torch.Tensor, torch.Tensor]) -> Iterator[FramePairs]:
        nonlocal alive
        for prediction, ground_truth in zip(*(images.split(1) for images in view)):
            alive += 1
            assert alive == 1
            yield pairs(prediction, ground_truth)
            alive -= 1

    metrics = [METRICS["psnr"], METRICS["ssim"], BRIGHTNESS]
    whole = score_frames(([pairs(*view)] for view in zip(*drawn())), metrics, CPU)
    parts = score_frames((batches(view) for view in zip(*drawn())), metrics, CPU)
    for name in ("psnr", "ssim"):
        np.testing.assert_array_equal(parts.values[name], whole.values[name])
    np.testing.assert_array_equal(parts.features["brightness"], whole.features["brightness"])


def test_set_metrics_get_the_features_of_every_view_and_known_ones_are_not_computed_again() -> None:
    scores = score_frames(([pairs(*view)] for view in zip(*drawn())), [BRIGHTNESS], CPU)
    np.testing.assert_allclose(scores.features["brightness"], [[[0], [0], [0.05]], [[0], [0], [0]]], atol=1e-6)
    assert score_sets({"brightness": [scores.features["brightness"]] * 2}, [BRIGHTNESS]) == (
        {"brightness": pytest.approx(0.05 / 3)},
        {},
    )
    known = {"brightness": np.full((3, 1), 0.5)}
    again = score_frames(([pairs(*view)] for view in zip(*drawn())), [BRIGHTNESS], CPU, known)
    assert (again.features["brightness"][1] == 0.5).all()
    two = score_sets({"fvd": [np.zeros((2, 1, 5))]}, [METRICS["fvd"]])
    assert two == ({}, {"fvd": "a covariance needs at least two videos. Score more clips or views."})


def test_what_cannot_be_measured_is_absent_with_reason_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GVF_WEIGHTS", "TORCH_HOME", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    gap = Absence("odd", "the second view has none", "Leave it out")
    odd = ImageMetric(
        name="odd",
        title="Odd",
        definition="Absent for some images.",
        higher_is_better=False,
        format="{}",
        compute=lambda images: gap if images.prediction.max() > 0 else images.prediction.sum((1, 2, 3)),
    )
    metrics = [METRICS["psnr"], METRICS["lpips"], METRICS["fvd"], odd]
    scores = score_frames(([pairs(*view)] for view in zip(*drawn())), metrics, CPU)
    assert scores.values.keys() == scores.means.keys() == {"psnr"}
    assert not scores.features
    assert scores.absent["odd"] == "the second view has none. Leave it out"
    assert "vgg16" in scores.absent["lpips"]
    assert "GVF_WEIGHTS" in scores.absent["fvd"]


def test_means_leave_out_nan() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan]])
    assert mean(values, axis=0)[0] == 2.0
    assert np.isnan(mean(values, axis=0)[1])
    assert mean(values) == 2.0


def test_a_clip_is_split_into_views_over_white_with_its_foreground() -> None:
    rgba = torch.zeros(2, 3, 4, 5, 4, dtype=torch.uint8)
    rgba[1, 2, 0, 0] = torch.tensor([255, 0, 0, 128])
    prediction = torch.full((2, 3, 4, 5, 3), 51, dtype=torch.uint8)
    views = list(clip_views(prediction, rgba))
    assert len(views) == 3
    ((batch,)) = views[2]
    assert batch.images.prediction.shape == (2, 4, 5, 3)
    assert (batch.images.prediction == 0.2).all()
    alpha = 128 / 255
    expected = torch.tensor([1.0, 1 - alpha, 1 - alpha])
    torch.testing.assert_close(batch.images.ground_truth[1, 0, 0], expected)
    assert batch.images.foreground is not None
    assert batch.images.foreground.nonzero().tolist() == [[1, 0, 0]]
    np.testing.assert_allclose(batch.video[0], 51, rtol=1e-6)
    np.testing.assert_allclose(batch.video[1][0], 255)
    with pytest.raises(ValueError, match=r"are not both \[T, V, H, W, C\]"):
        list(clip_views(prediction[:1], rgba))
