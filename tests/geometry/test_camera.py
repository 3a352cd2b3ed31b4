"""Cameras against hand-computed cases, Blender's convention and the projection matrix of the Mip rasteriser."""

import numpy as np
import pytest

from gvf.geometry import camera


def test_orbit_at_azimuth_zero_by_hand() -> None:
    viewmat = camera.orbit(0.0, 0.0, 2.0)
    expected = [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 2], [0, 0, 0, 1]]  # right +x, down -z, forward +y
    np.testing.assert_allclose(viewmat, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("azimuth", "elevation", "position"),
    [(0, 0, (0, -2, 0)), (90, 0, (2, 0, 0)), (180, 0, (0, 2, 0)), (-90, 0, (-2, 0, 0)), (0, 90, (0, 0, 2)),
     (90, 30, (np.sqrt(3), 0, 1))],
)  # fmt: skip
def test_orbit_positions(azimuth: float, elevation: float, position: tuple[float, ...]) -> None:
    np.testing.assert_allclose(camera.positions(camera.orbit(azimuth, elevation, 2.0)), position, atol=1e-12)


def look_at_origin(eyes: np.ndarray) -> np.ndarray:
    """Return cameras at `eyes` [n, 3] that look at the origin, z up, from cross products."""
    forward = -eyes / np.linalg.norm(eyes, axis=-1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    viewmats = np.tile(np.eye(4), (len(eyes), 1, 1))
    viewmats[:, :3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    viewmats[:, :3, 3:] = -viewmats[:, :3, :3] @ eyes[..., None]
    return viewmats


def test_orbit_agrees_with_look_at_and_is_a_rotation() -> None:
    rng = np.random.default_rng(0)
    azimuth, elevation = rng.uniform(-180, 180, 20), rng.uniform(-80, 80, 20)
    viewmats = camera.orbit(azimuth, elevation, 1.7)
    np.testing.assert_allclose(viewmats, look_at_origin(camera.positions(viewmats)), atol=1e-12)
    rotations = viewmats[:, :3, :3]
    np.testing.assert_allclose(rotations @ rotations.swapaxes(1, 2), np.broadcast_to(np.eye(3), (20, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0)


def test_blender_camera_to_world() -> None:
    """A Blender camera looks along its -z with +y up: at (0,-2,0), turned by 90 degrees about x, it sees the front.

    The release's rule: negate the second and third column of camera-to-world, invert.
    """
    camera_to_world = np.array([[1.0, 0, 0, 0], [0, 0, -1, -2], [0, 1, 0, 0], [0, 0, 0, 1]])
    camera_to_world[:, 1:3] *= -1
    np.testing.assert_allclose(np.linalg.inv(camera_to_world), camera.orbit(0.0, 0.0, 2.0), atol=1e-12)


def test_intrinsics_of_blenders_lens() -> None:
    fov = np.rad2deg(2 * np.arctan(32 / (2 * 35)))  # 35 mm lens on a 32 mm sensor: the release's 49.1 degrees
    assert fov == pytest.approx(49.1, abs=0.05)
    np.testing.assert_allclose(camera.intrinsics(fov), [[35 / 32, 0, 0.5], [0, 35 / 32, 0.5], [0, 0, 1]])


def test_project_by_hand() -> None:
    viewmats = camera.orbit([0.0, 90.0], 0.0, 2.0)
    Ks = camera.intrinsics(np.full(2, 90.0))  # fx = 0.5
    image, depth = camera.project(np.array([[0.5, 0.0, 0.25], [0.0, 1.0, 0.0]]), viewmats, Ks)
    # from the front: x = 0.5 at depth 2 is 0.125 right of the middle, z = 0.25 is 0.0625 above it
    np.testing.assert_allclose(image[0, 0], [0.625, 0.4375])
    np.testing.assert_allclose(depth, [[2.0, 3.0], [1.5, 2.0]])
    # from +x, +y is to the right
    np.testing.assert_allclose(image[1, 1], [0.75, 0.5])


def test_project_agrees_with_the_clip_space_matrix() -> None:
    """The Mip rasteriser's matrix (2fx, 2fy, 2cx-1, -2cy+1, far/(far-near), ...) maps to [-1,1], y down like ours."""
    rng = np.random.default_rng(1)
    points = rng.uniform(-0.5, 0.5, (30, 3))
    viewmat, K = camera.orbit(33.0, 12.0, 2.0), camera.intrinsics(40.0)
    near, far = 0.8, 1.6
    clip = np.array([
        [2 * K[0, 0], 0, 2 * K[0, 2] - 1, 0],
        [0, 2 * K[1, 1], -2 * K[1, 2] + 1, 0],
        [0, 0, far / (far - near), near * far / (near - far)],
        [0, 0, 1, 0],
    ])  # fmt: skip
    homogeneous = np.c_[points, np.ones(30)] @ viewmat.T @ clip.T
    expected = (homogeneous[:, :2] / homogeneous[:, 3:] + 1) / 2
    np.testing.assert_allclose(camera.project(points, viewmat, K)[0], expected, atol=1e-12)


def test_sphere_hammersley_by_hand() -> None:
    azimuth, elevation = camera.sphere_hammersley(4)
    np.testing.assert_allclose(azimuth, [0, 180, 90, 270])
    np.testing.assert_allclose(np.sin(np.deg2rad(elevation)), [0.75, 0.25, -0.25, -0.75])


@pytest.mark.parametrize("offset", [(0.5, 0.0), (0.1, 0.7)])
def test_sphere_hammersley_is_even(offset: tuple[float, float]) -> None:
    azimuth, elevation = camera.sphere_hammersley(150, offset)
    directions = camera.positions(camera.orbit(azimuth, elevation, 1.0))
    np.testing.assert_allclose(directions.mean(axis=0), 0.0, atol=0.02)
    np.testing.assert_allclose(directions.T @ directions / 150, np.eye(3) / 3, atol=0.02)


def test_half_an_image_has_half_the_tangent() -> None:
    assert camera.fov_of_part(90.0, 0.5) == pytest.approx(2.0 * np.rad2deg(np.arctan(0.5)))
    assert camera.fov_of_part(camera.fov_of_part(40.0, 0.3), 1.0 / 0.3) == pytest.approx(40.0)


def test_an_orbit_camera_shifts_the_image_of_the_origin() -> None:
    view = camera.OrbitCamera(30.0, 10.0, 2.0, 49.1, (0.1, -0.2))
    coordinates, depths = camera.project(np.zeros((1, 3)), view.viewmat, view.K)
    np.testing.assert_allclose(coordinates, [[0.6, 0.3]], atol=1e-12)
    np.testing.assert_allclose(depths, [2.0])
