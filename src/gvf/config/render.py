"""Section `render`: ground-truth images of the curated clips."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT

Angle = Annotated[float, Field(ge=1.0, le=120.0)]


@dataclass(frozen=True, config=STRICT)
class RenderConfig:
    """Ground-truth images of the curated clips."""

    image_size: Annotated[int, Field(ge=16, le=4096)]
    """Height and width, in pixels."""
    samples: Annotated[int, Field(ge=1, le=16)]
    """Rays along each side of a pixel."""
    canonical_views: PositiveInt
    """Views of frame 0, spaced evenly over the sphere."""
    train_views: PositiveInt
    """Random views of every frame of the training clips."""
    videos: PositiveInt
    """Conditioning videos per training clip, the frontal one first; held-out clips have only the frontal one."""
    radius: Annotated[float, Field(ge=1.0)]
    """Distance of all cameras except those that held-out clips are scored from, in object units."""
    view_fov: Angle
    """Full field of view of canonical and training views, in degrees."""
    video_fov: Angle
    """Full field of view of conditioning videos, in degrees."""
