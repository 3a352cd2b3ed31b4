"""Section `variation_dit`: the variation field diffusion transformer (Sec. 3.2)."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT, clash
from gvf.config.transformer import Width, demand_whole_heads


@dataclass(frozen=True, config=STRICT)
class VariationDitConfig:
    """Sizes of the diffusion transformer."""

    width: Width
    """Channels of the transformer (Table 4)."""
    num_layers: PositiveInt
    """Layers of the transformer."""
    num_heads: PositiveInt
    """Attention heads."""
    feed_forward_ratio: PositiveInt
    """Hidden channels of the feed-forward layers, as a multiple of `width`."""
    image_condition: Literal["tokens", "pixel_aligned", "both"]
    """How the video is seen: by attention to the `tokens` of each frame, as in the paper; `pixel_aligned`, by image features
    where the camera shows each latent's canonical position; or `both`."""
    image_channels: PositiveInt
    """Channels of the tokens of a video frame."""
    aligned_channels: NonNegativeInt
    """Channels of the image features at a latent's position; unused where `image_condition` is `tokens`."""
    num_static: PositiveInt
    """Canonical Gaussians used as a condition, chosen by farthest point sampling."""
    position_embedding: bool
    """Whether the latents have the positional prior of Table 3."""
    position_scale: PositiveFloat
    """Factor on positions before their sine embedding; 1 in the published weights."""

    @property
    def sees_tokens(self) -> bool:
        """Return whether the network attends to the tokens of the video's frames."""
        return self.image_condition != "pixel_aligned"

    @property
    def sees_aligned(self) -> bool:
        """Return whether the network is given image features at the latents' positions."""
        return self.image_condition != "tokens"

    @model_validator(mode="after")
    def _fits(self) -> VariationDitConfig:
        demand_whole_heads(self.width, self.num_heads)
        if self.sees_aligned and not self.aligned_channels:
            raise clash("aligned_channels", f"must be at least 1 where image_condition is {self.image_condition}.")
        return self
