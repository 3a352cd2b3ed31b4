"""The camera of an image of known Gaussians is found again."""

import pytest
import torch

from gvf.errors import UserError
from gvf.geometry.camera import OrbitCamera
from gvf.pipelines.alignment import AlignmentSettings, align
from gvf.progress import Progress
from tests.pipelines.alignment_objects import creature, photograph


def degrees_between(one: float, other: float) -> float:
    return abs((one - other + 180.0) % 360.0 - 180.0)


@pytest.mark.parametrize("azimuth", [63.0, -150.0])
def test_the_azimuth_of_a_shifted_crop_is_found(azimuth):
    camera = OrbitCamera(azimuth, 12.0, 2.2, 40.0, (0.08, -0.1))
    found = align(creature(), photograph(creature(), camera, 128), AlignmentSettings(), Progress())
    assert degrees_between(found.camera.azimuth, azimuth) < 1.0
    assert abs(found.camera.elevation - camera.elevation) < 1.5
    scale, expected = (c.K[0, 0] / c.radius for c in (found.camera, camera))
    assert abs(scale / expected - 1.0) < 0.01
    assert abs(found.camera.shift[0] - camera.shift[0]) < 0.005
    assert abs(found.camera.shift[1] - camera.shift[1]) < 0.005
    assert found.loss < 0.03


def test_a_field_of_view_that_is_known_gives_the_distance():
    camera = OrbitCamera(63.0, 12.0, 3.0, 25.0)
    found = align(creature(), photograph(creature(), camera, 128), AlignmentSettings(fov=25.0), Progress())
    assert abs(found.camera.fov - 25.0) < 1e-6
    assert abs(found.camera.radius / 3.0 - 1.0) < 0.02


def test_what_the_user_knows_stays():
    image = photograph(creature(), OrbitCamera(63.0, 12.0, 2.2, 40.0), 128)
    found = align(creature(), image, AlignmentSettings(azimuth=-20.0, elevation=5.0), Progress())
    assert (found.camera.azimuth, found.camera.elevation) == (-20.0, 5.0)


def test_an_image_without_an_object_is_refused():
    with pytest.raises(UserError, match="shows no object"):
        align(creature(), torch.zeros(32, 32, 4, dtype=torch.uint8), AlignmentSettings(), Progress())
