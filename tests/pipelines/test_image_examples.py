"""View-aligned shapes and encoded images against cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gvf.config.image_to_3d import ImageTo3dConfig
from gvf.data.image_examples import ImageExamples, turned_arrays
from gvf.errors import ClipError
from gvf.geometry.camera import orbit
from gvf.pipelines.image_examples import azimuth_of, encoded_images, turned_voxels
from gvf.pipelines.mesh_to_canonical import Surface
from gvf.pipelines.training_axes import TrainingAxes

# A strip along x, of 1 x 0.25, whose end towards +x is at z = 0.2; a camera at azimuth 90 stands there, at (2, 0, 0).
STRIP = Surface(
    np.array([[-0.5, -0.125, 0.0], [-0.5, 0.125, 0.0], [0.5, -0.125, 0.2], [0.5, 0.125, 0.2]]),
    np.array([[0, 2, 1], [1, 2, 3]]),
    np.array([True, True]),
)


@pytest.mark.parametrize("azimuth", [0.0, 37.0, 90.0, -120.0, 179.0])
@pytest.mark.parametrize("elevation", [0.0, 30.0, -10.0])
def test_the_azimuth_of_a_camera(azimuth: float, elevation: float) -> None:
    assert azimuth_of(orbit(azimuth, elevation, 2.0).astype(np.float32)) == pytest.approx(azimuth, abs=1e-4)


def test_the_camera_at_azimuth_90_sees_its_end_of_the_strip_in_front() -> None:
    """Turned back by 90 degrees, +x becomes -y, where the frontal camera is: the raised end is at the smallest y."""
    axes = TrainingAxes.around(STRIP.vertices, 90.0)
    np.testing.assert_allclose(axes.entered(np.array([[0.5, 0.0, 0.2]])), [[0.0, -0.5, 0.1]], atol=1e-9)
    np.testing.assert_allclose(axes.entered(np.array([[-0.5, 0.125, 0.0]])), [[0.125, 0.5, -0.1]], atol=1e-9)
    (voxels,) = turned_voxels(STRIP, orbit([90.0], 20.0, 2.0), 8)
    low, high = voxels.indices.min(axis=0), voxels.indices.max(axis=0)
    assert low[1] == 0
    assert high[1] == 7, "along y from end to end"
    assert (low[0], high[0]) == (2, 5), "0.25 across x, its ends on borders of voxels, which belong to both sides"
    front, back = (voxels.indices[voxels.indices[:, 1] == end, 2].mean() for end in (0, 7))
    assert front > back


def test_centres_of_turned_voxels_are_on_the_shape_in_its_own_axes() -> None:
    for voxels in turned_voxels(STRIP, orbit([0.0, 30.0, 200.0], 0.0, 2.0), 16):
        x, y, z = voxels.centers.T
        assert np.abs(z - 0.1 - 0.2 * x).max() < voxels.edge
        assert max(np.abs(x).max(), np.abs(4.0 * y).max()) < 0.5 + 4.0 * voxels.edge


def test_points_return_from_training_axes() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    axes = TrainingAxes.around(points, 33.0)
    np.testing.assert_allclose(axes.returned(axes.entered(points)), points, atol=1e-12)
    assert np.abs(axes.entered(points)).max() <= 0.5 + 1e-12


def test_shapes_come_back_from_the_arrays_by_image() -> None:
    voxels = [torch.tensor([[0, 1, 2], [3, 3, 3]], dtype=torch.int32), torch.tensor([[1, 0, 0]], dtype=torch.int32)]
    features = [torch.ones(2, 4), torch.zeros(1, 4)]
    tokens = torch.zeros(2, 3, 5).half()
    turned = ImageExamples.of({"image_tokens": tokens} | turned_arrays(voxels, features), {})
    assert turned.maps is None
    assert torch.equal(turned.voxels[0], voxels[0])
    assert torch.equal(turned.features[1], features[1].half())
    occupancy = turned.occupancy(0, 4)
    assert occupancy.sum() == 2
    assert occupancy[0, 1, 2]
    assert occupancy[3, 3, 3]
    own = ImageExamples.of({"image_tokens": tokens}, {"voxels": voxels[0], "voxel_features": features[0]})
    assert torch.equal(own.occupancy(0, 4), own.occupancy(1, 4)), "one shape, the clip's own, behind every image"


class BrightEncoder:
    """Stands in for an image encoder: the mean alpha as a token, the image itself as a map."""

    def object_tokens(self, images: torch.Tensor) -> torch.Tensor:
        return images[..., 3].float().mean(dim=(1, 2))[:, None, None] / 255.0

    def voxel_maps(self, images: torch.Tensor) -> torch.Tensor:
        return images.permute(0, 3, 1, 2).float()


def test_images_are_cropped_to_the_object_before_they_are_encoded() -> None:
    """A square of 20 pixels anywhere in the image fills (20/22)^2 of its crop, whose side is 1.2 x 19, rounded down."""
    images = np.zeros((3, 64, 64, 4), np.uint8)
    for image, corner in zip(images, (0, 10, 40)):
        image[corner : corner + 20, corner : corner + 20] = 255
    config = ImageTo3dConfig(orientation="view", image_size=22, map_size=2)
    arrays = encoded_images(BrightEncoder(), images, config, 2, torch.device("cpu"))  # type: ignore[arg-type]
    torch.testing.assert_close(
        arrays["image_tokens"].float().flatten(), torch.full((3,), (20 / 22) ** 2), atol=1e-3, rtol=0
    )
    assert arrays["image_maps"].shape == (3, 4, 2, 2)
    with pytest.raises(ClipError, match="no opaque pixel"):
        encoded_images(BrightEncoder(), images * 0, config, 2, torch.device("cpu"))  # type: ignore[arg-type]
