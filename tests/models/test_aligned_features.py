"""Pixel-aligned features: places and depths computed by hand, windows that find a known shift, and both encoders."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gvf.config.variation_dit import ALIGNED_FEATURES
from gvf.geometry.camera import OrbitCamera
from gvf.models.encoders.aligned_features import (
    PointsInView,
    aligned_features,
    correlations,
    num_channels,
    sample_maps,
)
from gvf.models.encoders.dinov2 import DinoV2Encoder
from gvf.models.encoders.image_encoder import EfficientNetEncoder, ImageEncoder
from gvf.models.encoders.maps import Maps
from tests.models.test_image_encoder import random_images, tiny_dinov2

CPU = torch.device("cpu")
FRONT = OrbitCamera(0.0, 0.0, 2.0, 90.0)  # at (0, -2, 0): a point at depth d appears at 0.5 + 0.5 (x, -z) / d


class RampEncoder:
    """Maps of 8 x 8 cells that hold the image coordinates of their centres, and the red of the frame's first pixel."""

    voxel_dim, token_dim, num_tokens, num_compared = 3, 1, 1, 1

    def voxel_maps(self, images: Tensor) -> Tensor:
        return self.maps(images).voxel

    def maps(self, images: Tensor) -> Maps:
        centers = (torch.arange(8) + 0.5) / 8
        rows, columns = torch.meshgrid(centers, centers, indexing="ij")
        red = images[:, :1, :1, 0].float().expand(-1, 8, 8)
        maps = torch.stack([columns.expand_as(red), rows.expand_as(red), red], 1)
        return Maps(maps, (maps,))

    def tokens(self, images: Tensor) -> Tensor:
        return torch.zeros(len(images), 1, 1)


def in_view(points: list[list[float]], camera: OrbitCamera = FRONT, surface: Tensor | None = None) -> PointsInView:
    tensor = torch.tensor(points)
    return PointsInView(tensor, tensor if surface is None else surface, camera.viewmat, camera.K)


@pytest.mark.parametrize(
    ("camera", "point"),
    [
        (FRONT, [0.2, 0.0, 0.1]),
        (OrbitCamera(90.0, 0.0, 2.0, 90.0), [0.0, 0.2, 0.1]),  # at (2, 0, 0), its right is +y
        (OrbitCamera(0.0, 0.0, 2.0, 90.0, (0.1, -0.05)), [-0.2, 0.0, -0.1]),
    ],
)
def test_features_are_read_where_the_camera_shows_the_point(camera: OrbitCamera, point: list[float]) -> None:
    found = aligned_features(RampEncoder(), random_images(2, 16), in_view([point], camera), ("values",), 4, CPU)
    place = [0.55, 0.475] if camera.shift == (0.0, 0.0) else [0.45 + 0.1, 0.525 - 0.05]
    torch.testing.assert_close(found[:, 0, :2], torch.tensor([place, place]), atol=1e-5, rtol=0)


def test_differences_are_from_the_first_frame_whatever_the_batches() -> None:
    frames = torch.zeros(5, 16, 16, 4, dtype=torch.uint8)
    frames[:, 0, 0, 0] = torch.tensor([7, 9, 4, 7, 30])
    seen = in_view([[0.2, 0.0, 0.1], [0.0, 0.3, 0.0]])
    whole = aligned_features(RampEncoder(), frames, seen, ALIGNED_FEATURES, 5, CPU)
    assert whole.shape == (5, 2, num_channels(RampEncoder(), ALIGNED_FEATURES)) == (5, 2, 3 + 3 + 98 + 4)
    assert whole[:, 1, 5].tolist() == [0.0, 2.0, -3.0, 0.0, 23.0]
    assert whole[..., 3:5].abs().max() == 0.0
    for batch_size in (1, 2):
        parts = aligned_features(RampEncoder(), frames, seen, ALIGNED_FEATURES, batch_size, CPU)
        torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-5)


def test_the_parts_are_chosen_by_their_names() -> None:
    encoder: ImageEncoder = EfficientNetEncoder(token_grid=2)
    frames, seen = random_images(2, 32), in_view([[0.2, 0.0, 0.1], [0.0, 0.3, 0.0]])
    whole = aligned_features(encoder, frames, seen, ALIGNED_FEATURES, 4, CPU)
    start = 0
    for name in ALIGNED_FEATURES:
        part = aligned_features(encoder, frames, seen, (name,), 4, CPU)
        count = num_channels(encoder, (name,))
        torch.testing.assert_close(part, whole[..., start : start + count], msg=name)
        start += count
    assert start == whole.shape[-1]


@pytest.mark.parametrize("count", [1, 65])
def test_the_window_finds_where_a_point_has_moved(count: int) -> None:
    """All cells of a map differ. The next frame shows it moved by (2, -1) cells: there the point looks as before."""
    first = torch.randn(1, 6, 12, 10, generator=torch.Generator().manual_seed(0))
    moved = torch.stack([first[0], first[0].roll((-1, 2), (1, 2))])
    place = torch.tensor([[(4 + 0.5) / 10, (5 + 0.5) / 12]], dtype=torch.float64).expand(count, -1)
    value = sample_maps(first, place[None], "border")[0].T
    torch.testing.assert_close(value[0], first[0, :, 5, 4])
    similarity, difference = correlations(moved, value, place).unflatten(-1, (2, 7, 7)).unbind(2)
    for frame, (row, column) in enumerate([(3, 3), (3 - 1, 3 + 2)]):
        for one, best in ((similarity, 1.0), (difference, 0.0)):
            assert divmod(int(one[frame, -1].argmax()), 7) == (row, column)
            assert one[frame, -1, row, column].item() == pytest.approx(best, abs=2e-3)
    others = first[0, :, 5, 6], first[0, :, 5, 4]
    expected = torch.nn.functional.cosine_similarity(*others, dim=0), -(others[0] - others[1]).square().mean().sqrt()
    torch.testing.assert_close(torch.stack([similarity[0, 0, 3, 5], difference[0, 0, 3, 5]]), torch.stack(expected))


def test_a_point_is_described_by_what_hides_it_and_where_it_is() -> None:
    points = [[0.0, 0.3, 0.0], [0.4, 0.0, 0.0], [0.0, -0.3, 0.4]]
    # In front of the first point by 0.2 and by 0.1, in its pixel; beside the second one; behind the third one.
    surface = torch.tensor([*points, [0.0, 0.1, 0.0], [0.0, 0.2, 0.01], [0.3, -0.9, 0.0], [0.0, 0.3, 0.54]])
    found = in_view(points, surface=surface).described()
    expected = [
        [math.exp(-0.2 / 0.05), 0.3, 0.0, 0.0],
        [1.0, 0.0, 0.1, 0.0],
        [1.0, -0.3, 0.0, -0.2 / 1.7],
    ]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)


def test_points_outside_the_image_and_behind_the_camera_have_finite_features() -> None:
    seen = in_view([[0.0, 0.0, 0.0], [0.0, -2.0, 0.0], [0.1, -3.0, 0.1], [9.0, 0.0, 0.0]])
    found = aligned_features(EfficientNetEncoder(2), random_images(2, 32), seen, ALIGNED_FEATURES, 4, CPU)
    assert bool(found.isfinite().all())
    assert seen.places()[1:3].tolist() == [[-1.0, -1.0]] * 2


def test_dinov2_compares_its_patches(tmp_path: Path) -> None:
    encoder = DinoV2Encoder(tiny_dinov2(tmp_path))
    frames = random_images(3, 42)
    frames[2] = frames[0]
    found = aligned_features(encoder, frames, in_view([[0.0, 0.0, 0.0]]), ALIGNED_FEATURES, 2, CPU)
    assert found.shape == (3, 1, num_channels(encoder, ALIGNED_FEATURES)) == (3, 1, 32 + 32 + 98 + 4)
    torch.testing.assert_close(found[0, 0, :32], encoder.tokens(frames[:1])[0, 4], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[2], found[0], atol=1e-4, rtol=1e-4)
    assert np.isclose(found[0, 0, 64 + 24], 1.0)
