"""Tables of scores on our own held-out clips, averaged over views, frames and clips.

Every method is scored beside two references that need no network: `static`, the canonical Gaussians without motion, and
`interpolated`, the canonical Gaussians moved by the ground-truth mesh (Eq. 3-4). A method's gap closed is the share of the
way from the first to the second that it covers, in PSNR. Its displacement error is the RMS distance of its Gaussians from
the interpolated ones over the RMS of their motion: 1 for standing still, 0 for the motion of the mesh.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gvf.methods import INTERPOLATED, METHODS, STATIC

DISPLACEMENT_ERROR = "displacement_error"
SMALLEST_GAP = 0.1  # dB; with a smaller gap the clip hardly moves in these views, and no share of it means anything


MOTION_SIZES = {"small": 0.3, "medium": 0.6, "large": math.inf}
"""Upper bounds of a clip's motion, in object units: the distance that the fastest hundredth of the surface travels."""


@dataclass(frozen=True)
class Clip:
    """A held-out clip. kind: of its object. asset_seen, skeleton_seen: whether training has another animation of the same.

    motion: distance that the fastest hundredth of the surface travels, object units.
    """

    clip_id: str
    kind: str
    asset_seen: bool
    skeleton_seen: bool
    motion: float

    @property
    def motion_size(self) -> str:
        """Return the name of the motion's size in `MOTION_SIZES`."""
        return next(name for name, bound in MOTION_SIZES.items() if self.motion < bound)


CLIP_COLUMNS = ("clip_id", "kind", "asset_seen", "skeleton_seen", "motion", "motion_size")


def gap_closed(score: float, static: float, interpolated: float) -> float:
    """Return (score - static) / (interpolated - static) in dB of PSNR; NaN when there is hardly a gap to close."""
    gap = interpolated - static
    return (score - static) / gap if gap >= SMALLEST_GAP else float("nan")


def clip_table(scores: Iterable[tuple[Clip, str, Mapping[str, float]]]) -> pd.DataFrame:
    """Return one row per clip and method, with the clip's `gap_closed`. scores: (clip, method, metrics) of every method."""
    rows: list[dict[str, Any]] = [
        {**{name: getattr(clip, name) for name in CLIP_COLUMNS}, "method": method, **metrics}
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

    The groups are `all`; `seen` and `unseen` (whether the asset is in training), the same of skeletons, kinds of objects, and
    sizes of motion. clips: from `clip_table`. set_scores: method -> metrics of the whole set, which join the rows of group
    `all`. A method that failed on some clips has fewer `num_clips`, and its `gap_closed` is relative to the references on the
    same clips; it is that of the mean PSNRs, not the mean of the clips' own.
    """
    names = [name for name in clips.columns if name not in (*CLIP_COLUMNS, "method", "gap_closed")]
    rows = []
    for group, part in groups_of(clips).items():
        for method in (name for name in METHODS if name in set(part["method"])):
            own = part[part["method"] == method]
            row = {"group": group, "method": method, "num_clips": len(own), **own[names].mean()}
            if group == "all" and set_scores:
                row |= set_scores.get(method, {})
            same = part[part["clip_id"].isin(own["clip_id"])].groupby("method")["psnr"].mean()
            row["gap_closed"] = gap_closed(same[method], same[STATIC], same[INTERPOLATED])
            rows.append(row)
    return pd.DataFrame(rows)


def groups_of(clips: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of every group that has some, `all` first. clips: one or more rows per clip, with its properties."""
    groups = {"all": clips, "seen": clips[clips["asset_seen"]], "unseen": clips[~clips["asset_seen"]]}
    groups |= {"skeleton seen": clips[clips["skeleton_seen"]], "skeleton unseen": clips[~clips["skeleton_seen"]]}
    groups |= {f"kind {name}": clips[clips["kind"] == name] for name in sorted(clips["kind"].unique())}
    groups |= {f"motion {name}": clips[clips["motion_size"] == name] for name in MOTION_SIZES}
    return {name: part for name, part in groups.items() if not part.empty}


def flat_metrics(summary: pd.DataFrame) -> dict[str, float]:
    """Return the metrics of a summary under flat names: `dit_psnr`, `vae_gap_closed`, and gaps such as `dit_gap_closed_unseen`."""
    metrics: dict[str, float] = {}
    everything = summary[summary["group"] == "all"]
    metrics["num_clips"] = int(everything["num_clips"].iloc[0])
    for row in everything.to_dict("records"):
        for name, value in row.items():
            if name not in ("group", "method", "num_clips") and pd.notna(value) and not _is_by_definition(row, name):
                metrics[f"{row['method']}_{name}"] = float(value)
    for row in summary[summary["group"] != "all"].to_dict("records"):
        if pd.notna(row["gap_closed"]) and not _is_by_definition(row, "gap_closed"):
            metrics[f"{row['method']}_gap_closed_{row['group'].replace(' ', '_')}"] = float(row["gap_closed"])
    return metrics


def _is_by_definition(row: Mapping[object, object], name: object) -> bool:
    """Return whether it is a reference's own gap or displacement error, which is 0 or 1 by definition."""
    return name in ("gap_closed", DISPLACEMENT_ERROR) and row["method"] in (STATIC, INTERPOLATED)
