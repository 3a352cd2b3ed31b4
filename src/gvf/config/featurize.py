"""Section `featurize`: image features on voxels, the input of E_GS, and of video frames, the condition of the DiT."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, between, one_of
from gvf.errors import ConfigError

ENCODERS = ("efficientnet_lite0", "dinov2")
WEIGHTINGS = ("uniform", "visible")


@dataclass(frozen=True)
class FeaturizeConfig:
    """encoder: image network. weights: folder or hub name of DINOv2's weights, null for the published name; those of
    EfficientNet come with its package.

    token_grid: conditioning tokens along each side of a frame; null for DINOv2, which has one per patch and one for the image.
    voxel_resolution: voxels along each side of the box. voxel_weighting: how much a view counts for a voxel: `uniform`
    as in the release, `visible` by how much of the voxel it sees. batch_size: images encoded at once.
    """

    encoder: str
    weights: str | None
    token_grid: int | None
    voxel_resolution: int
    voxel_weighting: str
    batch_size: int

    def __post_init__(self) -> None:
        one_of("featurize.encoder", self.encoder, ENCODERS)
        one_of("featurize.voxel_weighting", self.voxel_weighting, WEIGHTINGS)
        between("featurize.voxel_resolution", self.voxel_resolution, 2, 256)
        at_least("featurize.batch_size", self.batch_size, 1)
        if self.encoder == "dinov2":
            if self.token_grid is not None:
                raise ConfigError("featurize.token_grid", "must be null for dinov2, whose patches are its tokens.")
            return
        if self.weights is not None:
            raise ConfigError("featurize.weights", f"must be null for {self.encoder}, whose package has its weights.")
        if self.token_grid is None:
            raise ConfigError("featurize.token_grid", f"is empty; {self.encoder} needs a number, such as 6.")
        between("featurize.token_grid", self.token_grid, 1, 64)
