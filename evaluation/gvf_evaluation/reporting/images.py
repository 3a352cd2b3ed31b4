"""Images of clips for the report: frames side by side, animations, and their data URIs."""

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
    """Return at most `wanted` indices below `count`, evenly spaced from the first to the last."""
    if wanted >= count:
        return list(range(count))
    return [round(index) for index in np.linspace(0, count - 1, wanted)] if wanted > 1 else [count - 1]


def fit(frames: np.ndarray, size: int) -> np.ndarray:
    """Return frames uint8 [T, H, W, 3] shrunk so that no side is longer than `size`; smaller ones are unchanged."""
    height, width = frames.shape[1:3]
    scale = size / max(height, width)
    if scale >= 1.0:
        return frames
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack([np.asarray(Image.fromarray(frame).resize(target, Image.Resampling.BOX)) for frame in frames])


def strip(frames: np.ndarray) -> np.ndarray:
    """Return frames uint8 [T, H, W, 3] side by side with gaps between them, [H, T * (W + GAP) - GAP, 3]."""
    gap = np.full((frames.shape[1], GAP, 3), 255, np.uint8)
    tiles = [part for frame in frames for part in (gap, frame)]
    return np.concatenate(tiles[1:], axis=1)


def stack(strips: Sequence[np.ndarray]) -> np.ndarray:
    """Return strips below each other as one image, padded with white to the widest."""
    width = max(image.shape[1] for image in strips)
    rows = []
    for image in strips:
        row = np.full((image.shape[0] + GAP, width, 3), 255, np.uint8)
        row[: image.shape[0], : image.shape[1]] = image
        rows.append(row)
    return np.concatenate(rows)


def still_uri(image: np.ndarray) -> str:
    """Return an image uint8 [H, W, 3] as a data URI."""
    return _uri([image])


def loop_uri(frames: np.ndarray) -> str:
    """Return frames uint8 [T, H, W, 3] as an endless animation in a data URI."""
    return _uri(list(frames))


def _uri(frames: Sequence[np.ndarray]) -> str:
    buffer = io.BytesIO()
    first, *rest = (Image.fromarray(frame) for frame in frames)
    options = {"save_all": True, "append_images": rest, "duration": FRAME_MILLISECONDS, "loop": 0} if rest else {}
    first.save(buffer, "WEBP", quality=QUALITY, method=4, **options)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
