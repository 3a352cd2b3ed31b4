"""Videos longer than a generator takes at once, as segments that share a frame with their neighbours (D.1)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from gvf.gaussians.gaussians import Gaussians


def split_frames(num_frames: int, most: int) -> list[range]:
    """Return the frames of each segment: as few segments of at most `most` frames as possible, of nearly equal length.

    The first frame of a segment is the last one of the segment before. most: at least 2.
    """
    if num_frames <= most:
        return [range(num_frames)]
    steps, count = num_frames - 1, -(-(num_frames - 1) // (most - 1))
    ends = [steps * index // count for index in range(count + 1)]
    return [range(start, stop + 1) for start, stop in pairwise(ends)]


def as_canonical(gaussians: Gaussians) -> Gaussians:
    """Return one frame of moving Gaussians [N] as canonical ones of the next segment.

    They look the same. Varied quaternions have any length, and a change added to a long one would turn it less than it turned
    those of the training, whose length is about 1: they are normalised.
    """
    return replace(gaussians, raw_quats=gaussians.activation.raw_quats(gaussians.quats))
