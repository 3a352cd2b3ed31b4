"""Scores of our own held-out clips: four views a frame, picture by picture, averaged over views, frames and clips.

Every method is scored beside two references that need no network: `static`, the canonical Gaussians without motion, and
`interpolated`, the canonical Gaussians moved by the true mesh (Eq. 3-4). How much of the way from one to the other a
method goes, in PSNR, is its gap closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import Tensor

from gvf.metrics.absence import Absence

STATIC, INTERPOLATED = "static", "interpolated"
METHODS = (STATIC, INTERPOLATED, "vae", "dit")
# A gap smaller than this has no meaningful part: the clip hardly moves in these views. dB.
SMALLEST_GAP = 0.1

# Prediction and truth, float32 [P, H, W, 3] in [0, 1], to one value a picture, [P], or why there is none.
PictureMeasure = Callable[[Tensor, Tensor], Tensor | Absence]


@dataclass(frozen=True)
class SetMeasure:
    """A distance of sets of videos, from features of each, so that no more than a clip's videos are in memory.

    features: float32 [S, T, H, W, 3] in [0, 1] to [S, D]. distance: features of all predictions and of all truths, to
    one value, or why there is none.
    """

    features: Callable[[Tensor], Tensor]
    distance: Callable[[Tensor, Tensor], float | Absence]


@dataclass(frozen=True)
class Clip:
    """What is known of a held-out clip. asset_seen: another animation of the same asset is in the training split."""

    clip_id: str
    family: str
    asset_seen: bool


def score_frames(prediction: Tensor, truth: Tensor, measures: Mapping[str, PictureMeasure]) -> dict[str, list[float]]:
    """Each measure of one method on one clip, frame by frame [T]: a mean over views.

    prediction, truth: float32 [T, V, H, W, 3] in [0, 1]. Raises ValueError when their shapes differ.
    """
    if prediction.shape != truth.shape or prediction.dim() != 5:
        raise ValueError(
            f"prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} are not one [T, V, H, W, 3]"
        )
    frames, views = prediction.shape[:2]
    pictures = prediction.flatten(0, 1), truth.flatten(0, 1)
    scores = {}
    for name, measure in measures.items():
        values = measure(*pictures)
        if isinstance(values, Absence):
            raise ValueError(f"{name} was said to be there: {values}")
        scores[name] = values.double().reshape(frames, views).mean(1).tolist()
    return scores


def as_videos(pictures: Tensor) -> Tensor:
    """[T, V, H, W, 3] as one video a view, [V, T, H, W, 3]."""
    return pictures.transpose(0, 1)


def gap_closed(score: float, static: float, interpolated: float) -> float:
    """(score - static) / (interpolated - static) in dB of PSNR; NaN when there is hardly a gap to close."""
    gap = interpolated - static
    return (score - static) / gap if gap >= SMALLEST_GAP else float("nan")


def clip_table(scores: Iterable[tuple[Clip, str, Mapping[str, float]]]) -> pd.DataFrame:
    """Return one row per clip and method, with `gap_closed` of the clip. scores: (clip, method, measures) of every method."""
    rows: list[dict[str, Any]] = [
        {"clip_id": clip.clip_id, "family": clip.family, "asset_seen": clip.asset_seen, "method": method, **measures}
        for clip, method, measures in scores
    ]
    table = pd.DataFrame(rows)
    psnr = {(row["clip_id"], row["method"]): row["psnr"] for row in rows}
    table["gap_closed"] = [
        gap_closed(value, psnr[clip, STATIC], psnr[clip, INTERPOLATED]) for (clip, _), value in psnr.items()
    ]
    return table


def summary_table(clips: pd.DataFrame, set_scores: Mapping[str, Mapping[str, float]] | None = None) -> pd.DataFrame:
    """Means over clips: a row a group and method. Groups: `all`, `seen`, `unseen` (asset in training or not), families.

    clips: of `clip_table`. set_scores: method -> measures of the whole set, which join the rows of group `all`.
    `gap_closed` is that of the mean PSNRs, not the mean of the clips' own.
    """
    known = ("clip_id", "family", "asset_seen", "method", "gap_closed")
    measures = [name for name in clips.columns if name not in known]
    groups = {"all": clips, "seen": clips[clips["asset_seen"]], "unseen": clips[~clips["asset_seen"]]}
    groups |= {f"family {name}": part for name, part in sorted(clips.groupby("family"), key=lambda item: str(item[0]))}
    rows = []
    for group, part in groups.items():
        if part.empty:
            continue
        means = part.groupby("method")[measures].mean()
        for method in (name for name in METHODS if name in means.index):
            row = {"group": group, "method": method, "num_clips": part["clip_id"].nunique()}
            row |= {name: means.at[method, name] for name in measures}
            if group == "all" and set_scores:
                row |= set_scores.get(method, {})
            psnr = means["psnr"]
            row["gap_closed"] = gap_closed(psnr[method], psnr[STATIC], psnr[INTERPOLATED])
            rows.append(row)
    return pd.DataFrame(rows)


def flat_metrics(summary: pd.DataFrame) -> dict[str, float]:
    """The figures of a summary under flat names: `dit_psnr`, `vae_gap_closed`, and `_seen`, `_unseen` gaps."""
    figures: dict[str, float] = {}
    everything = summary[summary["group"] == "all"]
    figures["num_clips"] = int(everything["num_clips"].iloc[0])
    for row in everything.to_dict("records"):
        for name, value in row.items():
            if name not in ("group", "method", "num_clips") and pd.notna(value) and not _is_reference_gap(row, name):
                figures[f"{row['method']}_{name}"] = float(value)
    for group in ("seen", "unseen"):
        for row in summary[summary["group"] == group].to_dict("records"):
            if pd.notna(row["gap_closed"]) and not _is_reference_gap(row, "gap_closed"):
                figures[f"{row['method']}_gap_closed_{group}"] = float(row["gap_closed"])
    return figures


def _is_reference_gap(row: Mapping[object, object], name: object) -> bool:
    """The references' own gap is 0 and 1 by definition."""
    return name == "gap_closed" and row["method"] in (STATIC, INTERPOLATED)
