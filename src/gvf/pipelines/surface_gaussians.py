"""Cover the surface of a mesh with flat Gaussians in its own colours.

The alignment compares them with the video: the canonical Gaussians of small networks are too blurred for that.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gvf.data.mesh import AnimatedMesh
from gvf.errors import UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.sh import SH_C0
from gvf.geometry.camera import intrinsics, orbit, positions, project, sphere_hammersley
from gvf.geometry.sampling import sample_surface, triangle_areas
from gvf.rendering.mesh_views import MeshRenderer
from gvf.rendering.visibility import visible_points

_VIEWS, _RADIUS, _FOV, _SIZE, _SAMPLES = 20, 2.0, 50.0, 192, 1
_TOLERANCE = 0.002  # object units within which a surface does not hide a point
_WIDTH = 0.55  # standard deviation of a disc / distance of neighbours
_FLATNESS = 0.05  # thickness / width of a disc
_OPACITY = 0.99


def surface_gaussians(mesh: AnimatedMesh, count: int = 8000) -> Gaussians:
    """Return at most `count` flat Gaussians on the surface of a mesh's first frame, on the CPU.

    mesh: normalized, so z up in the unit box. What no view from outside shows is left out. Raises UserError when nothing of
    it can be seen.
    """
    vertices = mesh.vertices[0].astype(np.float64)
    area = float(triangle_areas(vertices, mesh.faces).sum())
    if not area > 0.0:
        raise UserError("the mesh: its surface has no area, so there is nothing to align.")
    samples = sample_surface(vertices, mesh.faces, count, np.random.default_rng(0))
    points = samples.positions(vertices, mesh.faces)
    colors, opacities = _appearance(mesh, points)
    chosen = opacities > 0.01
    if not chosen.any():
        raise UserError("the mesh: no view from outside shows any of its surface, so there is nothing to align.")
    width = _WIDTH * (area / count) ** 0.5
    corners = torch.from_numpy(vertices[mesh.faces[samples.faces]]).float()
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return Gaussians.from_rendered(
        torch.from_numpy(points).float()[chosen],
        ((colors - 0.5) / SH_C0)[chosen],
        torch.tensor([width, width, _FLATNESS * width]).expand(int(chosen.sum()), 3),
        facing(normals)[chosen],
        _OPACITY * opacities[chosen],
    )


def facing(normals: Tensor) -> Tensor:
    """Return unit quaternions [N, 4] wxyz that turn the z axis onto normals [N, 3] of any length; a zero one turns nothing."""
    unit = F.normalize(normals, dim=-1)
    unit = torch.where(unit[:, 2:] < 0.0, -unit, unit)  # a disc looks the same from behind
    x, y, z = unit.unbind(-1)
    return F.normalize(torch.stack([1.0 + z, -y, x, torch.zeros_like(z)], dim=-1), dim=-1)


def _appearance(mesh: AnimatedMesh, points: NDArray[np.floating]) -> tuple[Tensor, Tensor]:
    """Return the colours [N, 3] and opacities [N] of surface points in views from all around; 0 where no view shows a point."""
    viewmats = orbit(*sphere_hammersley(_VIEWS), _RADIUS)
    Ks = intrinsics(np.full(_VIEWS, _FOV))
    images = MeshRenderer(mesh).render(mesh.vertices[0], viewmats, Ks, _SIZE, _SAMPLES)
    eyes = positions(viewmats)
    seen = visible_points(mesh.vertices[0], mesh.faces, mesh.double_sided, points, eyes, _TOLERANCE)
    coordinates, _ = project(points, viewmats, Ks)
    grid = torch.from_numpy(2.0 * coordinates - 1.0).float()[:, None]
    rgba = torch.from_numpy(images).float().movedim(-1, 1) / 255.0
    premultiplied = torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], dim=1)
    values = F.grid_sample(premultiplied, grid, mode="bilinear", align_corners=False)[:, :, 0]  # [C, 4, N]
    weights = torch.from_numpy(seen).float()
    total = (values * weights[:, None]).sum(0)
    number = weights.sum(0)
    colors = (total[:3] / total[3].clamp(min=1e-6)).T
    return colors.clamp(0.0, 1.0), torch.where(number > 0, total[3] / number.clamp(min=1.0), 0.0)
