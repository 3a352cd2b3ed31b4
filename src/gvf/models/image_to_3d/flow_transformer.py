"""The transformer of TRELLIS's two flow networks: gated self attention, attention to an image, gated feed-forward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from gvf.models.layers.attention import CrossAttention, KeysValues, SelfAttention
from gvf.models.layers.embedding import TimestepEmbedding
from gvf.models.layers.feed_forward import FeedForward
from gvf.models.layers.norm import WideLayerNorm, layer_norm, modulate
from gvf.models.layers.precision import BlockNetwork

NORM_EPS = 1e-6
LAST_NORM_EPS = 1e-5

ImageConditions = tuple[KeysValues, ...]
"""Keys and values of an image for every block, each [B, H, K, D]: projected once, used at every step."""


class FlowBlock(nn.Module):
    """Self attention and feed-forward modulated by the timestep, attention to the image tokens between them."""

    def __init__(self, width: int, num_heads: int, ratio: int, image_channels: int) -> None:
        super().__init__()
        self.norm2 = WideLayerNorm(width, eps=NORM_EPS)
        self.self_attn = SelfAttention(width, num_heads, qk_norm=True)
        self.cross_attn = CrossAttention(width, num_heads, bias=True, context_channels=image_channels)
        self.mlp = FeedForward(width, ratio)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, time: Tensor, image: KeysValues, mask: Tensor | None = None) -> Tensor:
        """Return the block's output [B, N, C].

        x: [B, N, C]; time: [B, C], embedded timestep; mask: [B, 1, 1, N], true for tokens that may be seen.
        """
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.adaLN_modulation(time)[:, None].chunk(6, dim=-1)
        update = self.self_attn(modulate(layer_norm(x, NORM_EPS), shift_a, scale_a), mask)
        x = torch.addcmul(x, gate_a, update)
        x = x + self.cross_attn(self.norm2(x), image)
        update = self.mlp(modulate(layer_norm(x, NORM_EPS), shift_f, scale_f))
        return torch.addcmul(x, gate_f, update)


class FlowTransformer(BlockNetwork):
    """Timestep embedding and blocks; subclasses add the layers before and after them."""

    def __init__(
        self, *, width: int, num_layers: int, num_heads: int, feed_forward_ratio: int, image_channels: int
    ) -> None:
        super().__init__()
        self.t_embedder = TimestepEmbedding(width)
        self.blocks = nn.ModuleList(
            FlowBlock(width, num_heads, feed_forward_ratio, image_channels) for _ in range(num_layers)
        )

    def _flow_blocks(self) -> Iterator[FlowBlock]:
        return cast("Iterator[FlowBlock]", iter(self.blocks))

    def prepare_conditions(self, image_tokens: Tensor) -> ImageConditions:
        """Project the image tokens [B, K, image_channels], normalised; zeros where there is no image."""
        tokens = self.enter_blocks(image_tokens)
        return tuple(block.cross_attn.project_context(tokens) for block in self._flow_blocks())

    def embed_time(self, timesteps: Tensor) -> Tensor:
        """Embed timesteps [B], 0..1000, as [B, C] in the blocks' precision."""
        return self.enter_blocks(self.t_embedder(timesteps))

    def transform(self, h: Tensor, time: Tensor, conditions: ImageConditions, mask: Tensor | None = None) -> Tensor:
        """Apply all blocks; return [B, N, C]. h: [B, N, C]; time: from `embed_time`; mask: see FlowBlock."""
        for block, image in zip(self._flow_blocks(), conditions):
            h = block(h, time, image, mask)
        return h
