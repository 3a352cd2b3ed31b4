"""Rotated Gaussians look from one side as unrotated ones do from another."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.rotation import multiplied, rotated_about_z, turned_about_z, with_smallest_rotations
from gvf.geometry.camera import OrbitCamera
from gvf.rendering.splats import draw_gaussians


def random_gaussians(*lead: int) -> Gaussians:
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(*lead, 14, generator=generator)
    return Gaussians.from_rendered(
        values[..., :3] * 0.6 - 0.3,
        values[..., 3:6] * 3.0 - 1.5,
        values[..., 6:9] * 0.06 + 0.01,
        torch.nn.functional.normalize(values[..., 9:13] - 0.4, dim=-1),
        values[..., 13] * 0.9 + 0.05,
    )


def image(gaussians: Gaussians, azimuth: float) -> torch.Tensor:
    camera = OrbitCamera(azimuth, 20.0, 2.0, 40.0)
    viewmat, K = (torch.from_numpy(matrix).float()[None] for matrix in (camera.viewmat, camera.K))
    return draw_gaussians(gaussians, viewmat, K, 48)[..., 0, :, :, :]


@pytest.mark.parametrize("degrees", [37.0, -120.0, 180.0])
def test_rotated_gaussians_from_the_front_equal_unrotated_ones_from_the_azimuth(degrees):
    gaussians = random_gaussians(60)
    torch.testing.assert_close(
        image(rotated_about_z(gaussians, -degrees), 0.0), image(gaussians, degrees), atol=1e-4, rtol=0.0
    )
    assert (image(gaussians, 0.0) - image(gaussians, degrees)).abs().max() > 0.1


def test_quaternions_turn_as_rotations_do():
    quats = random_gaussians(20).quats
    expected = Rotation.from_euler("z", 50.0, degrees=True) * Rotation.from_quat(quats.numpy()[:, [1, 2, 3, 0]])
    found = turned_about_z(quats, 50.0).numpy()[:, [1, 2, 3, 0]]
    np.testing.assert_allclose(Rotation.from_quat(found).as_matrix(), expected.as_matrix(), atol=1e-6)


def test_a_variation_may_be_added_before_or_after_the_rotation_of_orientations():
    gaussians = random_gaussians(20)
    variation = torch.zeros(3, 20, 14)
    variation[..., 6:10] = torch.rand(3, 20, 4, generator=torch.Generator().manual_seed(4)) * 0.2
    before = rotated_about_z(gaussians.vary(variation), 70.0)
    turned = variation.clone()
    turned[..., 6:10] = turned_about_z(variation[..., 6:10], 70.0)
    torch.testing.assert_close(before.quats, rotated_about_z(gaussians, 70.0).vary(turned).quats, atol=1e-6, rtol=0.0)


def test_the_smallest_rotations_describe_the_same_gaussians():
    gaussians = random_gaussians(2, 60)
    found = with_smallest_rotations(gaussians)
    for azimuth in (0.0, 70.0):
        torch.testing.assert_close(image(found, azimuth), image(gaussians, azimuth), atol=1e-4, rtol=0.0)
    assert (found.quats[..., 0] > np.cos(np.deg2rad(62.9 / 2))).all()  # no rotation is farther from all of a cube's
    assert (gaussians.quats[..., 0] < 0.5).any()


@pytest.mark.parametrize("degrees", [90.0, 180.0, -90.0])
def test_after_a_quarter_turn_rotations_near_the_identity_are_near_it_again(degrees):
    small = random_gaussians(40)
    near = torch.nn.functional.normalize(torch.tensor([1.0, 0.0, 0.0, 0.0]) + 0.2 * (small.quats - 0.5), dim=-1)
    small = Gaussians.from_rendered(small.means, small.colors, small.scales, near, small.opacities)
    found = with_smallest_rotations(rotated_about_z(small, degrees))
    assert rotated_about_z(small, degrees).quats[:, 0].abs().max() < 0.9
    torch.testing.assert_close(found.quats[:, 0], near[:, 0].abs(), atol=1e-5, rtol=0.0)
    if degrees != 180.0:
        torch.testing.assert_close(found.scales, small.scales[:, [1, 0, 2]], atol=1e-6, rtol=0.0)


def test_products_of_quaternions_are_those_of_rotations():
    one, other = random_gaussians(20).quats, random_gaussians(2, 20).quats[1]
    expected = Rotation.from_quat(one.numpy()[:, [1, 2, 3, 0]]) * Rotation.from_quat(other.numpy()[:, [1, 2, 3, 0]])
    found = Rotation.from_quat(multiplied(one, other).numpy()[:, [1, 2, 3, 0]])
    np.testing.assert_allclose(found.as_matrix(), expected.as_matrix(), atol=1e-6)
