"""Squares out of images: averages over areas when shrinking, interpolation when enlarging, transparency outside."""

import numpy as np
import pytest
import torch

from gvf.geometry.resampling import resampled


def random_images(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (2, height, width, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_the_whole_image_at_its_own_size_is_unchanged():
    images = random_images(12, 12)
    images[..., 3] = 255
    torch.testing.assert_close(resampled(images, 0.0, 0.0, 12.0, 12), images)


def test_a_whole_pixel_crop_beyond_the_edge_is_a_slice_with_transparent_surroundings():
    images = random_images(10, 14)
    images[..., 3] = images[..., 3].clamp(min=1)
    found = resampled(images, 8.0, -3.0, 9.0, 9)
    torch.testing.assert_close(found[:, 3:, :6, 3], images[:, :6, 8:, 3])
    assert (found[:, 3:, :6, :3].int() - images[:, :6, 8:, :3].int()).abs().max() <= 1
    assert (found[:, :3] == 0).all()
    assert (found[:, :, 6:] == 0).all()


def test_shrinking_averages_over_areas():
    images = random_images(16, 16)
    images[..., 3] = 255
    found = resampled(images, 2.0, 1.0, 12.0, 5)[0, ..., :3].numpy().astype(int)
    exact = images[0, 1:13, 2:14, :3].double().numpy().repeat(5, 0).repeat(5, 1).reshape(5, 12, 5, 12, 3).mean((1, 3))
    assert np.abs(found - exact).max() <= 0.51


def test_enlarging_keeps_a_ramp_straight():
    ramp = (torch.arange(16) * 10 + 20).to(torch.uint8)
    images = torch.full((16, 16, 4), 255, dtype=torch.uint8)
    images[..., :3] = ramp[None, :, None]
    found = resampled(images, 4.0, 4.0, 8.0, 16)[8, :, 0].float()
    expected = (4.0 + (torch.arange(16) + 0.5) / 2.0 - 0.5) * 10 + 20
    assert (found - expected).abs().max() <= 0.51


@pytest.mark.parametrize("size", [5, 40])
def test_transparent_pixels_leave_no_trace(size):
    images = torch.zeros(12, 12, 4, dtype=torch.uint8)
    images[..., 1] = 255  # green, but transparent
    images[4:8, 4:8] = torch.tensor([200, 0, 0, 255], dtype=torch.uint8)
    found = resampled(images, -1.0, -1.0, 14.0, size)
    seen = found[found[..., 3] > 3]
    assert len(seen) > 0
    assert (seen[:, 1] == 0).all()
    assert (seen[:, 0].int() - 200).abs().max() <= 1
