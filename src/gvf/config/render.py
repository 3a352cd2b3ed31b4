"""Section `render`: ground-truth images of the curated clips."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT

Angle = Annotated[float, Field(ge=1.0, le=120.0)]


Fraction = Annotated[float, Field(ge=0.0, le=0.25)]


@dataclass(frozen=True, config=STRICT)
class VideoVariationConfig:
    """How far conditioning videos may depart from perfect ones, as users' videos do. Values are the largest ones drawn."""

    share: Annotated[float, Field(gt=0.0, le=1.0)]
    """Share of the videos that are varied."""
    light: Annotated[float, Field(ge=0.0, le=180.0)]
    """Turn of the lights about the vertical axis, in degrees."""
    exposure: Annotated[float, Field(ge=0.0, le=2.0)]
    """Change of brightness, in photographic stops; colour channels differ by up to a quarter of it."""
    edge: Fraction
    """Error of the foreground mask's edge, as a fraction of the image's side. Where the mask is too wide, the video shows
    background of a plain colour."""
    holes: NonNegativeInt
    """Holes in the foreground mask, each in some consecutive frames."""
    shift: Fraction
    """Distance between the image's centre and where the recorded camera has it, as a fraction of the image's side."""
    zoom: Fraction
    """Difference of the object's size from what the recorded camera would show, as a fraction."""
    roll: Annotated[float, Field(ge=0.0, le=30.0)]
    """Tilt of the image against the recorded camera, in degrees."""


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
    image_views: PositiveInt
    """Images of frame 0 per training clip from which image-to-3D networks learn, the first frame of the frontal conditioning
    video first, others from all around; held-out clips have only the first."""
    radius: Annotated[float, Field(ge=1.0)]
    """Distance of all cameras except those that held-out clips are scored from, in object units."""
    view_fov: Angle
    """Full field of view of canonical and training views, in degrees."""
    video_fov: Angle
    """Full field of view of conditioning videos, in degrees."""
    video_variation: VideoVariationConfig | None
    """Flaws of the conditioning videos and images of training clips; null for none. Held-out clips have perfect ones."""
