"""TRELLIS's flow networks and structure decoder against their formulas, written out for one object."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gvf.config.slat_flow import SlatFlowConfig
from gvf.config.ss_flow import SsFlowConfig
from gvf.config.ss_vae import SsVaeConfig
from gvf.models.image_to_3d.flow_transformer import ImageCondition
from gvf.models.image_to_3d.grid_blocks import shuffle_cells
from gvf.models.image_to_3d.slat_flow import SlatFlow
from gvf.models.image_to_3d.ss_decoder import SsDecoder
from gvf.models.image_to_3d.ss_flow import SsFlow
from gvf.models.layers.precision import block_dtype, set_block_dtype
from gvf.models.layers.sparse_convolution import SparseConv3d
from gvf.models.layers.voxel_batch import VoxelBatch

GRID = SsFlowConfig(
    resolution=3,
    latent_channels=4,
    width=24,
    num_layers=2,
    num_heads=3,
    feed_forward_ratio=2,
    image_channels=10,
    image_condition="tokens",
    aligned_channels=0,
)
SLAT = SlatFlowConfig(
    latent_channels=4,
    block_channels=(6,),
    num_res_blocks=2,
    width=24,
    num_layers=2,
    num_heads=3,
    feed_forward_ratio=2,
    image_condition="tokens",
    image_channels=10,
    aligned_channels=0,
)
DECODER = SsVaeConfig(latent_channels=3, channels=(8, 4), num_res_blocks=1, num_middle_blocks=2)


def randomized(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return network.eval()


def norm(x: Tensor, eps: float) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt()


class Reference:
    """Pieces of both flow networks for one object, from the state dict and plain formulas."""

    def __init__(self, network: nn.Module) -> None:
        self.state = network.state_dict()

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def time(self, timestep: float) -> Tensor:
        angles = timestep * torch.exp(-math.log(10000) * torch.arange(128) / 128)
        hidden = self.linear("t_embedder.mlp.0", torch.cat((angles.cos(), angles.sin())))
        return self.linear("t_embedder.mlp.2", F.silu(hidden))

    def attend(self, name: str, q: Tensor, k: Tensor, v: Tensor, qk_norm: bool) -> Tensor:
        parts = []
        for head in range(3):
            group = slice(8 * head, 8 * head + 8)
            qh, kh = q[:, group], k[:, group]
            if qk_norm:
                gains = (self.state[f"{name}.{part}_rms_norm.gamma"][head] for part in "qk")
                qh, kh = (x / x.norm(dim=-1, keepdim=True) * math.sqrt(8) * gain for x, gain in zip((qh, kh), gains))
            parts.append((qh @ kh.T / math.sqrt(8)).softmax(-1) @ v[:, group])
        return self.linear(f"{name}.to_out", torch.cat(parts, -1))

    def block(self, name: str, x: Tensor, time: Tensor, image: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.linear(f"{name}.adaLN_modulation.1", F.silu(time)).chunk(6)
        y = norm(x, 1e-6) * (1 + scale1) + shift1
        q, k, v = self.linear(f"{name}.self_attn.to_qkv", y).chunk(3, -1)
        x = x + gate1 * self.attend(f"{name}.self_attn", q, k, v, qk_norm=True)
        y = norm(x, 1e-6) * self.state[f"{name}.norm2.weight"] + self.state[f"{name}.norm2.bias"]
        k, v = self.linear(f"{name}.cross_attn.to_kv", image).chunk(2, -1)
        x = x + self.attend(f"{name}.cross_attn", self.linear(f"{name}.cross_attn.to_q", y), k, v, qk_norm=False)
        hidden = self.linear(f"{name}.mlp.mlp.0", norm(x, 1e-6) * (1 + scale2) + shift2)
        return x + gate2 * self.linear(f"{name}.mlp.mlp.2", F.gelu(hidden, approximate="tanh"))

    def convolve(self, name: str, x: Tensor, coords: Tensor) -> Tensor:
        weight, bias = self.state[f"{name}.conv.weight"], self.state[f"{name}.conv.bias"]
        steps = coords[None] - coords[:, None]  # [here, there, 3]
        near = steps.abs().amax(-1) <= 1
        i, j, k = (steps.clamp(-1, 1) + 1).unbind(-1)
        cells = weight[:, i, j, k] * near[None, ..., None]
        return torch.einsum("ohti,ti->ho", cells, x) + bias

    def residual(self, name: str, x: Tensor, coords: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.linear(f"{name}.emb_layers.1", F.silu(time)).chunk(2)  # scale first
        h = F.silu(norm(x, 1e-6) * self.state[f"{name}.norm1.weight"] + self.state[f"{name}.norm1.bias"])
        h = self.convolve(f"{name}.conv1", h, coords)
        h = self.convolve(f"{name}.conv2", F.silu(norm(h, 1e-6) * (1 + scale) + shift), coords)
        skip = self.linear(f"{name}.skip_connection", x) if f"{name}.skip_connection.weight" in self.state else x
        return h + skip

    @staticmethod
    def positions(coords: Tensor) -> Tensor:
        waves = coords[:, :, None] * 10000.0 ** (-torch.arange(4) / 4)
        return torch.cat((waves.sin(), waves.cos()), -1).flatten(-2)


def tokens(count: int) -> Tensor:
    return torch.randn(count, 5, 10, generator=torch.Generator().manual_seed(1))


def test_the_structure_flow_is_its_formulas() -> None:
    flow = randomized(SsFlow(GRID))
    noised, image = torch.randn(2, 4, 3, 3, 3), tokens(2)
    timesteps = torch.tensor([0.0, 731.5])
    velocity = flow.denoise(noised, timesteps, flow.prepare_conditions(ImageCondition(image)))  # type: ignore[operator]
    reference = Reference(flow)
    axis = torch.arange(3)
    cells = torch.cartesian_prod(axis, axis, axis)
    torch.testing.assert_close(reference.state["pos_emb"], reference.positions(cells))
    for item in range(2):
        x = torch.stack([noised[item, :, i, j, k] for i, j, k in cells.tolist()])  # z fastest
        x, time = (
            reference.linear("input_layer", x) + reference.positions(cells),
            reference.time(float(timesteps[item])),
        )
        for index in range(2):
            x = reference.block(f"blocks.{index}", x, time, image[item])
        expected = reference.linear("out_layer", norm(x, 1e-5))
        found = torch.stack([velocity[item, :, i, j, k] for i, j, k in cells.tolist()])
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)


def scattered(counts: tuple[int, ...]) -> VoxelBatch:
    generator = torch.Generator().manual_seed(2)
    axis = torch.arange(5)
    cells = torch.cartesian_prod(axis, axis, axis)
    return VoxelBatch.pack([cells[torch.randperm(125, generator=generator)[:count]] for count in counts])


@pytest.mark.parametrize("counts", [(40,), (25, 40, 7)])
def test_the_slat_flow_is_its_formulas(counts: tuple[int, ...]) -> None:
    flow = randomized(SlatFlow(SLAT))
    voxels, image = scattered(counts), tokens(len(counts))
    noised = torch.randn(sum(counts), 4)
    timesteps = torch.linspace(20.0, 900.0, len(counts))
    velocity = flow.denoise(noised, timesteps, voxels, flow.prepare_conditions(ImageCondition(image)))  # type: ignore[operator]
    reference = Reference(flow)
    start = 0
    for item, count in enumerate(counts):
        rows = slice(start, start + count)
        start += count
        fine, time = voxels.coords[rows], reference.time(float(timesteps[item]))
        first = reference.residual("input_blocks.0", reference.linear("input_layer", noised[rows]), fine, time)
        parents = sorted({tuple(cell) for cell in (fine // 2).tolist()})
        coarse = torch.tensor(parents)
        place = torch.tensor([parents.index(tuple(cell)) for cell in (fine // 2).tolist()])
        inside = torch.stack(
            [first[place == index].sum(0) / ((place == index).sum() + 1) for index in range(len(coarse))]
        )
        second = reference.residual("input_blocks.1", inside, coarse, time)
        h = second + reference.positions(coarse)
        for index in range(2):
            h = reference.block(f"blocks.{index}", h, time, image[item])
        h = reference.residual("out_blocks.0", torch.cat((h, second), -1)[place], fine, time)
        h = reference.residual("out_blocks.1", torch.cat((h, first), -1), fine, time)
        expected = reference.linear("out_layer", norm(h, 1e-5))
        torch.testing.assert_close(velocity[rows], expected, atol=5e-4, rtol=2e-3)


def test_two_levels_and_single_blocks() -> None:
    """Other sizes than the published ones: widths fit, and the deepest level works on an eighth of the cells per edge."""
    config = replace(SLAT, block_channels=(6, 10), num_res_blocks=1)
    flow = SlatFlow(config)
    voxels = scattered((30, 12))
    velocity = flow.denoise(
        torch.randn(42, 4), torch.tensor([1.0, 2.0]), voxels, flow.prepare_conditions(ImageCondition(tokens(2)))
    )
    assert velocity.shape == (42, 4)
    assert len(flow.input_blocks) == len(flow.out_blocks) == 2
    assert {"coarse", "coarsening"} <= vars(voxels.coarse).keys()  # found once, and kept


@pytest.mark.parametrize("build", [lambda: SsFlow(GRID), lambda: SlatFlow(SLAT)], ids=["ss_flow", "slat_flow"])
def test_conditions_are_projected_once_and_serve_all_steps(build, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    flow = randomized(build())
    calls = []
    for block in flow.blocks:  # type: ignore[union-attr]
        block.cross_attn.to_kv.register_forward_hook(lambda *_: calls.append(1))
    conditions = flow.prepare_conditions(ImageCondition(tokens(1)))  # type: ignore[operator]
    assert len(calls) == 2
    voxels = scattered((20,))
    results = []
    for timestep in (900.0, 100.0, 900.0):
        arguments = (torch.ones(1, 4, 3, 3, 3),) if isinstance(flow, SsFlow) else (torch.ones(20, 4),)
        rest = (conditions,) if isinstance(flow, SsFlow) else (voxels, conditions)
        results.append(flow.denoise(*arguments, torch.tensor([timestep]), *rest))  # type: ignore[operator]
    assert len(calls) == 2
    torch.testing.assert_close(results[0], results[2], atol=0, rtol=0)
    assert (results[0] - results[1]).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_blocks_are_close_to_float32(dtype: torch.dtype) -> None:
    tolerance = 0.02 if dtype == torch.float16 else 0.1
    flow, image = randomized(SlatFlow(SLAT)), tokens(2)
    voxels, noised, timesteps = scattered((30, 20)), torch.randn(50, 4), torch.tensor([300.0, 400.0])
    expected = flow.denoise(noised, timesteps, voxels, flow.prepare_conditions(ImageCondition(image)))  # type: ignore[operator]
    set_block_dtype(flow, dtype)  # type: ignore[type-var]
    assert block_dtype(flow) == dtype  # type: ignore[arg-type]
    assert {
        p.dtype for name, p in flow.named_parameters() if "norm" in name or name.startswith(("t_", "out_layer"))
    } == {torch.float32}
    assert {p.dtype for name, p in flow.named_parameters() if "attn.to_" in name or ".conv" in name} == {dtype}
    result = flow.denoise(noised, timesteps, voxels, flow.prepare_conditions(ImageCondition(image)))  # type: ignore[operator]
    assert result.dtype == torch.float32
    assert (result - expected).norm() / expected.norm() < tolerance


def test_the_structure_decoder_is_its_formulas() -> None:
    decoder = randomized(SsDecoder(DECODER))
    state = decoder.state_dict()

    def conv(name: str, x: Tensor) -> Tensor:
        return F.conv3d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    def channel_norm(name: str, x: Tensor) -> Tensor:
        centered = x - x.mean(1, keepdim=True)
        scaled = centered / (centered.square().mean(1, keepdim=True) + 1e-5).sqrt()
        return scaled * state[f"{name}.weight"][:, None, None, None] + state[f"{name}.bias"][:, None, None, None]

    def residual(name: str, x: Tensor) -> Tensor:
        h = conv(f"{name}.conv1", F.silu(channel_norm(f"{name}.norm1", x)))
        return x + conv(f"{name}.conv2", F.silu(channel_norm(f"{name}.norm2", h)))

    latents = torch.randn(2, 3, 4, 4, 4)
    h = conv("input_layer", latents)
    for name in ("middle_block.0", "middle_block.1", "blocks.0"):
        h = residual(name, h)
    up = conv("blocks.1.conv", h)
    h = torch.empty(2, 4, 8, 8, 8)
    for dx in range(2):
        for dy in range(2):
            for dz in range(2):
                h[:, :, dx::2, dy::2, dz::2] = up[:, 4 * dx + 2 * dy + dz :: 8]
    torch.testing.assert_close(shuffle_cells(up), h, atol=0, rtol=0)
    h = residual("blocks.2", h)
    expected = conv("out_layer.2", F.silu(channel_norm("out_layer.0", h)))[:, 0]
    torch.testing.assert_close(decoder(latents), expected, atol=1e-4, rtol=1e-4)
    occupied = decoder.occupied(latents)  # type: ignore[operator]
    assert [len(cells) for cells in occupied] == (expected > 0).sum((1, 2, 3)).tolist()
    assert expected[1][tuple(occupied[1].T)].min() > 0


def test_kernel_axes_are_x_y_z() -> None:
    """One weight at offset (1, 0, -1): each voxel receives what lies there."""
    layer = SparseConv3d(1, 1)
    layer.conv.weight.data.zero_()
    layer.conv.weight.data[0, 2, 1, 0, 0] = 1.0
    voxels = VoxelBatch.pack([torch.tensor([[0, 0, 3], [1, 0, 2], [1, 0, 3]])])
    x = torch.tensor([[1.0], [10.0], [100.0]])
    assert layer(x, voxels.neighbors).flatten().tolist() == [10.0, 0.0, 0.0]
