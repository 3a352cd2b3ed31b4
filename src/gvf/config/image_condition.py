"""How networks see images: by attention to tokens, by image features at known positions, or both."""

from __future__ import annotations

from typing import Literal

from gvf.config.fields import clash

ImageCondition = Literal["tokens", "pixel_aligned", "both"]


class SeesImages:
    """Base of the sections of networks that see images as their field `image_condition` says."""

    image_condition: ImageCondition
    aligned_channels: int

    @property
    def sees_tokens(self) -> bool:
        """Return whether the network attends to the tokens of images."""
        return self.image_condition != "pixel_aligned"

    @property
    def sees_aligned(self) -> bool:
        """Return whether the network is given image features at the positions of latents, cells or voxels."""
        return self.image_condition != "tokens"

    def demand_aligned_channels(self) -> None:
        """Raise a validation error when the network sees such features, but has no channels for them."""
        if self.sees_aligned and not self.aligned_channels:
            raise clash("aligned_channels", f"must be at least 1 where image_condition is {self.image_condition}.")
