"""What flows see of images: places of voxels in a crop by hand, and conditions that reach the velocity where they should."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gvf.config.load import parse
from gvf.config.slat_flow import SlatFlowConfig
from gvf.config.ss_flow import SsFlowConfig
from gvf.errors import ConfigError
from gvf.models.image_to_3d.flow_transformer import ImageCondition
from gvf.models.image_to_3d.image_features import (
    ImageFeatures,
    depth_behind_front,
    features_at_cells,
    features_at_voxels,
    places_in_crop,
)
from gvf.models.image_to_3d.slat_flow import SlatFlow
from gvf.models.image_to_3d.ss_flow import SsFlow
from gvf.models.layers.voxel_batch import VoxelBatch

SIZES = {
    "latent_channels": 4,
    "width": 24,
    "num_layers": 2,
    "num_heads": 3,
    "feed_forward_ratio": 2,
    "image_channels": 10,
}
RESOLUTION = 6
VOXELS = VoxelBatch.pack([torch.tensor([[0, 2, 3], [5, 2, 3], [2, 0, 0], [2, 4, 0]]), torch.tensor([[3, 3, 3]])])


def image_maps(size: int = 40) -> torch.Tensor:
    """Return maps whose two channels are the image coordinates x and y themselves, of two images."""
    ramp = (torch.arange(size) + 0.5) / size
    return torch.stack(torch.meshgrid(ramp, ramp, indexing="xy")).expand(2, -1, -1, -1)


def test_the_box_of_an_object_fills_its_crop_but_for_the_margin() -> None:
    """Two points at y = 0, one box side apart: with voxels of side 0.2 the mask is 1.2 wide, the crop 1.44, centred."""
    points = torch.tensor([[-0.5, 0.0, 0.3], [0.5, 0.0, 0.3], [0.0, 0.0, 0.1]])
    places = places_in_crop(points, 0.2)
    expected = torch.tensor([[0.5 - 0.5 / 1.44, 0.5 - 0.1 / 1.44], [0.5 + 0.5 / 1.44, 0.5 - 0.1 / 1.44]])
    torch.testing.assert_close(places[:2], expected)
    torch.testing.assert_close(places[2], torch.tensor([0.5, 0.5 + 0.1 / 1.44]))


def test_nearer_points_appear_further_out() -> None:
    near, far = torch.tensor([[0.4, -0.4, 0.0]]), torch.tensor([[0.4, 0.4, 0.0]])
    frame = torch.tensor([[-0.5, 0.0, 0.5], [0.5, 0.0, -0.5]])
    places = places_in_crop(torch.cat([frame, near, far]), 0.0)
    assert places[2, 0] == pytest.approx(0.5 + 0.4 * (2.0 / 1.6) / 1.2)
    assert places[3, 0] == pytest.approx(0.5 + 0.4 * (2.0 / 2.4) / 1.2)


def test_voxels_read_the_maps_at_their_places_and_know_what_hides_them() -> None:
    features = features_at_voxels(image_maps(), VOXELS, RESOLUTION)
    points = (VOXELS.coords[:4] + 0.5) / RESOLUTION - 0.5
    torch.testing.assert_close(features[:4, :2], places_in_crop(points, 1 / RESOLUTION), atol=1e-5, rtol=0)
    torch.testing.assert_close(features[4, :2], torch.tensor([0.5, 0.5]), atol=1e-5, rtol=0)
    torch.testing.assert_close(features[:4, 3], torch.tensor([0.0, 0.0, 0.0, 4 / 6]))
    assert features[3, 2] < 1e-5 < 1.0 == features[0, 2]
    torch.testing.assert_close(depth_behind_front(VOXELS.coords[[0, 3, 2]], 6), torch.tensor([0.0, 4 / 6, 0.0]))


def test_cells_read_the_maps_where_the_unit_box_would_be() -> None:
    features = features_at_cells(image_maps(), 2).reshape(2, 2, 2, 2, 2)  # image, x, y, z, channel
    near, far = 0.25 * 2.0 / 1.75 / 1.2, 0.25 * 2.0 / 2.25 / 1.2
    torch.testing.assert_close(features[1, 0, 0, 0], torch.tensor([0.5 - near, 0.5 + near]), atol=1e-5, rtol=0)
    torch.testing.assert_close(features[0, 1, 1, 1], torch.tensor([0.5 + far, 0.5 - far]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sees", ["tokens", "pixel_aligned", "both"])
def test_flows_see_what_their_configuration_names(sees: str) -> None:
    torch.manual_seed(0)
    seen = {"image_condition": sees, "aligned_channels": 5}
    slat = SlatFlow(parse(SlatFlowConfig, {**SIZES, **seen, "block_channels": (6,), "num_res_blocks": 1}))
    grid = SsFlow(parse(SsFlowConfig, {**SIZES, **seen, "aligned_channels": 2, "resolution": 2}))
    for parameter in (*slat.parameters(), *grid.parameters()):
        parameter.data.add_(
            0.1 * torch.randn_like(parameter)
        )  # some begin at 0, so that the image would have no effect
    one = ImageFeatures(torch.randn(2, 3, 10), image_maps())
    times, noised, noise = torch.tensor([500.0, 100.0]), torch.randn(5, 4), torch.randn(2, 4, 2, 2, 2)

    def velocities(images: ImageFeatures) -> list[torch.Tensor]:
        conditions = slat.prepare_conditions(images.at_voxels(slat.config, VOXELS, RESOLUTION))
        cells = grid.prepare_conditions(images.at_cells(grid.config))
        return [slat.denoise(noised, times, VOXELS, conditions), grid.denoise(noise, times, cells)]

    for changes, other in (
        (sees != "pixel_aligned", replace(one, tokens=one.tokens.flip(-1))),
        (sees != "tokens", ImageFeatures(one.tokens, 1.0 - image_maps())),
    ):
        for before, after in zip(velocities(one), velocities(other)):
            assert torch.equal(before, after) != changes
    assert ("cross_attn" in " ".join(slat.state_dict())) == (sees != "pixel_aligned")


def test_a_condition_that_lacks_a_part_is_an_error() -> None:
    sizes = {**SIZES, "image_condition": "both", "aligned_channels": 2, "resolution": 2}
    flow = SsFlow(parse(SsFlowConfig, sizes))
    with pytest.raises(ValueError, match="attends to image tokens"):
        flow.prepare_conditions(ImageCondition(None, torch.zeros(8, 2)))
    with pytest.raises(ValueError, match="pixel-aligned features"):
        flow.prepare_conditions(ImageCondition(torch.zeros(1, 3, 10)))
    with pytest.raises(ValueError, match="there are no maps"):
        ImageFeatures(torch.zeros(1, 3, 10)).at_cells(flow.config)
    with pytest.raises(ConfigError, match="aligned_channels"):
        parse(SsFlowConfig, {**sizes, "aligned_channels": 0})
