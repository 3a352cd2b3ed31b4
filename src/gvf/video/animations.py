"""Read GIF, animated WebP and animated PNG with Pillow's decoder of that format alone, chosen by content."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from gvf.errors import UserError, ends_the_run
from gvf.storage.images import MAX_PIXELS
from gvf.text import clean
from gvf.video.clip import reduced_size
from gvf.video.pictures import resized

_DECODERS = (
    (0, b"GIF8", GifImageFile),
    (0, b"\x89PNG\r\n\x1a\n", PngImageFile),
    (8, b"WEBP", WebPImageFile),
    (0, b"\xff\xd8\xff", None),  # JPEG, always a still image
)
_STILL = "{}: is one still image, so nothing moves. Give a video, or a folder of frames."
_MOST_FRAMES, _MOST_PIXELS = 100_000, 10**10  # of all frames together: all are decoded to find their times
_SHORTEST, _DEFAULT = 0.011, 0.1  # browsers show frames of up to 10 ms, and those without a time, for 100 ms


def is_image(head: bytes) -> bool:
    """Return whether a file that begins with `head` is an image, which may be animated."""
    return any(head.startswith(magic, offset) for offset, magic, _ in _DECODERS)


class Animation:
    """An animated image. times: [N] seconds at which its frames begin. complete: whether all frames could be read."""

    def __init__(self, image: Any, name: str) -> None:
        self._image, self.name, self.complete = image, name, True
        self.source_size = image.size
        if image.width * image.height > MAX_PIXELS:
            raise UserError(
                f"{name}: has {image.width} x {image.height} pixels, too many. Export it at a lower resolution."
            )
        if getattr(image, "n_frames", 1) < 2:
            raise UserError(_STILL.format(name))
        if image.n_frames > _MOST_FRAMES or image.n_frames * image.width * image.height > _MOST_PIXELS:
            raise UserError(
                f"{name}: {image.n_frames:,} frames of {image.width} x {image.height} pixels are too much for an animated "
                "image. Export it as MP4."
            )
        self.times = self._frame_times()

    def _frame_times(self) -> np.ndarray:
        """Return when each frame begins; this decodes all of them once, since durations lie between them."""
        durations = []
        for index in range(self._image.n_frames):
            try:
                self._image.seek(index)
                self._image.load()
            except Exception as error:
                if ends_the_run(error):
                    raise
                self.complete = False
                break
            seconds = float(self._image.info.get("duration") or 0) / 1000
            durations.append(seconds if seconds >= _SHORTEST else _DEFAULT)
        if len(durations) < 2:
            raise UserError(f"{self.name}: is cut off or damaged: no two frames can be read. Export it again.")
        return np.concatenate([[0.0], np.cumsum(durations[:-1])])

    def pictures(self, indices: np.ndarray, max_size: int) -> Iterator[np.ndarray]:
        """Yield the frames at `indices`, ascending, as uint8 RGBA, their longer side at most `max_size`.

        Stops early where the file is damaged.
        """
        width, height = reduced_size(self.source_size[0], self.source_size[1], max_size)
        for index in indices:
            try:
                self._image.seek(int(index))
                image = np.array(self._image.convert("RGBA"))
            except Exception as error:
                if ends_the_run(error):
                    raise
                self.complete = False
                return
            yield resized(image, width, height)


@contextmanager
def open_animation(file: BinaryIO, name: str) -> Iterator[Animation]:
    """Yield the animation in an open file. Raises UserError when it is a still image or damaged."""
    file.seek(0)
    head = file.read(64)
    file.seek(0)
    decoder = next(one for offset, magic, one in _DECODERS if head.startswith(magic, offset))
    if decoder is None:
        raise UserError(_STILL.format(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd metadata
        try:
            image = decoder(file)
            animation = Animation(image, name)
        except Exception as error:
            if ends_the_run(error) or isinstance(error, UserError):
                raise
            raise UserError(
                f"{name}: cannot be decoded ({clean(str(error), 120)}). It is cut off or damaged: export it again."
            ) from None
        with image:
            yield animation
