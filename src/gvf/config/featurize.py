"""Section `featurize`: image features on voxels, the input of E_GS, and of video frames, the condition of the DiT."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT, clash


@dataclass(frozen=True, config=STRICT)
class FeaturizeConfig:
    """Image features on voxels and of video frames."""

    encoder: Literal["efficientnet_lite0", "dinov2"]
    """Image network."""
    weights: str | None
    """Folder or hub name of DINOv2's weights, null for the published name. Those of EfficientNet come with its package."""
    token_grid: Annotated[int, Field(ge=1, le=64)] | None
    """Conditioning tokens along each side of a frame; null for DINOv2, which has one per patch and one for the image."""
    voxel_resolution: Annotated[int, Field(ge=2, le=256)]
    """Voxels along each side of the box."""
    voxel_weighting: Literal["uniform", "visible"]
    """Weight of a view for a voxel: `uniform` as in the release, or `visible`, how much of the voxel the view sees."""
    batch_size: PositiveInt
    """Images encoded at once."""

    @model_validator(mode="after")
    def _fits_the_encoder(self) -> FeaturizeConfig:
        if self.encoder == "dinov2":
            if self.token_grid is not None:
                raise clash("token_grid", "must be null for dinov2, whose patches are its tokens.")
            return self
        if self.weights is not None:
            raise clash("weights", f"must be null for {self.encoder}, whose package has its weights.")
        if self.token_grid is None:
            raise clash("token_grid", f"is empty, but {self.encoder} needs a number, such as 6.")
        return self
