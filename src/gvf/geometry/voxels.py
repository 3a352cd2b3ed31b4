"""Voxels of the box [-0.5, 0.5]^3 that a triangle mesh touches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_INSIDE = 0.5 - 1e-6  # vertices are clamped to this, as the published pipeline does
_PAIRS_AT_ONCE = 500_000  # triangle-voxel pairs tested at once, which bounds the memory


def active_voxels(vertices: NDArray[np.floating], faces: NDArray[np.integer], resolution: int) -> NDArray[np.int32]:
    """Return the indices [M, 3] of the voxels of a resolution^3 grid over [-0.5, 0.5]^3 that the triangles touch.

    vertices: [V, 3], clamped to the box; faces: [F, 3]. A voxel is closed: touching its border counts. Each index occurs
    once, in the order of x, then y, then z. The test is exact (separating axes of a triangle and a box; Akenine-Moller 2001).
    """
    corners = (np.clip(vertices.astype(np.float64), -_INSIDE, _INSIDE) + 0.5) * resolution  # voxel i is [i, i + 1]
    triangles = corners[faces]
    # A coordinate exactly between two voxels touches both, hence ceil - 1 at the low end.
    low = np.maximum(np.ceil(triangles.min(axis=1)) - 1, 0).astype(np.int64)
    high = np.minimum(np.floor(triangles.max(axis=1)), resolution - 1).astype(np.int64)
    extents = high - low + 1
    counts = extents.prod(axis=1)
    touched = np.zeros(resolution**3, dtype=bool)
    ends = np.cumsum(counts)
    first = 0
    while first < len(faces):
        base = ends[first] - counts[first]
        last = max(int(np.searchsorted(ends, base + _PAIRS_AT_ONCE, side="right")), first + 1)
        chosen = np.repeat(np.arange(first, last), counts[first:last])
        within = np.arange(len(chosen)) - (ends[chosen] - counts[chosen] - base)
        voxels = low[chosen] + _unravel(within, extents[chosen])
        keys = (voxels[:, 0] * resolution + voxels[:, 1]) * resolution + voxels[:, 2]
        untested = ~touched[keys]
        keys, voxels, chosen = keys[untested], voxels[untested], chosen[untested]
        touched[keys[_touch(triangles[chosen], voxels + 0.5)]] = True
        first = last
    return np.stack(np.unravel_index(np.flatnonzero(touched), (resolution,) * 3), axis=1).astype(np.int32)


def voxel_centers(voxels: NDArray[np.integer], resolution: int) -> Array:
    """Return the centres [M, 3] in object space of voxel indices [M, 3]: (v + 0.5)/resolution - 0.5."""
    return (np.asarray(voxels, dtype=np.float64) + 0.5) / resolution - 0.5


def _unravel(index: NDArray[np.int64], extents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the coordinates [n, 3] of flat indices [n] in boxes with extents [n, 3] of their own."""
    rest, z = np.divmod(index, extents[:, 2])
    x, y = np.divmod(rest, extents[:, 1])
    return np.stack([x, y, z], axis=1)


def _touch(triangles: Array, centers: Array) -> NDArray[np.bool_]:
    """Return whether triangles [n, 3, 3] touch closed unit cubes around centers [n, 3].

    The boxes around them are known to overlap, so the three axes of the cube separate nothing; the triangle's normal
    and the nine cross products of the cube's axes with the triangle's edges may.
    """
    corners = triangles - centers[:, None]
    edges = corners[:, [1, 2, 0]] - corners
    normals = np.cross(edges[:, 0], edges[:, 1])
    distance = np.abs(np.einsum("nc,nc->n", normals, corners[:, 0]))
    touching = distance <= 0.5 * np.abs(normals).sum(axis=1) + _tolerance(corners, normals)
    for edge in range(3):
        for axis in range(3):
            direction = np.cross(np.eye(3)[axis], edges[:, edge])
            # Both ends of the edge project to the same point: two of the three corners span the interval.
            near = np.einsum("nc,nc->n", direction, corners[:, edge])
            far = np.einsum("nc,nc->n", direction, corners[:, (edge + 2) % 3])
            reach = 0.5 * np.abs(direction).sum(axis=1) + _tolerance(corners, direction)
            touching &= (np.minimum(near, far) <= reach) & (np.maximum(near, far) >= -reach)
    return touching


def _tolerance(corners: Array, direction: Array) -> Array:
    """Return the rounding error of the projections, within which triangle and cube count as touching."""
    return 1e-12 * (1 + np.abs(corners).max(axis=(1, 2))) * np.abs(direction).sum(axis=1)
