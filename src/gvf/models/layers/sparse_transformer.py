"""The sparse transformer of E_GS and D_GS: attention in shifted 3D windows of active voxels (A.1.1)."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from gvf.models.layers import compiled_window_attention
from gvf.models.layers.attention import SelfAttention, attend, merge_heads
from gvf.models.layers.embedding import AbsolutePositionEmbedding
from gvf.models.layers.feed_forward import FeedForward
from gvf.models.layers.precision import BlockNetwork, without_autocast
from gvf.models.layers.residual import add_and_norm, norm
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.layers.windows import Windows

NORM_EPS = 1e-6
LAST_NORM_EPS = 1e-5


class WindowAttention(SelfAttention):
    """Self attention of tokens [M, C] inside their windows."""

    def forward_windows(self, x: Tensor, windows: Windows) -> Tensor:
        """Return the output [M, C]. x: [M, C]."""
        qkv = self.to_qkv(x)
        if compiled_window_attention.fits(qkv, self.num_heads):
            return self.to_out(compiled_window_attention.attend_windows(qkv, windows, self.num_heads))
        outputs = []
        for part, mask in zip(windows.gather(qkv), windows.masks):
            queries, keys, values = part.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
            outputs.append(merge_heads(attend(queries, keys, values, mask)))
        return self.to_out(windows.scatter(outputs))


class SparseBlock(nn.Module):
    """Window attention and feed-forward, each with a norm before it and a residual connection around it."""

    def __init__(self, width: int, num_heads: int, ratio: int) -> None:
        super().__init__()
        self.attn = WindowAttention(width, num_heads)
        self.mlp = FeedForward(width, ratio)

    def start_as_identity(self) -> None:
        """Zero both residual branches, so that colours and positions pass through from the first step on."""
        nn.init.zeros_(self.attn.to_out.weight)
        nn.init.zeros_(cast(nn.Linear, self.mlp.mlp[-1]).weight)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        """Return the output [M, C]. x: [M, C]."""
        update = self.attn.forward_windows(norm(x, NORM_EPS), windows)
        x, normal = add_and_norm(x, update, NORM_EPS)
        return x + self.mlp(normal)


class SparseTransformer(BlockNetwork):
    """Linear, position embedding, blocks of which every second has its windows shifted by half, norm, Linear."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int,
        num_layers: int,
        num_heads: int,
        feed_forward_ratio: int,
        window: int,
    ) -> None:
        super().__init__()
        self.window = window
        self.position_embedding = AbsolutePositionEmbedding(width)
        self.input_layer = nn.Linear(in_channels, width)
        blocks = [SparseBlock(width, num_heads, feed_forward_ratio) for _ in range(num_layers)]
        self.blocks = nn.ModuleList(blocks)
        self.out_layer = nn.Linear(width, out_channels)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for block in blocks:
            block.start_as_identity()

    def transform(self, x: Tensor, voxels: VoxelBatch) -> Tensor:
        """Return the output [M, out_channels]; the last Linear runs in float32. x: [M, in_channels], one row per voxel."""
        h = self.input_layer(x)
        h = self.enter_blocks(h + self.position_embedding(voxels.coords).to(h.dtype))
        for index, block in enumerate(self.blocks):
            h = block(h, voxels.windows(self.window, self.window // 2 if index % 2 else 0))
        with without_autocast(h.device):
            return self.out_layer(norm(h.float(), LAST_NORM_EPS))
