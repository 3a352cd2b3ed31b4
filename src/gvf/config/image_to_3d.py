"""Section `image_to_3d`: what the networks from one image to canonical Gaussians have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT


@dataclass(frozen=True, config=STRICT)
class ImageTo3dConfig:
    """Conditioning images of the image-to-3D networks, and the axes in which they generate."""

    orientation: Literal["view", "object"]
    """Axes of generated objects: `view`, turned so that the image's camera is at azimuth 0; or `object`, the object's own, which
    the image need not share (TRELLIS)."""
    image_size: Annotated[int, Field(ge=16, le=4096)]
    """Side of the square crop around the object that the encoder sees, in pixels."""
    map_size: Annotated[int, Field(ge=2, le=256)] | None
    """Side of the encoder's maps that are kept of each image, for pixel-aligned conditions; null to keep none."""
