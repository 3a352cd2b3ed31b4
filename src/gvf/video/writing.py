"""Write videos that browsers and MLflow play: H.264 in MP4, and VP9, also with transparency, in WebM."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np

from gvf.errors import UserError
from gvf.storage.files import PathLike, atomic_path

_CODECS = {
    ".mp4": ("libx264", {"crf": "18"}),  # visually lossless
    ".webm": ("libvpx-vp9", {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "4"}),
}
_BT709, _SRGB, _LIMITED = 1, 13, 1  # codes of ITU-T H.273, and FFmpeg's code of the limited range


def write_video(path: PathLike, frames: np.ndarray | Iterable[np.ndarray], frames_per_second: float) -> None:
    """Write frames uint8 [H, W, 3], or with straight alpha [H, W, 4] to `.webm`, as a video of a constant frame rate.

    The suffix of `path` chooses the format. An odd height or width loses a row or column, since both codecs store
    colours at half the resolution. Raises UserError for another suffix, alpha in an MP4, or no frame at all.
    """
    import av

    suffix = Path(path).suffix.lower()
    if suffix not in _CODECS:
        raise UserError(f"{path}: videos are written as .mp4 or .webm. Choose one of these suffixes.")
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise UserError(f"{path}: there is no frame to write.")
    height, width, channels = first.shape
    if channels == 4 and suffix == ".mp4":
        raise UserError(f"{path}: MP4 holds no transparency. Write .webm, or frames without alpha.")
    codec, options = _CODECS[suffix]
    with atomic_path(path) as partial, av.open(str(partial), "w", format=suffix[1:]) as container:
        stream = container.add_stream(codec, rate=Fraction(frames_per_second).limit_denominator(1001))
        stream.width, stream.height = width // 2 * 2, height // 2 * 2
        stream.pix_fmt = "yuva420p" if channels == 4 else "yuv420p"
        stream.options = options
        context = stream.codec_context
        context.colorspace, context.color_primaries = _BT709, _BT709
        context.color_trc, context.color_range = _SRGB, _LIMITED
        for frame in chain([first], iterator):
            container.mux(stream.encode(_encoded(frame, stream.width, stream.height, stream.pix_fmt)))
        container.mux(stream.encode())


def _encoded(frame: np.ndarray, width: int, height: int, pixel_format: str) -> object:
    """Return the top left corner of a frame as BT.709 limited range, which players expect."""
    import av

    corner = np.ascontiguousarray(frame[:height, :width])
    image = av.VideoFrame.from_ndarray(corner, format="rgba" if frame.shape[2] == 4 else "rgb24")
    return image.reformat(format=pixel_format, dst_colorspace=_BT709, dst_color_range=_LIMITED)
