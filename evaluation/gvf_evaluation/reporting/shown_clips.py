"""The held-out clips that the report shows, by a rule that depends on the scores alone, and their images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gvf.methods import DIT, INTERPOLATED, REFINED, STATIC, VAE, VIDEO_ONLY
from gvf_evaluation.reporting.images import fit, loop_uri, spread, still_uri, strip

_SEEN = {
    "asset": "the asset was",
    "skeleton": "the skeleton was, the asset was not,",
    "neither": "neither asset nor skeleton was",
}
GROUP_SIZE = 5  # clips shown of each group: best, median and worst
ROWS = (INTERPOLATED, VAE, DIT, REFINED, VIDEO_ONLY)  # below video and ground truth; Static is the first tile of most
VIEW = 0  # the evaluation view shown, which is far from the frontal camera of the conditioning video
METHOD_LABELS = {
    STATIC: "Static",
    INTERPOLATED: "Interpolated",
    VAE: "VAE reconstruction",
    DIT: "DiT generation",
    REFINED: "DiT, refined",
    VIDEO_ONLY: "Video only",
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

    group: best, median or worst. page: address of the page that plays it. caption: its metrics. num_tiles: number of frames
    side by side. strips: the frames side by side of each row, uint8 [H, W, 3].
    """

    group: str
    clip_id: str
    page: str
    caption: str
    rows: list[Row]
    num_tiles: int
    strips: list[np.ndarray]


def choose(clips: pd.DataFrame) -> dict[str, list[str]]:
    """Return the clips to show, best first: `best`, `median` and `worst`, at most `GROUP_SIZE` of each.

    The order is that of the gap that the DiT closes, then that of the clips' names; PSNR takes its place if no clip has a
    gap, and clips without a value are left out. With fewer than three times `GROUP_SIZE` clips, the groups are equally smaller, at
    least one clip, and no clip is in two groups. clips: one row per clip and method, as `evaluate` wrote it.
    """
    generated = clips[clips["method"] == DIT]
    key = "gap_closed" if generated["gap_closed"].notna().any() else "psnr"
    ranked = generated.dropna(subset=key).sort_values([key, "clip_id"], ascending=[False, True])["clip_id"].tolist()
    size = max(1, min(GROUP_SIZE, len(ranked) // 3))
    best, rest = ranked[:size], ranked[size:]
    worst = rest[max(len(rest) - size, 0) :]
    between = rest[: len(rest) - len(worst)]
    start = max(0, (len(between) - size + 1) // 2)
    return {"best": best, "median": between[start : start + size], "worst": worst}


def show(
    group: str,
    clip_id: str,
    page: str,
    clips: pd.DataFrame,
    video: np.ndarray,
    ground_truth: np.ndarray,
    methods: Mapping[str, np.ndarray],
    strip_frames: int,
    tile_size: int,
) -> ShownClip:
    """Return one clip with its images, those of views from `VIEW`.

    video: uint8 [T, H, W, 3]. ground_truth and each method, all or some of `ROWS`: uint8 [T, V, H, W, 3].
    """
    views = {"Ground truth": ground_truth} | {METHOD_LABELS[name]: methods[name] for name in ROWS if name in methods}
    rows = {"Conditioning video": video} | {label: images[:, VIEW] for label, images in views.items()}
    chosen = spread(len(ground_truth), strip_frames)
    tiles = {label: fit(frames, tile_size) for label, frames in rows.items()}
    strips = {label: strip(frames[chosen]) for label, frames in tiles.items()}
    uris = [
        Row(label, still_uri(strips[label]), loop_uri(frames), still_uri(frames[-1])) for label, frames in tiles.items()
    ]
    return ShownClip(group, clip_id, page, _caption(clip_id, clips), uris, len(chosen), list(strips.values()))


def _caption(clip_id: str, clips: pd.DataFrame) -> str:
    rows = clips[clips["clip_id"] == clip_id].set_index("method")
    values = rows["psnr"].astype(float).to_dict()
    psnr = ", ".join(f"{label} {values[name]:.2f}" for name, label in METHOD_LABELS.items() if name in values)
    closed = _values("Gap closed", "{:.0%}", rows["gap_closed"])
    moved = _values("Displacement error", "{:.2f}", rows["displacement_error"])
    failed = [label for name, label in METHOD_LABELS.items() if name in set(clips["method"]) - set(values)]
    without = f"Failed on this clip: {', '.join(failed)}. " if failed else ""
    first = rows.iloc[0]
    seen = "asset" if bool(first["asset_seen"]) else "skeleton" if bool(first["skeleton_seen"]) else "neither"
    return (
        f"{closed}{moved}PSNR in dB: {psnr}. {without}Kind {first['kind']}, motion {float(first['motion']):.2f}; "
        f"{_SEEN[seen]} seen in training."
    )


def _values(title: str, number_format: str, column: pd.Series) -> str:
    """Return a sentence with the values of the DiT and of its refined motion, as far as they are known."""
    values = column.astype(float).to_dict()
    labels = {DIT: "DiT", REFINED: "refined"}
    known = [
        f"{label} {number_format.format(values[name])}"
        for name, label in labels.items()
        if name in values and values[name] == values[name]
    ]
    return f"{title}: {', '.join(known)}. " if known else ""
