"""Gaussians on a mesh's surface look like the mesh."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gvf.data.mesh import AnimatedMesh, Material
from gvf.errors import UserError
from gvf.geometry.camera import OrbitCamera
from gvf.pipelines.alignment_target import premultiplied
from gvf.pipelines.surface_gaussians import facing, surface_gaussians
from gvf.rendering.mesh_views import render_mesh
from tests.pipelines.alignment_objects import photograph


def box(low: tuple[float, ...], high: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    faces = [
        (0, 1, 3),
        (0, 3, 2),
        (4, 6, 7),
        (4, 7, 5),
        (0, 4, 5),
        (0, 5, 1),
        (2, 3, 7),
        (2, 7, 6),
        (0, 2, 6),
        (0, 6, 4),
        (1, 5, 7),
        (1, 7, 3),
    ]
    return corners * (np.array(high) - low).astype(np.float32) + np.array(low, np.float32), np.array(faces, np.int32)


def boxes() -> AnimatedMesh:
    """Return a red box with a blue one on top, and a green one inside the red one."""
    parts = [
        box((-0.5, -0.25, -0.4), (0.5, 0.25, 0.1)),
        box((-0.5, -0.2, 0.1), (0.0, 0.2, 0.4)),
        box((-0.2, -0.1, -0.2), (0.2, 0.1, 0.0)),
    ]
    vertices = np.concatenate([vertices for vertices, _ in parts])[None]
    faces = np.concatenate([faces + 8 * i for i, (_, faces) in enumerate(parts)])
    colors = [(0.8, 0.1, 0.1, 1.0), (0.1, 0.1, 0.8, 1.0), (0.0, 1.0, 0.0, 1.0)]
    materials = tuple(Material("", color, -1, "OPAQUE", 0.5, False, (0.0, 0.0, 0.0)) for color in colors)
    return AnimatedMesh(
        vertices, faces, np.repeat(np.arange(3, dtype=np.int32), 12), np.zeros((24, 2), np.float32), np.ones((24, 4), np.float32),
        materials, (), np.zeros(1, np.float32),
    )  # fmt: skip


@pytest.mark.parametrize("azimuth", [30.0, 200.0])
def test_they_look_like_the_mesh(azimuth):
    mesh, camera = boxes(), OrbitCamera(azimuth, 25.0, 2.2, 45.0)
    drawn = render_mesh(mesh.vertices[0], mesh, camera.viewmat[None], camera.K[None], 64, 2)[0]
    expected = premultiplied(torch.from_numpy(drawn))
    found = premultiplied(photograph(surface_gaussians(mesh), camera, 64))
    assert (found - expected).abs().mean() < 0.016
    assert (found[..., 3] - expected[..., 3]).sum().abs() / expected[..., 3].sum() < 0.05


def test_what_is_inside_is_left_out():
    gaussians = surface_gaussians(boxes(), 2000)
    assert 1000 < gaussians.num_gaussians < 2000
    green = gaussians.rgb[:, 1] > gaussians.rgb[:, [0, 2]].max(-1).values
    assert not green.any()


def test_discs_face_along_their_normals():
    normals = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    turned = Rotation.from_quat(facing(normals).numpy()[:, [1, 2, 3, 0]]).apply([0.0, 0.0, 1.0])
    cosines = np.einsum("nc,nc->n", turned, torch.nn.functional.normalize(normals, dim=-1).numpy())
    np.testing.assert_allclose(np.abs(cosines), 1.0, atol=1e-6)


def test_a_surface_without_area_is_refused():
    mesh = boxes()
    flat = AnimatedMesh(
        mesh.vertices * 0.0,
        *(
            getattr(mesh, name)
            for name in ("faces", "face_materials", "uvs", "colors", "materials", "textures", "times")
        ),
    )
    with pytest.raises(UserError, match="no area"):
        surface_gaussians(flat)
