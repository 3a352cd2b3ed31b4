"""Structured latent flow: an image to the latents of an object's active voxels (TRELLIS; names as in its weights).

Residual blocks of sparse convolutions halve the grid, a transformer works on the coarse voxels, residual blocks double it
again, with skips between the two sides. It predicts the velocity of a rectified flow, noise minus data, of normalised
latents. Legend of shapes: B objects, M active voxels of all objects together, C channels.
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gvf.config.slat_flow import SlatFlowConfig
from gvf.models.image_to_3d.flow_transformer import (
    LAST_NORM_EPS,
    NORM_EPS,
    FlowTransformer,
    ImageCondition,
    ImageConditions,
)
from gvf.models.layers.embedding import AbsolutePositionEmbedding
from gvf.models.layers.norm import WideLayerNorm, layer_norm, modulate
from gvf.models.layers.sparse_convolution import SparseConv3d
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.network_folder import StoredNetwork


class SparseResidualBlock(nn.Module):
    """Norm, SiLU and sparse convolution, twice, with a residual connection; the timestep modulates the second norm."""

    def __init__(self, in_channels: int, out_channels: int, time_channels: int) -> None:
        super().__init__()
        self.norm1 = WideLayerNorm(in_channels, eps=NORM_EPS)
        self.conv1 = SparseConv3d(in_channels, out_channels)
        self.conv2 = SparseConv3d(out_channels, out_channels)
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time_channels, 2 * out_channels))
        changes = in_channels != out_channels
        self.skip_connection = nn.Linear(in_channels, out_channels) if changes else nn.Identity()

    def forward(self, x: Tensor, voxels: VoxelBatch, time: Tensor) -> Tensor:
        """Return the block's output [M, out]. x: [M, in]; time: [B, time_channels]."""
        scale, shift = self.emb_layers(time).index_select(0, voxels.items).chunk(2, dim=-1)
        h = self.conv1(F.silu(self.norm1(x)), voxels.neighbors)
        h = F.silu(modulate(layer_norm(h, NORM_EPS), shift, scale))
        return self.conv2(h, voxels.neighbors) + self.skip_connection(x)


class SlatFlow(StoredNetwork, FlowTransformer):
    """U-shaped network: the last block of each level halves the grid on the way in, the first doubles it on the way out."""

    KIND = "slat-flow"
    CONFIG = SlatFlowConfig

    BLOCKS: ClassVar[tuple[str, ...]] = ("input_blocks", "blocks", "out_blocks")

    def __init__(self, config: SlatFlowConfig) -> None:
        width, levels = config.width, config.block_channels
        super().__init__(config, levels[0])
        self.config = config
        self.position_embedding = AbsolutePositionEmbedding(width)
        self.input_layer = nn.Linear(config.latent_channels, levels[0])
        same = config.num_res_blocks - 1
        input_widths, out_widths = [], []
        for fine, coarse in zip(levels, (*levels[1:], width)):
            input_widths += [(fine, fine)] * same + [(fine, coarse)]
            out_widths += [(2 * fine, fine)] * same + [(2 * coarse, fine)]
        self.input_blocks = nn.ModuleList(SparseResidualBlock(*widths, width) for widths in input_widths)
        self.out_blocks = nn.ModuleList(SparseResidualBlock(*widths, width) for widths in reversed(out_widths))
        self.out_layer = nn.Linear(levels[0], config.latent_channels)
        self.reset_parameters(self.out_layer)
        for block in (*self.input_blocks, *self.out_blocks):
            nn.init.zeros_(cast(SparseResidualBlock, block).conv2.conv.weight)

    def denoise(self, noised: Tensor, timesteps: Tensor, voxels: VoxelBatch, conditions: ImageConditions) -> Tensor:
        """Return the velocity for prepared conditions, in one network call.

        noised: [M, C], normalised latents; timesteps: [B], 0..1000. Returns the velocity [M, C], float32.
        """
        time = self.embed_time(timesteps)
        rows = self.input_layer(noised)
        if conditions.rows is not None:
            rows = rows + conditions.rows
        h, grids, skips = self.enter_blocks(rows), [voxels], []
        for index, block in enumerate(self.input_blocks):
            if (index + 1) % self.config.num_res_blocks == 0:
                h = grids[-1].coarsening.pool(h)
                grids.append(grids[-1].coarse)
            h = cast(SparseResidualBlock, block)(h, grids[-1], time)
            skips.append(h)
        h = h + self.position_embedding(grids[-1].coords).to(h.dtype)
        rows, mask = grids[-1].pad(h)
        h = grids[-1].unpad(self.transform(rows, time, conditions, mask))
        for index, block in enumerate(self.out_blocks):
            h = torch.cat((h, skips.pop()), dim=-1)
            if index % self.config.num_res_blocks == 0:
                grids.pop()
                h = grids[-1].coarsening.unpool(h)
            h = cast(SparseResidualBlock, block)(h, grids[-1], time)
        return self.out_layer(layer_norm(h.float(), LAST_NORM_EPS)).float()

    def forward(self, noised: Tensor, timesteps: Tensor, voxels: VoxelBatch, image: ImageCondition) -> Tensor:
        """Return the velocity of one training step; arguments as in `denoise` and `prepare_conditions`."""
        return self.denoise(noised, timesteps, voxels, self.prepare_conditions(image))
