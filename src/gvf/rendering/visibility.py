"""Which points of a mesh's surface a camera sees, by ray casting (Embree)."""

from __future__ import annotations

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray


def visible_points(
    vertices: NDArray[np.floating],
    faces: NDArray[np.integer],
    points: NDArray[np.floating],
    eyes: NDArray[np.floating],
    tolerance: float,
) -> NDArray[np.bool_]:
    """Whether the way from each eye to each point is free, but for surfaces less than `tolerance` before the point.

    vertices: [V, 3], faces: [F, 3], points: [N, 3], eyes: [C, 3], tolerance: world units. Returns [C, N].
    """
    scene = EmbreeScene()
    TriangleMesh(scene, np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32))
    ways = (points[None] - eyes[:, None]).astype(np.float32)  # the point is at parameter 1
    origins = np.broadcast_to(eyes[:, None].astype(np.float32), ways.shape)
    result = scene.run(origins.reshape(-1, 3), ways.reshape(-1, 3), output=1)
    first = np.where(result["primID"] >= 0, result["tfar"], np.inf).reshape(ways.shape[:2])
    return (1.0 - first) * np.linalg.norm(ways, axis=-1) <= tolerance
