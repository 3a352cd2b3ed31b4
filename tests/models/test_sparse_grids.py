"""Sparse convolution against the dense one and brute force; down- and upsampling and padding by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gvf.models.layers.sparse_convolution import SparseConv3d, find_neighbors
from gvf.models.layers.voxel_batch import VoxelBatch


def convolution(in_channels: int, out_channels: int) -> SparseConv3d:
    torch.manual_seed(0)
    layer = SparseConv3d(in_channels, out_channels)
    layer.conv.bias.data.normal_()
    return layer


def scattered(counts: tuple[int, ...], resolution: int) -> VoxelBatch:
    """Random distinct voxels, in random order."""
    generator = torch.Generator().manual_seed(1)
    axis = torch.arange(resolution)
    cells = torch.cartesian_prod(axis, axis, axis)
    return VoxelBatch.pack([cells[torch.randperm(len(cells), generator=generator)[:count]] for count in counts])


def test_on_a_full_grid_it_is_the_dense_convolution() -> None:
    layer = convolution(3, 5)
    full = scattered((4**3, 4**3), 4)
    x = torch.randn(2 * 4**3, 3, requires_grad=True)
    sparse = layer(x, full.neighbors)
    dense = x.new_zeros(2, 3, 4, 4, 4)
    places = (full.items, slice(None), *full.coords.unbind(1))
    dense = dense.permute(0, 2, 3, 4, 1).index_put((full.items, *full.coords.unbind(1)), x).permute(0, 4, 1, 2, 3)
    result = F.conv3d(dense, layer.conv.weight.permute(0, 4, 1, 2, 3), layer.conv.bias, padding=1)
    expected = result[places]
    torch.testing.assert_close(sparse, expected, atol=1e-5, rtol=1e-5)
    weight = torch.randn_like(expected)
    inputs = (x, layer.conv.weight, layer.conv.bias)
    ours, theirs = (torch.autograd.grad((y * weight).sum(), inputs) for y in (sparse, expected))
    for one, other in zip(ours, theirs):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_on_scattered_voxels_it_is_the_sum_over_neighbors_of_the_same_item() -> None:
    layer = convolution(4, 2)
    voxels = scattered((60, 1, 35), 6)
    x = torch.randn(96, 4)
    rows = {(int(item), *place): row for row, (item, place) in enumerate(zip(voxels.items, voxels.coords.tolist()))}
    expected = torch.empty(96, 2)
    for (item, *place), row in rows.items():
        total = layer.conv.bias.detach().clone()
        for offset in itertools.product((-1, 0, 1), repeat=3):
            neighbor = rows.get((item, *(p + o for p, o in zip(place, offset))))
            if neighbor is not None:
                i, j, k = (o + 1 for o in offset)
                total += layer.conv.weight.detach()[:, i, j, k] @ x[neighbor]
        expected[row] = total
    torch.testing.assert_close(layer(x, voxels.neighbors).detach(), expected, atol=1e-5, rtol=1e-5)


def test_every_pair_of_adjacent_voxels_is_found_once() -> None:
    voxels = scattered((70, 50), 5)
    table = find_neighbors(voxels.coords, voxels.items)
    found = torch.cat([torch.stack(pair) for pair in zip(table.here, table.there)], dim=1)
    near = (voxels.coords[:, None] - voxels.coords[None]).abs().amax(-1) == 1
    expected = near & (voxels.items[:, None] == voxels.items[None])
    both = torch.zeros_like(expected, dtype=torch.int64)
    both.index_put_((found[0], found[1]), torch.tensor(1), accumulate=True)
    assert torch.equal(both + both.T, expected.long())
    assert voxels.neighbors is voxels.neighbors


def test_half_precision_sums_are_kept_in_float32() -> None:
    layer = convolution(64, 8)
    voxels = scattered((27,), 3)
    x = torch.randn(27, 64)
    expected = layer(x, voxels.neighbors)
    layer.conv.half()
    result = layer(x.half(), voxels.neighbors)
    assert result.dtype == torch.float16
    torch.testing.assert_close(result.float(), expected, atol=5e-3, rtol=5e-3)


def test_pooling_divides_by_one_more_than_the_children() -> None:
    coords = [[3, 0, 1], [0, 1, 0], [2, 1, 0], [1, 0, 1]], [[1, 1, 1]]
    voxels = VoxelBatch.pack([torch.tensor(part) for part in coords])
    assert voxels.coarse.coords.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]  # by item, x, y, z
    assert voxels.coarse.counts == (2, 1)
    x = torch.tensor([[1.0], [2.0], [5.0], [7.0], [8.0]])
    pooled = voxels.coarsening.pool(x)
    torch.testing.assert_close(pooled, torch.tensor([[(2 + 7) / 3], [(1 + 5) / 3], [8 / 2]]))
    back = voxels.coarsening.unpool(torch.tensor([[10.0], [20.0], [30.0]]))
    assert back.flatten().tolist() == [20, 10, 20, 10, 30]  # in the order of the voxels, not of their parents


def test_an_item_without_voxels_keeps_its_place() -> None:
    voxels = VoxelBatch.pack([torch.zeros(0, 3, dtype=torch.int64), torch.tensor([[4, 4, 4]])])
    assert voxels.coarse.counts == (0, 1)
    assert voxels.items.tolist() == [1]


@pytest.mark.parametrize("counts", [(3, 3), (4, 1, 2)])
def test_padding_and_back(counts: tuple[int, ...]) -> None:
    voxels = scattered(counts, 4)
    x = torch.randn(sum(counts), 5)
    rows, mask = voxels.pad(x)
    assert rows.shape == (len(counts), max(counts), 5)
    torch.testing.assert_close(voxels.unpad(rows), x, atol=0, rtol=0)
    if len(set(counts)) == 1:
        assert mask is None
    else:
        assert mask is not None
        assert mask[:, 0, 0].sum(1).tolist() == list(counts)
        assert not rows[~mask[:, 0, 0]].any()


def test_repeated_items() -> None:
    voxels = scattered((3, 2), 4)
    twice: VoxelBatch = voxels.repeated(2)
    assert twice.counts == (3, 2, 3, 2)
    assert twice.items.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    expected: Tensor = torch.cat((voxels.coords, voxels.coords))
    assert torch.equal(twice.coords, expected)


def test_tables_that_were_found_move_along() -> None:
    voxels = scattered((30, 20), 5)
    voxels.windows(2, 1)
    assert voxels.coarse.neighbors.here
    moved = voxels.to("meta")
    assert (moved.coords.device.type, moved.counts) == ("meta", (30, 20))
    assert moved.windows(2, 1).slots.device.type == "meta"  # not looked for again, which meta tensors would not allow
    assert moved.coarsening.parents.shape == (50,)
    assert moved.coarse.neighbors.there[3].shape == voxels.coarse.neighbors.there[3].shape
