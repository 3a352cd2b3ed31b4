"""Sizes that TRELLIS's two flow networks share, and how they see the image."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT
from gvf.config.image_condition import ImageCondition, SeesImages
from gvf.config.transformer import Width, demand_whole_heads


@dataclass(frozen=True, config=STRICT)
class FlowTransformerConfig(SeesImages):
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
        ImageCondition,
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

    @model_validator(mode="after")
    def _fits(self) -> FlowTransformerConfig:
        demand_whole_heads(self.width, self.num_heads)
        self.demand_aligned_channels()
        return self
