"""Split long videos into segments, which start from the first frame, or from the last frame of the segment before (D.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from torch import Tensor

from gvf.gaussians.gaussians import Gaussians

SegmentsFrom = Literal["first", "last"]


@dataclass(frozen=True)
class Part:
    """Frames that are generated together. seen: their indices in the video, the frame of the canonical Gaussians first.

    start, stop: the last of them, [start, stop), are new. overlap: how many of these the part before has made, too.
    """

    seen: tuple[int, ...]
    start: int
    stop: int
    overlap: int


def split_video(num_frames: int, most: int, segments_from: SegmentsFrom) -> list[Part]:
    """Return as few parts of at most `most` frames as possible, of nearly equal length. most: at least 2.

    Parts from the `first` frame see it besides their own frames, of which a quarter overlap. A part from the `last` frame of the
    part before sees that one.
    """
    if num_frames <= most:
        return [Part(tuple(range(num_frames)), 0, num_frames, 0)]
    if segments_from == "last":
        cuts = _cuts(num_frames - 1, most - 1)
        return [Part(tuple(range(begin, end + 1)), begin + (begin > 0), end + 1, 0) for begin, end in pairwise(cuts)]
    overlap = (most - 1) // 4
    cuts = _cuts(num_frames - 1 - overlap, most - 1 - overlap)
    parts = [
        Part((0, *range(begin + 1, end + 1 + overlap)), begin + 1, end + 1 + overlap, overlap)
        for begin, end in pairwise(cuts)
    ]
    return [replace(parts[0], start=0, overlap=0), *parts[1:]]


def _cuts(length: int, most: int) -> list[int]:
    """Return where to cut a length into as few pieces of at most `most` as possible, ends included."""
    count = -(-length // most)
    return [length * index // count for index in range(count + 1)]


def as_canonical(gaussians: Gaussians) -> Gaussians:
    """Return one frame of moving Gaussians [N] as canonical ones of the next segment.

    They look the same. Varied quaternions have any length, and a change added to a long one would turn it less than it turned
    those of the training, whose length is about 1: they are normalised.
    """
    return replace(gaussians, raw_quats=gaussians.activation.raw_quats(gaussians.quats))


def fade_in(target: Gaussians, source: Gaussians, start: int, overlap: int) -> None:
    """Write Gaussians [T, N] into frames [start, start + T) of others, of which the first `overlap` fade from old to new."""
    for name, values in vars(source).items():
        if isinstance(values, Tensor):
            there = getattr(target, name)[start : start + len(values)]
            for index in range(overlap):
                there[index].lerp_(values[index].to(there), (index + 1) / (overlap + 1))
            there[overlap:] = values[overlap:]
