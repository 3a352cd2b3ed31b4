"""Tables of scores on our own held-out clips, averaged over views, frames and clips.

Every method is scored beside two references that need no network: `static`, the canonical Gaussians without motion, and
`interpolated`, the canonical Gaussians moved by the ground-truth mesh (Eq. 3-4). A method's gap closed is the share of the
way from the first to the second that it covers, in PSNR.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gvf.methods import INTERPOLATED, METHODS, STATIC

SMALLEST_GAP = 0.1  # dB; with a smaller gap the clip hardly moves in these views, and no share of it means anything


@dataclass(frozen=True)
class Clip:
    """A held-out clip. asset_seen: whether another animation of the same asset is in the training split."""

    clip_id: str
    family: str
    asset_seen: bool


def gap_closed(score: float, static: float, interpolated: float) -> float:
    """Return (score - static) / (interpolated - static) in dB of PSNR; NaN when there is hardly a gap to close."""
    gap = interpolated - static
    return (score - static) / gap if gap >= SMALLEST_GAP else float("nan")


def clip_table(scores: Iterable[tuple[Clip, str, Mapping[str, float]]]) -> pd.DataFrame:
    """Return one row per clip and method, with the clip's `gap_closed`. scores: (clip, method, metrics) of every method."""
    rows: list[dict[str, Any]] = [
        {"clip_id": clip.clip_id, "family": clip.family, "asset_seen": clip.asset_seen, "method": method, **metrics}
        for clip, method, metrics in scores
    ]
    table = pd.DataFrame(rows)
    psnr = {(row["clip_id"], row["method"]): row["psnr"] for row in rows}
    table["gap_closed"] = [
        gap_closed(value, psnr[clip, STATIC], psnr[clip, INTERPOLATED]) for (clip, _), value in psnr.items()
    ]
    return table


def summary_table(clips: pd.DataFrame, set_scores: Mapping[str, Mapping[str, float]] | None = None) -> pd.DataFrame:
    """Return means over clips, one row per group and method.

    The groups are `all`, `seen` and `unseen` (whether the asset is in training) and the families. clips: from `clip_table`.
    set_scores: method -> metrics of the whole set, which join the rows of group `all`. `gap_closed` is that of the mean
    PSNRs, not the mean of the clips' own.
    """
    known = ("clip_id", "family", "asset_seen", "method", "gap_closed")
    names = [name for name in clips.columns if name not in known]
    groups = {"all": clips, "seen": clips[clips["asset_seen"]], "unseen": clips[~clips["asset_seen"]]}
    groups |= {f"family {name}": part for name, part in sorted(clips.groupby("family"), key=lambda item: str(item[0]))}
    rows = []
    for group, part in groups.items():
        if part.empty:
            continue
        means = part.groupby("method")[names].mean()
        for method in (name for name in METHODS if name in means.index):
            row = {"group": group, "method": method, "num_clips": part["clip_id"].nunique()}
            row |= {name: means.at[method, name] for name in names}
            if group == "all" and set_scores:
                row |= set_scores.get(method, {})
            psnr = means["psnr"]
            row["gap_closed"] = gap_closed(psnr[method], psnr[STATIC], psnr[INTERPOLATED])
            rows.append(row)
    return pd.DataFrame(rows)


def flat_metrics(summary: pd.DataFrame) -> dict[str, float]:
    """Return the metrics of a summary under flat names: `dit_psnr`, `vae_gap_closed`, and `_seen`, `_unseen` gaps."""
    metrics: dict[str, float] = {}
    everything = summary[summary["group"] == "all"]
    metrics["num_clips"] = int(everything["num_clips"].iloc[0])
    for row in everything.to_dict("records"):
        for name, value in row.items():
            if name not in ("group", "method", "num_clips") and pd.notna(value) and not _is_reference_gap(row, name):
                metrics[f"{row['method']}_{name}"] = float(value)
    for group in ("seen", "unseen"):
        for row in summary[summary["group"] == group].to_dict("records"):
            if pd.notna(row["gap_closed"]) and not _is_reference_gap(row, "gap_closed"):
                metrics[f"{row['method']}_gap_closed_{group}"] = float(row["gap_closed"])
    return metrics


def _is_reference_gap(row: Mapping[object, object], name: object) -> bool:
    """Return whether it is a reference's own gap, which is 0 or 1 by definition."""
    return name == "gap_closed" and row["method"] in (STATIC, INTERPOLATED)
