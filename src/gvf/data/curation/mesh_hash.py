"""Compute a digest of a mesh's shape, which is the same for copies of an asset under other names."""

from __future__ import annotations

import hashlib

import numpy as np

_STEPS = 1024  # of the longest side of the bounding box
_OFFSET = 0.314  # of a step, so that round fractions of the side, which are common in meshes, lie well inside a step


def mesh_sha256(vertices: np.ndarray, faces: np.ndarray) -> str:
    """Return the SHA-256 of the triangles [F, 3] of vertices [V, 3], as 64 hex digits.

    Position and size, the order of vertices and faces, duplicate vertices, winding, materials and file format make no
    difference; axes do. Positions are rounded to 1/1024 of the longest side, so a copy whose numbers were rounded before
    may have another digest: equal digests mean the same shape, but different ones do not mean different shapes.
    """
    vertices = vertices.astype(np.float64)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    steps = np.floor((vertices - (low + high) / 2.0) / (float((high - low).max()) or 1.0) * _STEPS + _OFFSET)
    # One whole number per corner, so that triangles become rows of three numbers, which are sorted at once.
    places = (steps.astype(np.int64) + _STEPS) @ np.array([1 << 24, 1 << 12, 1])
    triangles = np.unique(np.sort(places[faces], axis=1), axis=0)
    solid = (triangles[:, 0] != triangles[:, 1]) & (triangles[:, 1] != triangles[:, 2])
    return hashlib.sha256(triangles[solid].astype("<i8").tobytes()).hexdigest()
