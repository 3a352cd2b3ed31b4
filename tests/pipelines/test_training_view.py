"""Frames of any camera, cropped to what the training camera shows."""

import numpy as np
import torch

from gvf.geometry.camera import CONSISTENT4D_ORBIT, TRAINING_CAMERA, OrbitCamera, project
from gvf.pipelines.training_view import camera_of_view, training_view, zoom
from tests.pipelines.alignment_objects import creature, photograph, psnr


def test_a_crop_of_a_camera_at_the_same_distance_becomes_the_training_cameras_image():
    training = OrbitCamera(25.0, 10.0, CONSISTENT4D_ORBIT.radius, CONSISTENT4D_ORBIT.fov)
    crop = OrbitCamera(25.0, 10.0, CONSISTENT4D_ORBIT.radius, 37.0, (0.06, -0.04))
    objects = creature()
    expected = photograph(objects, training, 96)
    found = training_view(photograph(objects, crop, 256)[None], crop, 96)
    assert found.shape == (1, 96, 96, 4)
    assert psnr(found[0], expected) > 30.0
    assert psnr(training_view(photograph(objects, crop, 256)[None], training, 96)[0], expected) < 20.0


def test_of_another_distance_the_scale_at_the_origin_is_that_of_the_training_camera():
    camera = OrbitCamera(0.0, 0.0, 3.0, 30.0, (0.1, 0.0))
    scale = camera.K[0, 0] / camera.radius  # of one object unit, in shares of the image
    side = 90
    frame = torch.zeros(1, 300, 300, 4, dtype=torch.uint8)
    left, top = (round(300 * (0.5 + shift) - side / 2) for shift in camera.shift)
    frame[:, top : top + side, left : left + side] = (
        255  # a square of side / (300 scale) object units around the origin
    )
    found = training_view(frame, camera, 200)[0, ..., 3] > 127
    columns = found.any(0).nonzero().flatten()
    focal = 0.5 / np.tan(np.deg2rad(CONSISTENT4D_ORBIT.fov) / 2)
    width = side / (300 * scale) * focal / CONSISTENT4D_ORBIT.radius * 200
    assert abs(len(columns) - width) <= 1.0
    assert abs(float(columns.float().mean()) - 99.5) <= 0.5


def test_the_camera_of_the_view_shows_points_where_the_view_does():
    """Each point's pixel in the frame, moved as the crop moves it, is its pixel in the view's camera."""
    camera = OrbitCamera(35.0, 15.0, 2.6, 31.0, (0.07, -0.03))
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3))
    before, _ = project(points, camera.viewmat, camera.K)
    side = zoom(camera)
    corner = 0.5 + np.array(camera.shift) - side / 2.0
    view = camera_of_view(camera)
    after, _ = project(points, view.viewmat, view.K)
    np.testing.assert_allclose(after, (before - corner) / side, atol=1e-12)
    assert abs(zoom(view) - 1.0) < 1e-9


def test_the_view_of_the_training_camera_is_its_own():
    np.testing.assert_allclose(camera_of_view(TRAINING_CAMERA).K, TRAINING_CAMERA.K)
    np.testing.assert_allclose(camera_of_view(TRAINING_CAMERA).viewmat, TRAINING_CAMERA.viewmat)
