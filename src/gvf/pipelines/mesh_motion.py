"""The motion of a mesh whose vertices follow moving Gaussians (the weights of Eq. 3, from Gaussians to vertices)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.formats.mesh_glb import save_mesh_glb
from gvf.geometry.interpolation import mesh_guide
from gvf.pipelines.canonical import CanonicalObject
from gvf.progress import Progress
from gvf.storage.files import PathLike

NUM_NEIGHBORS, BETA = 8, 7.0  # Table 6
MAX_BYTES = 1 << 30
"""Most bytes of displacements in a mesh.glb: 120 frames of 745,000 vertices."""


def save_mesh_animation(
    path: PathLike,
    canonical: CanonicalObject,
    means: Tensor,
    frames_per_second: float,
    progress: Progress | None = None,
) -> bool:
    """Write `mesh.glb`: the mesh of a canonical object, moved by its Gaussians. Returns whether it was written.

    means: [T, N, 3], object units, of the same Gaussians in the same order. A mesh of so many vertices that its frames
    would take more than MAX_BYTES is left out with a warning. Raises UserError when no mesh is known.
    """
    if canonical.mesh is None or canonical.source is None:
        raise UserError(f"{path}: the canonical object comes from {canonical.origin}, so there is no mesh to animate.")
    progress, vertices = progress or Progress(), canonical.mesh.vertices[0]
    if (needed := len(means) * vertices.size * 4) > MAX_BYTES:
        progress.warn(
            f"mesh.glb is left out: {len(means)} frames of {len(vertices)} vertices would take {needed / 2**30:.1f} GiB, more than "
            f"{MAX_BYTES / 2**30:.0f}. Simplify the mesh, or use fewer frames."
        )
        return False
    moved = follow(vertices, canonical.gaussians.means, means)
    # From object axes to y up, in the file's units; `source.mesh` is y up whatever its file is.
    turned = moved[..., [0, 2, 1]]
    turned *= np.array([1.0, 1.0, -1.0], np.float32) * np.float32(canonical.to_file.scale)
    save_mesh_glb(path, canonical.source, turned, frames_per_second, progress)
    return True


@torch.no_grad()
def follow(vertices: np.ndarray, canonical_means: Tensor, means: Tensor) -> np.ndarray:
    """Return the displacements [T, V, 3] float32 of vertices [V, 3] that follow moving Gaussians (Eq. 3-4).

    canonical_means: [N, 3]; means: [T, N, 3]. A vertex moves by the weighted mean over its nearest Gaussians, with the
    weights by which the paper moves Gaussians with the points of a mesh.
    """
    start = canonical_means.detach().float().cpu()
    guide = mesh_guide(
        torch.from_numpy(np.ascontiguousarray(vertices, np.float32)), start, num_neighbors=NUM_NEIGHBORS, beta=BETA
    )
    return guide.interpolate(means.detach().float().cpu() - start).numpy()
