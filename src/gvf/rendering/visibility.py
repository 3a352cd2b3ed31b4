"""Which points of a mesh's surface a camera sees, by ray casting (Embree)."""

from __future__ import annotations

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

_STEP_BEHIND = 2e-5  # offset, in world units, at which a ray restarts behind a culled back face
_MAX_BACKS = 64  # culled back faces that a ray may pass; points behind more of them count as hidden


def visible_points(
    vertices: NDArray[np.floating],
    faces: NDArray[np.integer],
    double_sided: NDArray[np.bool_],
    points: NDArray[np.floating],
    eyes: NDArray[np.floating],
    tolerance: float,
) -> NDArray[np.bool_]:
    """Return whether each point is visible from each eye; surfaces closer to the point than `tolerance` are ignored.

    As in the renders, back faces (clockwise winding) occlude nothing unless `double_sided`.

    vertices: [V, 3], faces: [F, 3], double_sided: [F], points: [N, 3], eyes: [C, 3], tolerance: world units. Returns
    [C, N].
    """
    scene = EmbreeScene()
    TriangleMesh(scene, np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32))
    corners = vertices[faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    ways = (points[None] - eyes[:, None]).astype(np.float32).reshape(-1, 3)  # the point is at parameter 1 of its ray
    origins = np.repeat(eyes, len(points), axis=0)
    lengths = np.linalg.norm(ways, axis=-1)
    free = np.zeros(len(ways), dtype=bool)
    begun = np.zeros(len(ways))  # parameter at which each ray begins: behind the last culled back face, if any
    rays = np.arange(len(ways))
    for _ in range(_MAX_BACKS):
        starts = origins[rays] + begun[rays, None] * ways[rays]
        result = scene.run(starts.astype(np.float32), ways[rays], output=1)
        hit = result["primID"]
        first = np.where(hit >= 0, begun[rays] + result["tfar"], np.inf)
        before = (1.0 - first) * lengths[rays] > tolerance
        free[rays[~before]] = True
        before[before] = ~double_sided[hit[before]]
        rays, hit, first = rays[before], hit[before], first[before]
        passes = np.einsum("rc,rc->r", normals[hit], ways[rays]) > 0.0
        rays = rays[passes]
        if len(rays) == 0:
            break
        begun[rays] = first[passes] + _STEP_BEHIND / lengths[rays]
    return free.reshape(len(eyes), len(points))
