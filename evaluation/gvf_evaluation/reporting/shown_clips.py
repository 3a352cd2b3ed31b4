"""Which held-out clips the report shows, and their strips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gvf_evaluation.reporting.pictures import fit, loop_uri, spread, still_uri, strip

FAILURES = 3  # clips shown of those that fail
VIEW = 0  # of the four evaluation views: far from the frontal camera of the conditioning video
METHOD_LABELS = {
    "static": "Static",
    "interpolated": "Interpolated",
    "vae": "VAE reconstruction",
    "dit": "DiT generation",
}


@dataclass(frozen=True)
class Row:
    """One row of a strip: its label, the frames side by side, the same as a loop, and the last one, as data URIs."""

    label: str
    strip: str
    loop: str
    still: str


@dataclass(frozen=True)
class ShownClip:
    """A clip with its pictures.

    why: best, median, worst, second worst and so on. caption: its figures. num_tiles: frames of a strip. strips: the
    rows as pictures.
    """

    why: str
    clip_id: str
    caption: str
    rows: list[Row]
    num_tiles: int
    strips: list[np.ndarray]


def choose(clips: pd.DataFrame) -> list[tuple[str, str]]:
    """(why, clip_id) of the best and the median clip by the DiT's gap closed, by its PSNR where no clip has one.

    clips: the per-clip table of the evaluation.
    """
    ranked, _ = _ranked(clips)
    if len(ranked) < 2:
        return [("best", name) for name in ranked]
    return [("best", ranked[0]), ("median", ranked[len(ranked) // 2])]


def choose_failures(clips: pd.DataFrame) -> list[tuple[str, str]]:
    """(why, clip_id) of the failure cases, the worst first: the clips whose gap closed by the DiT is below zero, where
    standing still would have been better, at most `FAILURES`; where there is none, the worst clip alone.

    Clips that `choose` shows are left out.
    """
    ranked, num_failed = _ranked(clips)
    shown = {name for _, name in choose(clips)}
    worst = [name for name in ranked[::-1][: max(min(num_failed, FAILURES), 1)] if name not in shown]
    return list(zip(("worst", "second worst", "third worst"), worst))


def _ranked(clips: pd.DataFrame) -> tuple[list[str], int]:
    """Clips from best to worst, and how many of them the DiT makes worse than standing still."""
    generated = clips[clips["method"] == "dit"]
    key = "gap_closed" if generated["gap_closed"].notna().any() else "psnr"
    ranked = generated.dropna(subset=key).sort_values([key, "clip_id"], ascending=[False, True])["clip_id"].tolist()
    return ranked, int((generated["gap_closed"] < 0).sum())


def show(
    why: str,
    clip_id: str,
    clips: pd.DataFrame,
    video: np.ndarray,
    truth: np.ndarray,
    methods: Mapping[str, np.ndarray],
    strip_frames: int,
    tile_size: int,
) -> ShownClip:
    """The strips of one clip. video: uint8 [T, H, W, 3]. truth and each of the methods: uint8 [T, V, H, W, 3]."""
    views = {"Ground truth": truth} | {label: methods[name] for name, label in METHOD_LABELS.items()}
    rows = {"Conditioning video": video} | {label: pictures[:, VIEW] for label, pictures in views.items()}
    chosen = spread(len(truth), strip_frames)
    tiles = {label: fit(frames, tile_size) for label, frames in rows.items()}
    strips = {label: strip(frames[chosen]) for label, frames in tiles.items()}
    uris = [
        Row(label, still_uri(strips[label]), loop_uri(frames), still_uri(frames[-1])) for label, frames in tiles.items()
    ]
    return ShownClip(why, clip_id, _caption(clip_id, clips), uris, len(chosen), list(strips.values()))


def _caption(clip_id: str, clips: pd.DataFrame) -> str:
    rows = clips[clips["clip_id"] == clip_id].set_index("method")
    values = rows["psnr"].astype(float).to_dict()
    psnr = ", ".join(f"{name} {values[name]:.2f}" for name in METHOD_LABELS if name in values)
    gap = rows["gap_closed"].astype(float).to_dict()["dit"]
    closed = f"DiT gap closed: {gap:.0%}. " if gap == gap else ""
    seen = "Training saw this asset." if bool(rows["asset_seen"].iloc[0]) else "Training did not see this asset."
    return f"{closed}PSNR: {psnr} dB. {seen}"
