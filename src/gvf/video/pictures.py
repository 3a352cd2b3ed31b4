"""Turn decoded frames into upright RGBA images in display sRGB, reduced on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from gvf.video.clip import reduced_size
from gvf.video.high_dynamic_range import TRANSFERS, tone_mapped

_BT709, _BT601, _BT2020 = 1, 5, 9  # swscale's numbers of matrices, which are those of ITU-T H.273 for these three
_AREA = 32  # swscale's number of the box filter


def shown_size(frame: Any, pixel_ratio: float) -> tuple[int, int]:
    """Return the width and height at which a frame is shown: upright and with square pixels.

    pixel_ratio: width of a stored pixel relative to its height.
    """
    width = max(1, round(frame.width * max(pixel_ratio, 1.0)))
    height = max(1, round(frame.height / min(pixel_ratio, 1.0)))
    return (height, width) if abs(orientation(frame)[0, 0]) < 0.5 else (width, height)


def is_high_dynamic_range(frame: Any) -> bool:
    """Return whether a frame is in PQ or HLG."""
    return int(frame.color_trc) in TRANSFERS


def picture(frame: Any, size: tuple[int, int], max_size: int) -> np.ndarray:
    """Return a frame as uint8 [H, W, 4] with straight alpha, upright, its longer side at most `max_size`.

    size: width and height at which the frame is shown.
    """
    shown = reduced_size(*size, max_size)
    turn = orientation(frame)
    width, height = shown if abs(turn[0, 0]) > 0.5 else shown[::-1]
    if is_high_dynamic_range(frame):
        planes = frame.reformat(width, height, format="yuv444p16le", interpolation=_filter(frame, width))
        image = tone_mapped(planes.to_ndarray(), int(frame.color_trc), int(frame.color_range) == 2)
        image = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    elif any(component.is_alpha for component in frame.format.components):
        whole = frame.reformat(format="rgba", src_colorspace=_matrix(frame)).to_ndarray()
        image = resized(whole, width, height)
    else:
        arguments = {"format": "rgba", "src_colorspace": _matrix(frame), "interpolation": _filter(frame, width)}
        image = frame.reformat(width, height, **arguments).to_ndarray()
    return np.ascontiguousarray(_turned(image, turn))


def resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resample uint8 RGBA [H, W, 4]; transparent pixels do not bleed into others, since Pillow multiplies by alpha."""
    if image.shape[:2] == (height, width):
        return image
    filters = Image.Resampling
    shrinks = width < image.shape[1]
    return np.asarray(Image.fromarray(image).resize((width, height), filters.BOX if shrinks else filters.BICUBIC))


def orientation(frame: Any) -> np.ndarray:
    """Return the display matrix of a frame as a signed permutation [2, 2]: shown (x, y) = stored (x, y) @ matrix."""
    data = next((entry for entry in frame.side_data if entry.type.name == "DISPLAYMATRIX"), None)
    matrix = np.eye(3) if data is None else np.frombuffer(bytes(data), np.int32).reshape(3, 3) / 65536
    turn = matrix[:2, :2]
    columns = np.abs(turn).argmax(axis=1)
    if columns[0] == columns[1] or not np.abs(turn).max(axis=1).all():
        return np.eye(2)
    result = np.zeros((2, 2))
    for row in (0, 1):
        result[row, columns[row]] = np.sign(turn[row, columns[row]])
    return result


def _turned(image: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Apply an orientation to an image [H, W, C]."""
    if abs(turn[0, 0]) < 0.5:
        image = image.swapaxes(0, 1)
    horizontal, vertical = turn[:, 0].sum(), turn[:, 1].sum()
    return image[:: int(vertical), :: int(horizontal)]


def _matrix(frame: Any) -> int:
    """Return swscale's number of a frame's colour matrix; where the file is silent, players go by the height."""
    named = int(frame.colorspace)
    if named in (_BT709, _BT2020, 4, 7):
        return named
    if named == 10:
        return _BT2020
    if named in (5, 6):
        return _BT601
    return _BT709 if min(frame.height, frame.width) >= 720 else _BT601


def _filter(frame: Any, width: int) -> int:
    return _AREA if width < frame.width else 4  # 4: bicubic
