"""Axes of training: where points, cameras and Gaussians come to lie, by hand and by projection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gvf.data.mesh import AnimatedMesh, Material
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import CONSISTENT4D_ORBIT, OrbitCamera, intrinsics, orbit, project
from gvf.pipelines.mesh_encoding import encode_mesh
from gvf.pipelines.training_axes import TrainingAxes
from gvf.pipelines.training_view import training_view
from gvf.progress import Progress
from tests.data.gltf.gltf_files import CUBE, CUBE_FACES
from tests.pipelines.alignment_objects import creature, photograph, psnr
from tests.pipelines.small_generator import STATIC, canonical_gaussians, small_generator

POINTS = np.random.default_rng(0).uniform(-0.5, 0.5, (30, 3)) * (1.0, 0.3, 0.6)


def test_what_faces_the_camera_comes_to_the_front():
    """The side towards a camera at azimuth 90, +x, becomes the front, -y, and a bar of length 2 along x one of length 1."""
    axes = TrainingAxes.around(np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.5]]), 90.0)
    assert (axes.scale, *axes.center) == pytest.approx((2.0, 0.0, 0.0, 0.25))
    np.testing.assert_allclose(axes.entered(np.array([1.0, 0.0, 0.25])), [0.0, -0.5, 0.0], atol=1e-12)


@pytest.mark.parametrize("azimuth", [0.0, 33.0, -120.0])
def test_points_fill_the_unit_box_and_gaussians_come_back(azimuth: float):
    axes = TrainingAxes.around(POINTS, azimuth)
    inside = axes.entered(POINTS)
    np.testing.assert_allclose(inside.max(0), -inside.min(0), atol=1e-12)
    assert np.ptp(inside, axis=0).max() == pytest.approx(1.0)
    start = canonical_gaussians(30, 0)
    start = replace(start, means=torch.from_numpy(inside).float(), raw_scales=start.raw_scales + 3.0)
    back = axes.left(start)
    np.testing.assert_allclose(back.means.numpy(), POINTS, atol=1e-6)
    turn = Rotation.from_euler("z", azimuth, degrees=True).as_matrix() * axes.scale
    np.testing.assert_allclose(covariances(back), turn @ covariances(start) @ turn.T, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(back.raw_opacities, start.raw_opacities, rtol=0, atol=0)


def covariances(gaussians: Gaussians) -> np.ndarray:
    axes = Rotation.from_quat(gaussians.quats.numpy()[:, [1, 2, 3, 0]]).as_matrix() * gaussians.scales.numpy()[:, None]
    return axes @ axes.transpose(0, 2, 1)


def test_cameras_see_the_object_in_its_own_axes_as_in_these():
    axes = TrainingAxes.around(POINTS, 50.0)
    viewmats, Ks = orbit(np.array([0.0, 100.0]), np.array([10.0, -40.0]), 2.0), intrinsics(np.array([40.0, 49.1]))
    own, _ = project(POINTS, axes.own_viewmats(viewmats), Ks)
    seen, _ = project(axes.entered(POINTS), viewmats, Ks)
    np.testing.assert_allclose(own, seen, atol=1e-12)


def test_the_crop_shows_what_the_training_camera_would_show():
    """An object off the origin, half as large as the unit box, in a video from the side."""
    body = creature()
    body = replace(body, means=0.5 * body.means + torch.tensor([0.06, -0.05, 0.02]), raw_scales=body.raw_scales - 0.012)
    camera = OrbitCamera(65.0, 10.0, 1.0, 60.0, (0.05, -0.03))
    axes = TrainingAxes.around(body.means.numpy(), camera.azimuth)
    training = OrbitCamera(0.0, camera.elevation, CONSISTENT4D_ORBIT.radius, CONSISTENT4D_ORBIT.fov)
    inside = replace(body, means=torch.from_numpy(axes.entered(body.means.numpy())).float())
    inside = replace(inside, raw_scales=body.activation.raw_scales(body.scales / axes.scale))
    crop = training_view(photograph(body, camera, 512)[None], axes.camera(camera), 96)[0]
    assert psnr(crop, photograph(inside, training, 96)) > 25.0
    assert (
        psnr(training_view(photograph(body, camera, 512)[None], camera, 96)[0], photograph(inside, training, 96)) < 17.0
    )


def test_a_mesh_is_encoded_as_if_it_had_been_turned(tmp_path: Path):
    """Without light, whose direction stays the mesh's own, there is no difference."""
    generator = small_generator(replace(STATIC, feature_channels=180))  # of EfficientNet-Lite0
    plain = Material("plain", (1.0, 1.0, 1.0, 1.0), -1, "OPAQUE", 0.5, False, (0.0, 0.0, 0.0), unlit=True)
    vertices = (CUBE * (1.0, 0.5, 0.3)).astype(np.float32)[None]
    mesh = AnimatedMesh(
        vertices=vertices,
        faces=CUBE_FACES.astype(np.int32),
        face_materials=np.zeros(len(CUBE_FACES), np.int32),
        uvs=np.zeros((8, 2), np.float32),
        colors=np.concatenate([CUBE + 0.5, np.ones((8, 1))], axis=1).astype(np.float32),
        materials=(plain,),
        textures=(),
        times=np.zeros(1, np.float32),
    )
    axes = TrainingAxes.around(vertices[0], 45.0)
    turned = replace(mesh, vertices=axes.entered(vertices).astype(np.float32))
    found = encode_mesh(mesh, axes, generator, tmp_path, Progress())
    expected = encode_mesh(turned, TrainingAxes(0.0), generator, tmp_path, Progress())
    torch.testing.assert_close(found.to_activated14(), expected.to_activated14(), atol=2e-3, rtol=2e-2)
    other = encode_mesh(mesh, TrainingAxes(0.0), generator, tmp_path, Progress())
    assert other.means.shape != found.means.shape
