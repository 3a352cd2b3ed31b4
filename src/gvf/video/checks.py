"""Check a video for common causes of a bad result, before anything slow runs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from gvf.video.clip import Clip
from gvf.video.components import piece_areas
from gvf.video.cropping import object_boxes
from gvf.video.findings import Finding, named_frames

_THUMBNAIL = 64
_STILL = 3 / 255  # largest change of a thumbnail's pixel that noise causes
_CUT_CHANGE, _CUT_FACTOR, _CUT_COLORS = 0.05, 5.0, 0.6
_SMALLEST, _SMALL = 16, 128  # pixels of the source
_PIECE = 0.2  # of the largest piece's area
_BORDER = 0.01  # of a side
_FULL = 0.98
_JUMP = 2.0


def check_pictures(clip: Clip) -> list[Finding]:
    """Return what can be seen before the object is cut out: shot cuts and pictures that never change."""
    return list(_movement(clip, "picture"))


def check_objects(clip: Clip, matting: str) -> list[Finding]:
    """Return what the masks show: an empty, cut off, small, flickering or broken object, and cuts to another one."""
    if matting == "none":
        return []
    boxes = object_boxes(clip.frames[..., 3])
    empty = [int(frame) for frame in np.flatnonzero(np.isnan(boxes[:, 0]))]
    findings = [_empty(clip, empty, matting)] if empty else []
    if findings and findings[0].severity == "error":
        return findings
    findings += [*_border(clip), *_size(clip, boxes), *_pieces(clip, matting)]
    if matting == "network":
        findings += _flicker(clip)
    return [*findings, *_movement(clip, "object")]


def _empty(clip: Clip, empty: list[int], matting: str) -> Finding:
    total = len(clip.frames)
    source = {"alpha": "is fully transparent", "key": "shows nothing but the plain background"}.get(
        matting, "shows no object that the network finds"
    )
    if len(empty) == total:
        remedy = "Give a video of an object that stands out" + (
            "." if matting == "alpha" else ", or one with transparency."
        )
        return Finding("empty", "error", f"The video {source} in all frames. {remedy}", tuple(empty))
    if empty[0] == 0:
        first = next(frame for frame in range(total) if frame not in set(empty))
        return Finding(
            "empty",
            "error",
            f"The video {source} at its beginning. Start when the object is there: --start {clip.times[first]:.3g}.",
            tuple(empty),
        )
    return Finding(
        "empty",
        "warning",
        f"The video {source} {named_frames(empty, total)}. End before with --end {clip.times[empty[0] - 1]:.3g}.",
        tuple(empty),
    )


def _border(clip: Clip) -> Iterator[Finding]:
    seen = clip.frames[..., 3] > 127
    height, width = seen.shape[1:]
    sides = {
        "top": seen[:, 0].sum(1) / width,
        "bottom": seen[:, -1].sum(1) / width,
        "left": seen[:, :, 0].sum(1) / height,
        "right": seen[:, :, -1].sum(1) / height,
    }
    if seen.mean(axis=(1, 2)).min() > _FULL:
        yield Finding(
            "full",
            "warning",
            "The mask fills the whole picture. Give a video of one object with transparency, or in front of a plain background.",
            tuple(range(len(seen))),
        )
        return
    touched = [side for side, share in sides.items() if (share > _BORDER).any()]
    if touched:
        frames = tuple(int(one) for one in np.flatnonzero(np.any([sides[side] > _BORDER for side in touched], axis=0)))
        yield Finding(
            "border",
            "warning",
            f"The object touches the {' and '.join(touched)} border {named_frames(frames, len(seen))}, so a part of it may be "
            "missing. Film it whole, or choose another part with --start and --end.",
            frames,
        )


def _size(clip: Clip, boxes: np.ndarray) -> Iterator[Finding]:
    longest = np.nanmax(np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]))
    pixels = round(longest * clip.scale)
    if pixels < _SMALLEST:
        yield Finding("small", "error", f"The object is only {pixels} pixels large. Film it from closer up.")
    elif longest < _SMALL:
        remedy = "Film it from nearer by" + (", or raise --max-size." if clip.scale > 1.01 else ".")
        yield Finding("small", "warning", f"The object is only {pixels} pixels large, so it lacks detail. {remedy}")


def _pieces(clip: Clip, matting: str) -> Iterator[Finding]:
    step = max(1, max(clip.frames.shape[1:3]) // 256)
    several = []
    for index, alpha in enumerate(clip.frames[:, ::step, ::step, 3]):
        areas = piece_areas(alpha > 127)
        if len(areas) > 1 and areas[1] > _PIECE * areas[0]:
            several.append(index)
    if several:
        yield Finding(
            "pieces",
            "warning",
            f"The object is in several pieces {named_frames(several, len(clip.frames))}: two objects, or one with a part "
            "hidden or masked away. A video of one object gives a better result.",
            tuple(several),
        )


def _flicker(clip: Clip) -> Iterator[Finding]:
    areas = np.maximum((clip.frames[..., 3] > 127).mean(axis=(1, 2)), 1e-6)
    ratio = areas[1:] / areas[:-1]
    jumps = tuple(int(one) + 1 for one in np.flatnonzero((ratio > _JUMP) | (ratio < 1 / _JUMP)))
    if jumps:
        yield Finding(
            "flicker",
            "warning",
            f"The network's mask changes its size suddenly {named_frames(jumps, len(clip.frames))}. Try another network "
            "(--matting-model), or film in front of a plain background.",
            jumps,
        )


def _movement(clip: Clip, what: str) -> Iterator[Finding]:
    """Find cuts and standing pictures in small copies of the frames."""
    small = np.stack([_thumbnail(frame) for frame in clip.frames])
    if np.abs(small - small[:1]).max() < _STILL:
        yield Finding(
            "still",
            "warning",
            f"The {what} does not move at all, so the result will not either. Check the video.",
        )
        return
    change = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
    histograms = np.stack([_histogram(frame) for frame in small])
    common = np.minimum(histograms[1:], histograms[:-1]).sum(1)
    usual = float(np.median(change))
    cut = (change > _CUT_CHANGE) & (change > _CUT_FACTOR * usual) & (common < _CUT_COLORS)
    cuts = tuple(int(one) + 1 for one in np.flatnonzero(cut))
    if cuts:
        times = ", ".join(f"{clip.times[one]:.3g}" for one in cuts[:6])
        yield Finding(
            "cut",
            "warning",
            f"The video seems to cut to another shot at {times} seconds. Use one shot: --end {clip.times[cuts[0] - 1]:.3g}, "
            f"or --start {clip.times[cuts[-1]]:.3g}.",
            cuts,
        )


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    """Return a frame as float32 [64, 64, 4] in [0, 1], colours multiplied by alpha."""
    small = Image.fromarray(frame).convert("RGBa").resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255


def _histogram(thumbnail: np.ndarray) -> np.ndarray:
    """Return the shares of 64 colours [64] among what a thumbnail shows."""
    alpha = thumbnail[..., 3]
    straight = thumbnail[..., :3] / np.maximum(alpha, 1e-3)[..., None]
    cells = np.clip(straight * 4, 0, 3).astype(int) @ np.array([16, 4, 1])
    counts = np.bincount(cells.ravel(), alpha.ravel(), minlength=64)
    return counts / max(counts.sum(), 1e-6)
