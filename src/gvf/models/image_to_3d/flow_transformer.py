"""The transformer of TRELLIS's two flow networks: gated self attention, attention to an image, gated feed-forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from gvf.config.flow_transformer import FlowTransformerConfig
from gvf.models.layers.attention import CrossAttention, KeysValues, SelfAttention
from gvf.models.layers.embedding import TimestepEmbedding
from gvf.models.layers.feed_forward import FeedForward
from gvf.models.layers.norm import WideLayerNorm, layer_norm, modulate
from gvf.models.layers.precision import BlockNetwork

NORM_EPS = 1e-6
LAST_NORM_EPS = 1e-5


@dataclass(frozen=True)
class ImageCondition:
    """What a flow is given of B images, zeros where there is no image.

    tokens: [B, K, image_channels], normalised; None where `image_condition` is `pixel_aligned`. aligned: features of all
    cells or voxels, [rows, aligned_channels]; None where it is `tokens`. Rows of several images follow each other.
    """

    tokens: Tensor | None = None
    aligned: Tensor | None = None

    @classmethod
    def join(cls, images: Sequence[ImageCondition]) -> ImageCondition:
        """Return several conditions as one batch, one after another."""
        parts = zip(*((image.tokens, image.aligned) for image in images))
        return cls(*(None if part[0] is None else torch.cat(cast("tuple[Tensor, ...]", part)) for part in parts))

    def map(self, change: Callable[[Tensor], Tensor]) -> ImageCondition:
        """Return the condition with a change applied to its tensors."""
        return ImageCondition(*(None if part is None else change(part) for part in (self.tokens, self.aligned)))


@dataclass(frozen=True)
class ImageConditions:
    """What a flow knows of B images: projected once, used at every step.

    context: keys and values for every block, each [B, H, K, D]; None where tokens are not seen. rows: joins the network's
    input, [rows, channels]; None without pixel-aligned features.
    """

    context: tuple[KeysValues | None, ...]
    rows: Tensor | None


class FlowBlock(nn.Module):
    """Self attention and feed-forward modulated by the timestep, attention to the image tokens, if they are seen, between."""

    def __init__(self, config: FlowTransformerConfig) -> None:
        super().__init__()
        width, heads = config.width, config.num_heads
        sees, channels = config.sees_tokens, config.image_channels
        self.norm2 = WideLayerNorm(width, eps=NORM_EPS) if sees else None
        self.self_attn = SelfAttention(width, heads, qk_norm=True)
        self.cross_attn = CrossAttention(width, heads, bias=True, context_channels=channels) if sees else None
        self.mlp = FeedForward(width, config.feed_forward_ratio)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, time: Tensor, image: KeysValues | None, mask: Tensor | None = None) -> Tensor:
        """Return the block's output [B, N, C].

        x: [B, N, C]; time: [B, C], embedded timestep; mask: [B, 1, 1, N], true for tokens that may be seen.
        """
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.adaLN_modulation(time)[:, None].chunk(6, dim=-1)
        update = self.self_attn(modulate(layer_norm(x, NORM_EPS), shift_a, scale_a), mask)
        x = torch.addcmul(x, gate_a, update)
        if self.cross_attn is not None and self.norm2 is not None and image is not None:
            x = x + self.cross_attn(self.norm2(x), image)
        update = self.mlp(modulate(layer_norm(x, NORM_EPS), shift_f, scale_f))
        return torch.addcmul(x, gate_f, update)


class FlowTransformer(BlockNetwork):
    """Timestep embedding and blocks; subclasses add the layers before and after them.

    input_channels: of the rows that pixel-aligned features join.
    """

    def __init__(self, config: FlowTransformerConfig, input_channels: int) -> None:
        super().__init__()
        self.t_embedder = TimestepEmbedding(config.width)
        self.blocks = nn.ModuleList(FlowBlock(config) for _ in range(config.num_layers))
        self.aligned_proj = (
            nn.Sequential(
                nn.Linear(config.aligned_channels, config.width),
                nn.GELU(approximate="tanh"),
                nn.Linear(config.width, input_channels),
            )
            if config.sees_aligned
            else None
        )

    def _flow_blocks(self) -> Iterator[FlowBlock]:
        return cast("Iterator[FlowBlock]", iter(self.blocks))

    def reset_parameters(self, out_layer: nn.Linear) -> None:
        """Initialise as TRELLIS does: Xavier uniform, biases 0; 0.02 for the timestep; zero modulation and output.

        out_layer: the network's last layer.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for layer in cast("list[nn.Linear]", [self.t_embedder.mlp[0], self.t_embedder.mlp[2]]):
            nn.init.normal_(layer.weight, std=0.02)
        for layer in [*(cast(nn.Linear, block.adaLN_modulation[1]) for block in self._flow_blocks()), out_layer]:
            nn.init.zeros_(layer.weight)

    def prepare_conditions(self, image: ImageCondition) -> ImageConditions:
        """Return the keys and values of every block, and what joins the input. Raises ValueError when a part is missing."""
        context: tuple[KeysValues | None, ...] = (None,) * len(self.blocks)
        attentions = [block.cross_attn for block in self._flow_blocks() if block.cross_attn is not None]
        if attentions:
            if image.tokens is None:
                raise ValueError("this network attends to image tokens, which the condition lacks")
            tokens = self.enter_blocks(image.tokens)
            context = tuple(attention.project_context(tokens) for attention in attentions)
        if self.aligned_proj is None:
            return ImageConditions(context, None)
        if image.aligned is None:
            raise ValueError("this network is given pixel-aligned features, which the condition lacks")
        return ImageConditions(context, self.aligned_proj(image.aligned))

    def embed_time(self, timesteps: Tensor) -> Tensor:
        """Embed timesteps [B], 0..1000, as [B, C] in the blocks' precision."""
        return self.enter_blocks(self.t_embedder(timesteps))

    def transform(self, h: Tensor, time: Tensor, conditions: ImageConditions, mask: Tensor | None = None) -> Tensor:
        """Apply all blocks; return [B, N, C]. h: [B, N, C]; time: from `embed_time`; mask: see FlowBlock."""
        for block, image in zip(self._flow_blocks(), conditions.context):
            h = block(h, time, image, mask)
        return h
