"""Tell how differently the clips of an asset move, and choose the most varied of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_FRAMES, _VERTICES = 8, 64  # at most this many, evenly spaced over the clip and over the list of vertices


def motion_descriptor(vertices: np.ndarray) -> np.ndarray:
    """Return what distances between clips of an asset are measured by, [D] float32, for moving vertices [T, V, 3].

    It holds the pose of the first frame, centred, and the displacements from it over the clip. The distance between
    two descriptors is the root of their mean squared differences of pose and of displacement, in the units of vertices.
    """
    frames = np.linspace(0, len(vertices) - 1, _FRAMES).round().astype(int)
    chosen = np.linspace(0, vertices.shape[1] - 1, min(_VERTICES, vertices.shape[1])).round().astype(int)
    track = vertices[frames][:, chosen].astype(np.float64)
    pose, displacements = track[0] - track[0].mean(axis=0), track[1:] - track[0]
    parts = pose / np.sqrt(len(chosen)), displacements / np.sqrt(len(chosen) * (_FRAMES - 1))
    return np.concatenate([part.ravel() for part in parts]).astype(np.float32)


def most_varied(descriptors: Sequence[np.ndarray], motions: Sequence[float], count: int) -> list[int]:
    """Choose `count` clips by farthest point sampling, and return their indices in ascending order.

    descriptors: [D] per clip, of equal length. motions: how far each clip moves; the one that moves farthest is chosen
    first, then always the one that differs most from those chosen so far. Ties go to the earlier clip.
    """
    points = np.stack(descriptors).astype(np.float64)
    chosen = [int(np.argmax(motions))]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < min(count, len(points)):
        nearest = np.minimum(nearest, np.square(points - points[chosen[-1]]).sum(axis=1))
        nearest[chosen[-1]] = -1.0  # never chosen again, even if all the others are the same as chosen clips
        chosen.append(int(np.argmax(nearest)))
    return sorted(chosen)
