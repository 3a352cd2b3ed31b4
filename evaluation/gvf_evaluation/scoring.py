"""The scoring engine: predicted frames against the ground truth, by a list of metrics, view by view in bounded memory.

The stage `evaluate` feeds it rendered clips, `gvf evaluate --predictions` feeds it the files of any method.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gvf.metrics.absence import Absence
from gvf.metrics.metric import ImageMetric, ImagePairs, Metric, VideoSetMetric
from gvf.metrics.table import absences

Frames = Sequence[np.ndarray]


@dataclass(frozen=True, eq=False)
class FramePairs:
    """Consecutive frames of one view.

    images: as image metrics compare them. video: the same frames as a video network sees them, of the prediction and of
    the ground truth: [H, W, 3] from 0 to 255 over white, in their own size.
    """

    images: ImagePairs
    video: tuple[Frames, Frames]


@dataclass(frozen=True, eq=False)
class FrameScores:
    """Scores of all frames of one clip or object.

    values: one per frame of each image metric, [V, T] float64. features: of each set metric, one vector per view of the
    prediction and of the ground truth, [2, V, D]. absent: metric -> what is missing and how to get it.
    """

    values: Mapping[str, np.ndarray]
    features: Mapping[str, np.ndarray]
    absent: Mapping[str, str]

    @property
    def means(self) -> dict[str, float]:
        """Return the mean of each image metric over frames, then views; a metric without any value is left out."""
        means = {name: float(mean(mean(values, axis=1))) for name, values in self.values.items()}
        return {name: value for name, value in means.items() if not np.isnan(value)}

    @property
    def over_time(self) -> dict[str, np.ndarray]:
        """Return the mean over views of each image metric, [T]."""
        return {name: mean(values, axis=0) for name, values in self.values.items()}


def score_frames(
    views: Iterable[Iterable[FramePairs]],
    metrics: Sequence[Metric],
    device: torch.device,
    ground_truth_features: Mapping[str, np.ndarray] | None = None,
) -> FrameScores:
    """Score every frame of every view by the image metrics, and every view's video by the set metrics.

    views: batches of frames of each view, read one at a time; only a set metric keeps all frames of a view in memory.
    ground_truth_features: [V, D] of each set metric, where an earlier call computed them. Metrics of point clouds are not
    computed here.
    """
    absent = absences(metrics)
    present = [metric for metric in metrics if metric.name not in absent]
    values: dict[str, list[np.ndarray]] = {}
    features: dict[str, list[np.ndarray]] = {}
    for number, view in enumerate(views):
        known = {name: vectors[number] for name, vectors in (ground_truth_features or {}).items()}
        scores = _score_view(view, present, device, known)
        absent |= scores.absent
        for name, frames in scores.values.items():
            values.setdefault(name, []).append(frames)
        for name, vectors in scores.features.items():
            features.setdefault(name, []).append(vectors)
    return FrameScores(
        {name: np.stack(frames) for name, frames in values.items() if name not in absent},
        {name: np.stack(vectors, axis=1) for name, vectors in features.items()},
        absent,
    )


def mean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Return the mean along an axis without NaN values; NaN where there is nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing
        return np.nanmean(values, axis=axis)


def _score_view(
    view: Iterable[FramePairs], metrics: Sequence[Metric], device: torch.device, known: Mapping[str, np.ndarray]
) -> FrameScores:
    """Score one view: values [T], features [2, D]. known: features [D] of the ground truth."""
    image_metrics = [metric for metric in metrics if isinstance(metric, ImageMetric)]
    set_metrics = [metric for metric in metrics if isinstance(metric, VideoSetMetric)]
    parts: dict[str, list[np.ndarray]] = {}
    absent: dict[str, str] = {}
    predicted: list[np.ndarray] = []
    true: list[np.ndarray] = []
    for batch in view:
        for metric in image_metrics:
            measured = metric.compute(batch.images)
            if isinstance(measured, Absence):
                absent[metric.name] = measured.explanation
            else:
                parts.setdefault(metric.name, []).append(measured.double().cpu().numpy())
        if set_metrics:
            predicted += batch.video[0]
            true += batch.video[1]
    features = {
        metric.name: np.stack(
            [
                _array(metric.features(predicted, device)),
                known[metric.name] if metric.name in known else _array(metric.features(true, device)),
            ]
        )
        for metric in set_metrics
    }
    return FrameScores({name: np.concatenate(values) for name, values in parts.items()}, features, absent)


def _array(features: Tensor) -> np.ndarray:
    return features.numpy()


def score_sets(
    features: Mapping[str, Sequence[np.ndarray]], metrics: Sequence[Metric]
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the value of each set metric, and the reasons of those that have none.

    features: of each metric, [2, V, D] of every clip or object, as `FrameScores` holds them.
    """
    scores: dict[str, float] = {}
    absent: dict[str, str] = {}
    for metric in metrics:
        if isinstance(metric, VideoSetMetric) and features.get(metric.name):
            predicted, true = torch.from_numpy(np.stack(features[metric.name], axis=1))
            value = metric.distance(predicted, true)
            if isinstance(value, Absence):
                absent[metric.name] = value.explanation
            else:
                scores[metric.name] = value
    return scores, absent
