"""Shifted windows against dense attention with a brute-force mask, and the layout of the Gaussian decoder."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gvf.config.static_vae import StaticVaeConfig
from gvf.models.canonical.gaussian_decoder import GaussianDecoder, hammersley_points
from gvf.models.canonical.slat_encoder import SlatEncoder
from gvf.models.layers import compiled_window_attention
from gvf.models.layers.attention import attend, merge_heads
from gvf.models.layers.sparse_transformer import WindowAttention
from gvf.models.layers.voxel_batch import VoxelBatch

CONFIG = StaticVaeConfig(
    resolution=12,
    feature_channels=10,
    width=24,
    num_layers=3,
    num_heads=2,
    feed_forward_ratio=4,
    window=4,
    latent_channels=4,
    gaussians_per_voxel=8,
    offset_range=1.5,
    rotation_rate=0.1,
    scale_bias=0.02,
    opacity_bias=0.1,
    filter_3d=0.005,
)


def random_voxels(counts: tuple[int, ...], resolution: int = 12, seed: int = 0) -> VoxelBatch:
    generator = torch.Generator().manual_seed(seed)
    items = []
    for count in counts:
        cells = torch.randperm(resolution**3, generator=generator)[:count]
        items.append(torch.stack((cells // resolution**2, cells // resolution % resolution, cells % resolution), 1))
    return VoxelBatch.pack(items)


def dense_mask(voxels: VoxelBatch, window: int, shift: int) -> Tensor:
    """[M, M], true where two voxels are of one item and one window."""
    item = torch.repeat_interleave(torch.arange(len(voxels.counts)), torch.tensor(voxels.counts))
    cells = torch.cat((item[:, None], (voxels.coords + shift) // window), 1)
    return (cells[:, None] == cells[None]).all(-1)


@pytest.mark.parametrize(("shift", "width"), [(0, 24), (2, 24), (0, 64), (2, 96)])
def test_windows_see_what_the_mask_says(shift: int, width: int) -> None:
    """Heads of 12 channels by torch's kernels, of 32 and 48 by our own."""
    torch.manual_seed(0)
    voxels = random_voxels((300, 1, 120))
    attention = WindowAttention(width, 2)
    x = torch.randn(421, width, requires_grad=True)
    weight = torch.randn(421, width)
    windows = voxels.windows(4, shift)
    assert compiled_window_attention.fits(attention.to_qkv(x), 2) == (width > 24)
    assert len(windows.buckets) > 1
    assert any(mask is not None for mask in windows.masks)
    ours = attention.forward_windows(x, windows)
    (gradient,) = torch.autograd.grad((ours * weight).sum(), x)

    queries, keys, values = (part.transpose(1, 2) for part in attention.queries_keys_values(attention.to_qkv(x[None])))
    expected = attention.to_out(merge_heads(attend(queries, keys, values, dense_mask(voxels, 4, shift)[None, None])))[0]
    (expected_gradient,) = torch.autograd.grad((expected * weight).sum(), x)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-5, rtol=1e-4)


def test_windows_in_bfloat16_agree_with_float32_and_threads_change_no_bit() -> None:
    torch.manual_seed(0)
    windows = random_voxels((900, 40)).windows(8, 4)  # up to 512 tokens
    qkv = torch.randn(940, 96).bfloat16().requires_grad_()
    exact = qkv.detach().float().requires_grad_()
    found, expected = (compiled_window_attention.attend_windows(part, windows, 2) for part in (qkv, exact))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=1e-2, rtol=1e-2)
    weight = torch.randn(940, 32).bfloat16()
    found.backward(weight)
    expected.backward(weight.float())
    torch.testing.assert_close(qkv.grad.float(), exact.grad, atol=3e-2, rtol=2e-2)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        again = compiled_window_attention.attend_windows(exact.detach(), windows, 2)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(again, expected.detach())


def test_every_token_has_one_slot_and_padding_stays_small() -> None:
    voxels = random_voxels((500, 700), seed=2)
    for shift in (0, 2):
        windows = voxels.windows(4, shift)
        assert sum(count * size for count, size in windows.buckets) == len(windows.slots)
        assert torch.equal(windows.slots[windows.places], torch.arange(1200))
        assert len(windows.padding) + 1200 == len(windows.slots)
        assert len(windows.slots) < 2 * 1200
        assert voxels.windows(4, shift) is windows
        assert np.array_equal(np.sort(windows.order), np.arange(1200))
        counts = np.diff(windows.starts)
        assert (counts[0], counts.sum()) == (windows.buckets[0][1], 1200)
        assert (np.diff(counts) <= 0).all()


def test_items_of_a_batch_do_not_see_each_other_and_shifts_connect_windows() -> None:
    torch.manual_seed(0)
    encoder = SlatEncoder(CONFIG)
    for parameter in encoder.parameters():  # new ones are the identity, where tokens see nothing of each other
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    voxels = random_voxels((80, 60))
    features = torch.randn(140, 10, requires_grad=True)
    posterior = encoder(features, voxels)
    assert posterior.mean.shape == posterior.logvar.shape == (140, 4)
    first, second = voxels.coords[:80], voxels.coords[80:]
    for part, rows in ((first, slice(0, 80)), (second, slice(80, 140))):
        alone = encoder(features[rows], VoxelBatch.pack([part]))
        torch.testing.assert_close(posterior.mean[rows], alone.mean, atol=1e-5, rtol=1e-4)
    (gradient,) = torch.autograd.grad(posterior.mean[0].sum(), features)
    reached = gradient.abs().sum(1) > 0
    assert not reached[80:].any()
    own_window = (first // 4 == first[0] // 4).all(1)
    assert reached[:80][own_window].all()
    assert reached[:80][~own_window].any()  # block 1 is shifted by half a window


def test_hammersley_points() -> None:
    expected = [[0, 0, 0], [1 / 8, 1 / 2, 1 / 3], [2 / 8, 1 / 4, 2 / 3], [3 / 8, 3 / 4, 1 / 9]]
    torch.testing.assert_close(hammersley_points(8)[:4], torch.tensor(expected))


def test_an_untrained_decoder_spreads_gaussians_over_each_voxel() -> None:
    decoder = GaussianDecoder(CONFIG)
    voxels = random_voxels((5, 3))
    first, second = decoder(torch.randn(8, 4), voxels)
    assert (first.num_gaussians, second.num_gaussians) == (40, 24)
    # tanh undoes the atanh of the perturbation: voxel centre + (2 h - 1) / 2 voxels.
    centers = (voxels.coords + 0.5) / 12 - 0.5
    expected = centers[:, None] + (hammersley_points(8) - 0.5) / 12
    torch.testing.assert_close(torch.cat([first.means, second.means]), expected.flatten(0, 1))
    torch.testing.assert_close(first.opacities, torch.full((40,), 0.1))
    torch.testing.assert_close(first.scales, torch.full((40, 3), math.hypot(0.02, 0.005)))
    torch.testing.assert_close(first.quats, torch.tensor([1.0, 0, 0, 0]).expand(40, 4))


def test_channels_are_attribute_major() -> None:
    decoder = GaussianDecoder(CONFIG)
    channels = torch.arange(112.0)[None]
    coords = torch.tensor([[3, 4, 5]])
    gaussians = decoder.arrange(channels, coords)
    torch.testing.assert_close(gaussians.colors, torch.arange(24.0, 48.0).view(8, 3))
    torch.testing.assert_close(gaussians.raw_scales, torch.arange(48.0, 72.0).view(8, 3))
    torch.testing.assert_close(gaussians.raw_quats, 0.1 * torch.arange(72.0, 104.0).view(8, 4))
    torch.testing.assert_close(gaussians.raw_opacities, torch.arange(104.0, 112.0))
    offsets = torch.zeros(1, 112)
    offsets[0, :24] = torch.linspace(-1, 1, 24)
    moved = decoder.arrange(offsets, coords).means
    start = torch.atanh((2 * hammersley_points(8) - 1) / 1.5)
    expected = (coords + 0.5) / 12 - 0.5 + torch.tanh(offsets[0, :24].view(8, 3) + start) * 0.5 * 1.5 / 12
    torch.testing.assert_close(moved, expected)
    assert ((moved - ((coords + 0.5) / 12 - 0.5)).abs() < 0.75 / 12).all()
