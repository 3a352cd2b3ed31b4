"""The held-out clips that the report shows, and their images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gvf.methods import DIT, INTERPOLATED, STATIC, VAE
from gvf_evaluation.reporting.images import fit, loop_uri, spread, still_uri, strip

FAILURES = 3  # failed clips shown at most
VIEW = 0  # the evaluation view shown, which is far from the frontal camera of the conditioning video
METHOD_LABELS = {
    STATIC: "Static",
    INTERPOLATED: "Interpolated",
    VAE: "VAE reconstruction",
    DIT: "DiT generation",
}


@dataclass(frozen=True)
class Row:
    """One row of images as data URIs: frames side by side, the same frames as an animation, and the last frame alone."""

    label: str
    strip: str
    loop: str
    still: str


@dataclass(frozen=True)
class ShownClip:
    """A clip with its images.

    why: the clip's rank, such as best or second worst. caption: its metrics. num_tiles: number of frames side by side.
    strips: the frames side by side of each row, uint8 [H, W, 3].
    """

    why: str
    clip_id: str
    caption: str
    rows: list[Row]
    num_tiles: int
    strips: list[np.ndarray]


def choose(clips: pd.DataFrame) -> list[tuple[str, str]]:
    """Return (why, clip_id) of the best and the median clip by the gap that the DiT closes, or by PSNR if none has a gap.

    clips: one row per clip and method, as `evaluate` wrote it.
    """
    ranked, _ = _ranked(clips)
    if len(ranked) < 2:
        return [("best", name) for name in ranked]
    return [("best", ranked[0]), ("median", ranked[len(ranked) // 2])]


def choose_failures(clips: pd.DataFrame) -> list[tuple[str, str]]:
    """Return (why, clip_id) of at most `FAILURES` clips on which the DiT is worse than the static reference, worst first.

    If there is none, the worst clip is returned. Clips that `choose` returns are left out.
    """
    ranked, num_failed = _ranked(clips)
    shown = {name for _, name in choose(clips)}
    worst = [name for name in ranked[::-1][: max(min(num_failed, FAILURES), 1)] if name not in shown]
    return list(zip(("worst", "second worst", "third worst"), worst))


def _ranked(clips: pd.DataFrame) -> tuple[list[str], int]:
    """Return all clips from best to worst, and on how many of them the DiT is worse than the static reference."""
    generated = clips[clips["method"] == DIT]
    key = "gap_closed" if generated["gap_closed"].notna().any() else "psnr"
    ranked = generated.dropna(subset=key).sort_values([key, "clip_id"], ascending=[False, True])["clip_id"].tolist()
    return ranked, int((generated["gap_closed"] < 0).sum())


def show(
    why: str,
    clip_id: str,
    clips: pd.DataFrame,
    video: np.ndarray,
    ground_truth: np.ndarray,
    methods: Mapping[str, np.ndarray],
    strip_frames: int,
    tile_size: int,
) -> ShownClip:
    """Return one clip with its images, those of views from `VIEW`.

    video: uint8 [T, H, W, 3]. ground_truth and each method: uint8 [T, V, H, W, 3].
    """
    views = {"Ground truth": ground_truth} | {label: methods[name] for name, label in METHOD_LABELS.items()}
    rows = {"Conditioning video": video} | {label: images[:, VIEW] for label, images in views.items()}
    chosen = spread(len(ground_truth), strip_frames)
    tiles = {label: fit(frames, tile_size) for label, frames in rows.items()}
    strips = {label: strip(frames[chosen]) for label, frames in tiles.items()}
    uris = [
        Row(label, still_uri(strips[label]), loop_uri(frames), still_uri(frames[-1])) for label, frames in tiles.items()
    ]
    return ShownClip(why, clip_id, _caption(clip_id, clips), uris, len(chosen), list(strips.values()))


def _caption(clip_id: str, clips: pd.DataFrame) -> str:
    rows = clips[clips["clip_id"] == clip_id].set_index("method")
    values = rows["psnr"].astype(float).to_dict()
    psnr = ", ".join(f"{label} {values[name]:.2f}" for name, label in METHOD_LABELS.items() if name in values)
    gap = rows["gap_closed"].astype(float).to_dict()[DIT]
    closed = f"Gap closed by the DiT: {gap:.0%}. " if gap == gap else ""
    seen = "seen" if bool(rows["asset_seen"].iloc[0]) else "not seen"
    return f"{closed}PSNR in dB: {psnr}. This asset was {seen} in training."
