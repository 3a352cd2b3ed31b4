"""Pictures of clips as the report shows them: strips of frames, loops, composites, data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

QUALITY = 90  # WebP; below 80 the edges of thin limbs blur
FRAME_MILLISECONDS = 125
GAP = 2  # white pixels between the tiles of a strip


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` indices below `count`, evenly from the first to the last."""
    if wanted >= count:
        return list(range(count))
    return [round(index) for index in np.linspace(0, count - 1, wanted)] if wanted > 1 else [count - 1]


def fit(frames: np.ndarray, size: int) -> np.ndarray:
    """uint8 [T, H, W, 3] shrunk so that no side is longer than `size`; smaller ones stay."""
    height, width = frames.shape[1:3]
    scale = size / max(height, width)
    if scale >= 1.0:
        return frames
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack([np.asarray(Image.fromarray(frame).resize(target, Image.Resampling.BOX)) for frame in frames])


def strip(frames: np.ndarray) -> np.ndarray:
    """uint8 [T, H, W, 3] side by side: [H, T * W + gaps, 3]."""
    gap = np.full((frames.shape[1], GAP, 3), 255, np.uint8)
    tiles = [part for frame in frames for part in (gap, frame)]
    return np.concatenate(tiles[1:], axis=1)


def stack(strips: Sequence[np.ndarray]) -> np.ndarray:
    """Strips under each other, padded to the widest with white: one picture for trackers."""
    width = max(picture.shape[1] for picture in strips)
    rows = []
    for picture in strips:
        row = np.full((picture.shape[0] + GAP, width, 3), 255, np.uint8)
        row[: picture.shape[0], : picture.shape[1]] = picture
        rows.append(row)
    return np.concatenate(rows)


def still_uri(picture: np.ndarray) -> str:
    """A uint8 [H, W, 3] picture as a data URI."""
    return _uri([picture])


def loop_uri(frames: np.ndarray) -> str:
    """uint8 [T, H, W, 3] as an endless animation in a data URI."""
    return _uri(list(frames))


def _uri(frames: Sequence[np.ndarray]) -> str:
    buffer = io.BytesIO()
    first, *rest = (Image.fromarray(frame) for frame in frames)
    options = {"save_all": True, "append_images": rest, "duration": FRAME_MILLISECONDS, "loop": 0} if rest else {}
    first.save(buffer, "WEBP", quality=QUALITY, method=4, **options)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
