"""Section `variation_dit`: the variation field diffusion transformer (Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT, OneOf, clash
from gvf.config.image_condition import ImageCondition, SeesImages
from gvf.config.transformer import Width, demand_whole_heads

ALIGNED_FEATURES = ("values", "differences", "correlations", "point")
AlignedFeature = Annotated[str, OneOf(ALIGNED_FEATURES)]
WINDOW = 3  # cells of an image map, in each direction, that are compared with a point in the first frame
POINT_CHANNELS = 4


def aligned_channels(features: Sequence[str], map_channels: int, num_compared: int) -> int:
    """Return the number of channels of image features at a latent.

    features: some of ALIGNED_FEATURES. map_channels: of the image encoder's voxel maps. num_compared: maps that are compared.
    """
    window = (2 * WINDOW + 1) ** 2
    channels = (map_channels, map_channels, 2 * window * num_compared, POINT_CHANNELS)
    return sum(count for name, count in zip(ALIGNED_FEATURES, channels) if name in features)


@dataclass(frozen=True, config=STRICT)
class VariationDitConfig(SeesImages):
    """Sizes of the diffusion transformer."""

    width: Width
    """Channels of the transformer (Table 4)."""
    num_layers: PositiveInt
    """Layers of the transformer."""
    num_heads: PositiveInt
    """Attention heads."""
    feed_forward_ratio: PositiveInt
    """Hidden channels of the feed-forward layers, as a multiple of `width`."""
    image_condition: ImageCondition
    """How the video is seen: by attention to the `tokens` of each frame, as in the paper; `pixel_aligned`, by image features
    where the camera shows each latent's canonical position; or `both`."""
    image_channels: PositiveInt
    """Channels of the tokens of a video frame."""
    aligned_features: tuple[AlignedFeature, ...]
    """Image features at a latent's position, unused where `image_condition` is `tokens`: `values` of the image encoder's maps,
    their `differences` from the first frame, `correlations` of the first frame's value with the frame around the pixel, and
    depth, visibility and pixel of the `point`."""
    aligned_channels: NonNegativeInt
    """Channels of these features."""
    num_static: PositiveInt
    """Canonical Gaussians used as a condition, chosen by farthest point sampling."""
    position_embedding: bool
    """Whether the latents have the positional prior of Table 3."""
    position_scale: PositiveFloat
    """Factor on positions before their sine embedding; 1 in the published weights."""

    @model_validator(mode="after")
    def _fits(self) -> VariationDitConfig:
        demand_whole_heads(self.width, self.num_heads)
        in_order = tuple(name for name in ALIGNED_FEATURES if name in self.aligned_features)
        if self.aligned_features != in_order:
            raise clash("aligned_features", f"must be {', '.join(in_order)}: each once, in this order.")
        self.demand_aligned_channels()
        return self
