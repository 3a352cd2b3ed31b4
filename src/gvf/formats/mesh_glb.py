"""`mesh.glb`: a mesh with its own materials, and one morph target per frame that an animation of weights shows in turn.

Between two frames, weights change linearly, so vertices move in straight lines. Nodes and skeletons of the source are gone:
its pose is part of the vertices. Coordinates are in the source's units, y up as glTF demands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gvf.data.mesh_source import MeshSource
from gvf.formats.glb_file import INDICES, GlbFile
from gvf.formats.mesh_pieces import Piece, copy_surface
from gvf.geometry.carried_normals import CarriedNormals
from gvf.progress import Progress
from gvf.storage.files import PathLike

LARGE = 256 << 20
"""Bytes of moving positions and normals beyond which normals stay those of the first pose, and the user is told the size."""

_FAR = 1e-6  # rounding of coordinates, in object sizes, beyond which they are counted from the object itself


def save_mesh_glb(
    path: PathLike,
    source: MeshSource,
    displacements: np.ndarray,
    frames_per_second: float,
    progress: Progress | None = None,
) -> None:
    """Write the animation of a mesh.

    displacements: [T, V, 3] of the vertices of `source.mesh` in each frame, in its units, y up. Frame t is shown at
    t/frames_per_second seconds. Raises UserError when the file would pass 4 GiB.
    """
    progress = progress or Progress()
    file = GlbFile()
    shapes, warnings = copy_surface(source, file)
    for warning in warnings:
        progress.warn(warning)
    moving_normals = 2 * displacements.size * 4 <= LARGE
    if not moving_normals:
        progress.warn(
            f"mesh.glb: {len(displacements)} frames of {displacements.shape[1]} vertices take {displacements.size * 4 >> 20} MiB, "
            "so the normals of the first pose are kept in all frames. A mesh with fewer vertices, or fewer frames, plays better."
        )
    rest = source.mesh.vertices[0]
    origin = _origin(rest)
    nodes, moving = [], []
    with progress.step("animated mesh", len(rest), "vertices") as step:
        for shape in shapes:
            moves = any(displacements[:, piece.start : piece.stop].any() for piece in shape.pieces)
            primitives = [
                _primitive(file, piece, rest, origin, displacements if moves else displacements[:0], moving_normals)
                for piece in shape.pieces
            ]
            mesh = {"name": shape.name, "primitives": primitives}
            weights = {"weights": [1.0] + [0.0] * (len(displacements) - 1)} if moves else {}
            nodes.append(file.add("nodes", {"name": shape.name, "mesh": file.add("meshes", mesh | weights)}))
            moving += nodes[-1:] if moves else []
            step.advance(sum(piece.stop - piece.start for piece in shape.pieces))
    if origin.any():
        nodes = [file.add("nodes", {"name": "origin", "translation": origin.tolist(), "children": nodes})]
    file.json["scene"] = file.add("scenes", {"nodes": nodes})
    if moving:
        _animate(file, moving, len(displacements), frames_per_second)
    file.save(path)


def _primitive(
    file: GlbFile,
    piece: Piece,
    rest: np.ndarray,
    origin: np.ndarray,
    displacements: np.ndarray,
    moving_normals: bool,
) -> dict[str, object]:
    posed = rest[piece.start : piece.stop]
    base = (posed - origin).astype("<f4")
    placed = {"POSITION": file.accessor(base, bounds=True)}
    if piece.normals is not None:
        placed["NORMAL"] = file.accessor(piece.normals.astype("<f4"))
    wide = "<u4" if len(base) > 0xFFFF else "<u2"  # 0xFFFF itself is no index
    primitive: dict[str, object] = {
        "attributes": placed | piece.attributes,
        "indices": file.accessor(piece.faces.ravel().astype(wide), INDICES),
    }
    if piece.material is not None:
        primitive["material"] = piece.material
    if len(displacements):
        carried = None
        if moving_normals and piece.normals is not None:
            carried = CarriedNormals(piece.normals, posed, piece.faces)
        moved = displacements[:, piece.start : piece.stop]
        primitive["targets"] = [_target(file, posed, frame, piece.normals, carried) for frame in moved]
    return primitive


def _target(
    file: GlbFile, posed: np.ndarray, moved: np.ndarray, normals: np.ndarray | None, carried: CarriedNormals | None
) -> dict[str, int]:
    """Return the morph target of one frame. moved: [V, 3], displacements of the primitive's vertices."""
    target = {"POSITION": _displacements(file, moved, bounds=True)}
    if carried is not None and normals is not None:
        turned = carried.at(posed + moved) - normals if moved.any() else np.zeros_like(normals)
        target["NORMAL"] = _displacements(file, turned, bounds=False)
    return target


def _displacements(file: GlbFile, values: np.ndarray, bounds: bool) -> int:
    stored = values.astype("<f4")
    return file.accessor(stored, bounds=bounds) if stored.any() else file.zeros(len(values), 3)


def _animate(file: GlbFile, nodes: Sequence[int], num_frames: int, frames_per_second: float) -> None:
    """Add the animation, in which weight t is 1 at the time of frame t and 0 at those of all others."""
    times = (np.arange(num_frames) / frames_per_second).astype("<f4")
    sampler = {
        "input": file.accessor(times, None, bounds=True),
        "output": file.accessor(np.eye(num_frames, dtype="<f4").ravel(), None),
        "interpolation": "LINEAR",
    }
    channels = [{"sampler": 0, "target": {"node": node, "path": "weights"}} for node in nodes]
    file.add("animations", {"name": "motion", "samplers": [sampler], "channels": channels})


def _origin(rest: np.ndarray) -> np.ndarray:
    """Return the point [3] that coordinates are counted from: the source's own origin, or the object where that is far away."""
    low, high = rest.min(axis=0), rest.max(axis=0)
    if np.abs(rest).max() * np.finfo(np.float32).eps <= _FAR * (high - low).max():
        return np.zeros(3)
    return np.asarray(((low + high) / 2.0).astype(np.float32), np.float64)
