"""Sizes that TRELLIS's two flow networks share, and how they see the image."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT, clash
from gvf.config.transformer import Width, demand_whole_heads


@dataclass(frozen=True, config=STRICT)
class FlowTransformerConfig:
    """Sizes of a flow's transformer. Descriptions are arguments, since docstrings of inherited fields are not found."""

    latent_channels: Annotated[
        PositiveInt,
        Field(description="Channels of the latents that the flow models."),
    ]
    width: Annotated[
        Width,
        Field(description="Channels of the transformer."),
    ]
    num_layers: Annotated[
        PositiveInt,
        Field(description="Layers of the transformer."),
    ]
    num_heads: Annotated[
        PositiveInt,
        Field(description="Attention heads."),
    ]
    feed_forward_ratio: Annotated[
        PositiveInt,
        Field(description="Hidden channels of the feed-forward layers, as a multiple of `width`."),
    ]
    image_condition: Annotated[
        Literal["tokens", "pixel_aligned", "both"],
        Field(
            description="How the image is seen: by attention to its `tokens`, as published; `pixel_aligned`, by image features "
            "where a nominal camera shows each cell or voxel, which needs objects that are turned to the camera; or `both`."
        ),
    ]
    image_channels: Annotated[
        PositiveInt,
        Field(description="Channels of an image token."),
    ]
    aligned_channels: Annotated[
        NonNegativeInt,
        Field(
            description="Channels of the image features at a cell or voxel; unused where `image_condition` is `tokens`."
        ),
    ]

    @property
    def sees_tokens(self) -> bool:
        """Return whether the network attends to the tokens of the image."""
        return self.image_condition != "pixel_aligned"

    @property
    def sees_aligned(self) -> bool:
        """Return whether the network is given image features at cells or voxels."""
        return self.image_condition != "tokens"

    @model_validator(mode="after")
    def _fits(self) -> FlowTransformerConfig:
        demand_whole_heads(self.width, self.num_heads)
        if self.sees_aligned and not self.aligned_channels:
            raise clash("aligned_channels", f"must be at least 1 where image_condition is {self.image_condition}.")
        return self
