"""Section `report`: what the report page shows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT


@dataclass(frozen=True, config=STRICT)
class ReportConfig:
    """What the report page shows."""

    strip_frames: PositiveInt
    """Frames shown in a strip, spaced evenly over the clip."""
    tile_size: Annotated[int, Field(ge=16, le=512)]
    """Longest side of an image, in pixels."""
