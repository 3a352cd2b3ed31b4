"""The Gaussian variation field diffusion transformer (Sec. 3.2, A.1.4; details and names as in the published weights).

It predicts the velocity of Eq. 10. Legend of shapes: B clips, T frames, L latents of C channels, K image tokens of a
frame, S static (canonical Gaussian) tokens, H heads of D channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from gvf.config.load import parse
from gvf.config.variation_dit import VariationDitConfig
from gvf.errors import ConfigError
from gvf.models.layers.attention import CrossAttention, KeysValues, SelfAttention
from gvf.models.layers.embedding import AbsolutePositionEmbedding, TimestepEmbedding
from gvf.models.layers.feed_forward import FeedForward
from gvf.models.layers.residual import Modulation, add_and_norm, norm
from gvf.models.network_folder import StoredNetwork

STATIC_CHANNELS = 14
NORM_EPS = 1e-6


@dataclass(frozen=True)
class VideoCondition:
    """What the network is given of videos, zeros where they are dropped.

    tokens: [B, T, K, image_channels], of the frames; None where `image_condition` is `pixel_aligned`. aligned:
    [B, T, L, aligned_channels], features at the latents' positions; None where it is `tokens`. Of a single video: without B.
    """

    tokens: Tensor | None = None
    aligned: Tensor | None = None

    @classmethod
    def stack(cls, videos: Sequence[VideoCondition]) -> VideoCondition:
        """Return single videos as a batch."""
        tokens, aligned = ([tensor for tensor in part if tensor is not None] for part in zip(*map(cls._parts, videos)))
        return cls(torch.stack(tokens) if tokens else None, torch.stack(aligned) if aligned else None)

    def map(self, change: Callable[[Tensor], Tensor]) -> VideoCondition:
        """Return the condition with a change applied to its tensors."""
        return VideoCondition(*(None if tensor is None else change(tensor) for tensor in self._parts()))

    def _parts(self) -> tuple[Tensor | None, Tensor | None]:
        return self.tokens, self.aligned


@dataclass(frozen=True)
class Conditions:
    """What the network knows besides the noised latents: projected once, used at every diffusion step."""

    image: tuple[KeysValues | None, ...]  # one per block, [B*T, H, K, D]; None without image tokens
    static: tuple[KeysValues, ...]  # one per block, [B, H, S, D]
    latents: Tensor | None  # [B, 1 or T, L, width], joins the latents: embedded positions and pixel-aligned features


class DitBlock(nn.Module):
    """Spatial attention, temporal attention, attention to the frame's image, to the static Gaussians, feed-forward."""

    def __init__(self, width: int, num_heads: int, ratio: int, sees_tokens: bool) -> None:
        super().__init__()
        self.norm3 = nn.LayerNorm(width, eps=NORM_EPS) if sees_tokens else None
        self.norm4 = nn.LayerNorm(width, eps=NORM_EPS)
        self.spatial_self_attn = SelfAttention(width, num_heads, qk_norm=True)
        self.temporal_self_attn = SelfAttention(width, num_heads, qk_norm=True)
        self.image_cross_attn = CrossAttention(width, num_heads, bias=True) if sees_tokens else None
        self.static_cross_attn = CrossAttention(width, num_heads, bias=True)
        self.mlp = FeedForward(width, ratio)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.adaLN_modulation_temporal = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))

    def forward(self, x: Tensor, time: Tensor, image: KeysValues | None, static: KeysValues) -> Tensor:
        """Return the block's output [B, T, L, width]. x: [B, T, L, width]; time: [B, width], embedded timestep."""
        frames = x.shape[:2]
        shift_s, scale_s, gate_s, shift_f, scale_f, gate_f = self._modulation(self.adaLN_modulation, time, 6)
        shift_t, scale_t, gate_t = self._modulation(self.adaLN_modulation_temporal, time, 3)

        update = self.spatial_self_attn(norm(x, NORM_EPS, Modulation.adaptive(shift_s, scale_s)).flatten(0, 1))
        update = update.unflatten(0, frames)
        x, normal = add_and_norm(x, update, NORM_EPS, Modulation.adaptive(shift_t, scale_t), gate_s)
        gate: Tensor | None = gate_t
        update = self.temporal_self_attn(normal.transpose(1, 2).flatten(0, 1))
        update = update.unflatten(0, (frames[0], -1)).transpose(1, 2).contiguous()
        if self.image_cross_attn is not None and self.norm3 is not None and image is not None:
            x, normal = add_and_norm(x, update, NORM_EPS, Modulation.of(self.norm3), gate)
            update, gate = self.image_cross_attn(normal.flatten(0, 1), image).unflatten(0, frames), None
        x, normal = add_and_norm(x, update, NORM_EPS, Modulation.of(self.norm4), gate)
        update = self.static_cross_attn(normal.flatten(1, 2), static).unflatten(1, x.shape[1:3])
        x, normal = add_and_norm(x, update, NORM_EPS, Modulation.adaptive(shift_f, scale_f))
        return torch.addcmul(x, gate_f[:, None, None], self.mlp(normal))

    @staticmethod
    def _modulation(layer: nn.Sequential, time: Tensor, parts: int) -> tuple[Tensor, ...]:
        return layer(time).chunk(parts, dim=-1)


class FinalLayer(nn.Module):
    """Adaptive norm and a Linear that is initialised to zero."""

    def __init__(self, width: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, out_channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return the prediction [B, T, L, C]. x: [B, T, L, width]; time: [B, width], embedded timestep."""
        shift, scale = self.adaLN_modulation(time).chunk(2, dim=-1)
        return self.linear(norm(x, NORM_EPS, Modulation.adaptive(shift, scale)))


class VariationDiT(StoredNetwork, nn.Module):
    """Predicts the velocity of noised latents from a video, the canonical Gaussians and the latents' positions."""

    KIND = "dit"
    CONFIG = VariationDitConfig
    FREE_SIZES = frozenset({"num_static"})

    def __init__(self, config: VariationDitConfig, latent_channels: int) -> None:
        super().__init__()
        self.config = config
        self.latent_channels = latent_channels
        width = config.width
        self.t_embedder = TimestepEmbedding(width)
        self.position_embedding = AbsolutePositionEmbedding(width, config.position_scale)
        self.input_layer = nn.Linear(latent_channels, width)
        self.blocks = nn.ModuleList(
            DitBlock(width, config.num_heads, config.feed_forward_ratio, config.sees_tokens)
            for _ in range(config.num_layers)
        )
        self.final_layer = FinalLayer(width, latent_channels)
        self.static_cond_proj = nn.Linear(STATIC_CHANNELS, width)
        self.image_cond_proj = nn.Linear(config.image_channels, width) if config.sees_tokens else None
        self.aligned_cond_proj = (
            nn.Sequential(
                nn.Linear(config.aligned_channels, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
            )
            if config.sees_aligned
            else None
        )
        self.reset_parameters()

    def sizes(self) -> dict[str, Any]:
        """Return the plain values from which `from_sizes` builds a network of the same shape."""
        return super().sizes() | {"latent_channels": self.latent_channels}

    @classmethod
    def from_sizes(cls, sizes: Mapping[str, Any]) -> VariationDiT:
        """Build a network with new weights. Raises ConfigError for a missing, unknown or unusable size.

        Networks stored before there was a choice of `image_condition` see tokens.
        """
        rest = {"image_condition": "tokens", "aligned_features": (), "aligned_channels": 0, **sizes}
        latent_channels = rest.pop("latent_channels", None)
        if type(latent_channels) is not int or latent_channels < 1:
            raise ConfigError("dit.latent_channels", f"is {latent_channels!r}, must be a whole number of at least 1.")
        return cls(parse(cls.CONFIG, rest, cls.KIND), latent_channels)

    def reset_parameters(self) -> None:
        """Initialise: Xavier uniform, biases 0; 0.02 for timestep and condition projections; zero modulation and output."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        embeddings = [self.t_embedder.mlp[0], self.t_embedder.mlp[2], self.static_cond_proj]
        if self.image_cond_proj is not None:
            embeddings.append(self.image_cond_proj)
        modulations = [self.final_layer.adaLN_modulation, *(block.adaLN_modulation for block in self._blocks())]
        zeros = (self.final_layer.linear, *(modulation[1] for modulation in modulations))
        for layer in cast("list[nn.Linear]", embeddings):
            nn.init.normal_(layer.weight, std=0.02)
        for layer in cast("tuple[nn.Linear, ...]", zeros):
            nn.init.zeros_(layer.weight)

    def _blocks(self) -> Iterator[DitBlock]:
        return cast("Iterator[DitBlock]", iter(self.blocks))

    def prepare_conditions(self, video: VideoCondition, static_gaussians: Tensor, positions: Tensor) -> Conditions:
        """Return the keys and values of every block's cross attentions, and what joins the latents' tokens.

        static_gaussians: [B, S, 14], normalised; positions: [B, L, 3], of the latents, object units.
        """
        static = self.static_cond_proj(static_gaussians)
        return Conditions(
            self._image_context(video),
            tuple(block.static_cross_attn.project_context(static) for block in self._blocks()),
            self._at_latents(video, positions),
        )

    def _image_context(self, video: VideoCondition) -> tuple[KeysValues | None, ...]:
        """Return the keys and values of the frames' tokens, one per block; None where the network sees none."""
        if self.image_cond_proj is None:
            return (None,) * len(self.blocks)
        if video.tokens is None:
            raise ValueError(f"image_condition {self.config.image_condition} needs the tokens of the video's frames")
        image = self.image_cond_proj(video.tokens.flatten(0, 1))
        contexts = (block.image_cross_attn for block in self._blocks())
        return tuple(cast(CrossAttention, attention).project_context(image) for attention in contexts)

    def _at_latents(self, video: VideoCondition, positions: Tensor) -> Tensor | None:
        """Return what joins the latents' tokens, [B, 1 or T, L, width]: embedded positions and pixel-aligned features."""
        embedded = self.position_embedding(positions).unsqueeze(1) if self.config.position_embedding else None
        if self.aligned_cond_proj is None:
            return embedded
        if video.aligned is None:
            raise ValueError(f"image_condition {self.config.image_condition} needs features at the latents' positions")
        aligned = self.aligned_cond_proj(video.aligned)
        return aligned if embedded is None else embedded + aligned

    def denoise(self, noised: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
        """Return the velocity for prepared conditions, in one network call.

        noised: [B, T, L, C]; timesteps: [B], 0..999, may be fractional. Returns the velocity [B, T, L, C], float32.
        """
        time = self.t_embedder(timesteps)
        x = self.input_layer(noised)
        if conditions.latents is not None:
            x = x + conditions.latents.to(x.dtype)
        for block, image, static in zip(self._blocks(), conditions.image, conditions.static):
            x = block(x, time, image, static)
        return self.final_layer(x, time).float()

    def forward(
        self, noised: Tensor, timesteps: Tensor, video: VideoCondition, static_gaussians: Tensor, positions: Tensor
    ) -> Tensor:
        """Return the velocity [B, T, L, C] of one training step; arguments as in `denoise` and `prepare_conditions`."""
        return self.denoise(noised, timesteps, self.prepare_conditions(video, static_gaussians, positions))
