"""Read a folder of numbered frames."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from gvf.errors import UserError
from gvf.storage.images import image_size, read_rgba
from gvf.text import MAX_NAME, clean
from gvf.video.clip import reduced_size
from gvf.video.options import VideoOptions
from gvf.video.pictures import resized

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_FACTS, _MOST_BYTES = "film.json", 1 << 24
_MOST_FILES = 100_000
DEFAULT_RATE = 24.0


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts `2.png` before `10.png`."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part) for part in parts if part]


class FrameFolder:
    """The frames of a folder in natural order. times: [N] seconds. Raises UserError for a folder without two frames."""

    def __init__(self, folder: Path, options: VideoOptions, name: str) -> None:
        self.name = name
        self.paths = _frame_paths(folder, name)
        rate = options.folder_rate or _written_rate(folder / _FACTS, name) or DEFAULT_RATE
        self.times = np.arange(len(self.paths)) / rate
        self.source_size = image_size(self.paths[0], self._where(0))

    def check_sizes(self, indices: np.ndarray) -> None:
        """Raise UserError where the frames that are used have different sizes; only their headers are read."""
        others = [
            (int(index), size)
            for index in indices
            if (size := image_size(self.paths[index], self._where(index))) != self.source_size
        ]
        if others:
            index, size = others[0]
            raise UserError(
                f"{self.name}: its frames have different sizes: {self._where(0, False)} has "
                f"{self.source_size[0]} x {self.source_size[1]} pixels, {self._where(index, False)} {size[0]} x {size[1]}"
                f"{f', and {len(others) - 1} more differ' if len(others) > 1 else ''}. Give frames of one size."
            )

    def pictures(self, indices: np.ndarray, max_size: int) -> Iterator[np.ndarray]:
        """Yield the frames at `indices` as uint8 RGBA, their longer side at most `max_size`."""
        width, height = reduced_size(*self.source_size, max_size)
        for index in indices:
            yield resized(read_rgba(self.paths[index], self._where(index)), width, height)

    def _where(self, index: int, whole: bool = True) -> str:
        own = clean(self.paths[index].name, MAX_NAME)
        return f"{self.name}/{own}" if whole else own


def _frame_paths(folder: Path, name: str) -> list[Path]:
    """Return the images of a folder in natural order; hidden files do not count."""
    home = folder.resolve()
    found, videos = [], []
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.suffix.lower() in _SUFFIXES:
            found.append(path)
        elif path.suffix.lower() in (".mp4", ".mov", ".webm", ".mkv", ".gif"):
            videos.append(clean(path.name, MAX_NAME))
        if len(found) > _MOST_FILES:
            raise UserError(f"{name}: has more than {_MOST_FILES:,} images. Move the frames that you want to a folder.")
    for path in found:
        if not path.resolve().is_relative_to(home):
            raise UserError(
                f"{name}/{clean(path.name, MAX_NAME)}: is a link to a file outside of the folder, which is not read. "
                "Copy the frame into the folder."
            )
    if len(found) < 2:
        what = f"only one image, {clean(found[0].name, MAX_NAME)}" if found else "no PNG, JPEG or WebP image"
        remedy = (
            f"Give the video itself: {name}/{min(videos)}." if videos else "Give a folder with one image per frame."
        )
        raise UserError(f"{name}: holds {what}. {remedy}")
    return sorted(found, key=lambda path: (natural_key(path.name), path.name))


def _written_rate(path: Path, name: str) -> float | None:
    """Return the frames per second that `gvf film` writes beside its frames, if there is such a file."""
    if not path.is_file() or path.is_symlink():
        return None
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        rate = float(json.loads(path.read_text(encoding="utf-8"))["frames_per_second"])
        return replace(VideoOptions(), folder_rate=rate).folder_rate
    except (ValueError, TypeError, KeyError, RecursionError, UserError):
        raise UserError(
            f"{name}/{_FACTS}: gives no frames_per_second between 0.01 and 1000. Delete it, or set --folder-rate."
        ) from None
