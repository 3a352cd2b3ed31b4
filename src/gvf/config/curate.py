"""Section `curate`: how clips are baked, which are kept, and how they are split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT


@dataclass(frozen=True, config=STRICT)
class CurateConfig:
    """How clips are baked, which are kept, and how they are split."""

    num_frames: Annotated[int, Field(ge=2)]
    """Frames per training clip (T), spaced evenly from the first to the last keyframe; for held-out clips see
    `sample.num_frames`."""
    num_points: PositiveInt
    """Surface points that follow the motion (N)."""
    min_motion: PositiveFloat
    """How far at least 1 % of the surface must travel, in object units (longest side 1). A point's distance is the
    largest between any two frames. A clip below it is a still pose, or its motion is invisible when rendered."""
    max_triangles: PositiveInt
    """Assets with more triangles are not loaded."""
    max_texture_size: PositiveInt
    """Longer side of textures, in texels; larger textures are reduced."""
    min_aesthetic_score: Annotated[float, Field(ge=0.0, le=10.0)]
    """Smallest mean score of 4 views of frame 0; it has no effect where the scorer's weights are missing."""
    max_clips: Annotated[int, Field(ge=2)] | None
    """Largest number of accepted clips, drawn evenly over families; null for no limit."""
    held_out_fraction: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Fraction of the accepted clips that is kept out of training."""
    split_by: Literal["clip", "animation", "asset"]
    """What the split keeps together: every `clip` is split alone; `animation` keeps animations of the same name
    together, whichever asset they belong to; `asset` keeps all clips of an asset together."""
