"""Section `curate`: how clips are baked, which are kept, and how they are split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT, clash

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Factor = Annotated[float, Field(gt=0.0, le=4.0)]


@dataclass(frozen=True, config=STRICT)
class VariantsConfig:
    """Further training clips made from training clips; each draws its own values. The lower end of a range comes first."""

    per_clip: PositiveInt
    """Variants of every training clip."""
    yaw: tuple[Annotated[float, Field(ge=-180.0, le=180.0)], Annotated[float, Field(ge=-180.0, le=180.0)]]
    """Range of turns about the vertical axis, in degrees."""
    mirror: Probability
    """Probability that left and right change places."""
    scale: tuple[Factor, Factor]
    """Range of sizes relative to the unit box over all frames. Above 1 the object is enlarged as far as its first frame
    fits into the box, and may leave it later."""
    window: tuple[Factor, Factor]
    """Range of the share of the animation that is played in the clip's frames, from a random start: the speed. Only
    animations that loop play more than 1."""
    reverse: Probability
    """Probability that time is reversed."""

    @model_validator(mode="after")
    def _has_ordered_ranges(self) -> VariantsConfig:
        for name in ("yaw", "scale", "window"):
            low, high = getattr(self, name)
            if low > high:
                raise clash(name, f"is {low:g} to {high:g}, but the lower end must come first.")
        return self


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
    max_clips_per_asset: PositiveInt | None
    """Largest number of accepted clips of an asset, the most varied of them; null for no limit."""
    max_clips: Annotated[int, Field(ge=2)] | None
    """Largest number of accepted clips, drawn evenly over families; null for no limit."""
    held_out_fraction: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Fraction of what `split_by` names that is kept out of training; of skeletons, this fraction of every kind's."""
    held_out_seen_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] | None
    """Fraction of every kind's other clips that is kept out of training besides: motions that training lacks, of assets
    that it contains; null for none."""
    split_by: Literal["clip", "animation", "asset", "skeleton"]
    """What the split keeps together: every `clip` is split alone; `animation` keeps animations of the same name
    together, whichever asset they belong to; `asset` keeps all clips of an asset together; `skeleton` keeps all assets
    that share their joints together."""
    variants: VariantsConfig | None
    """Variants of training clips, in which video and motion agree; null for none."""

    @model_validator(mode="after")
    def _holds_out_seen_assets_only_beside_unseen_ones(self) -> CurateConfig:
        if self.held_out_seen_fraction is not None and self.split_by in ("clip", "animation"):
            raise clash(
                "held_out_seen_fraction",
                f"is {self.held_out_seen_fraction:g}, but must be null when split_by is {self.split_by}, which holds out "
                "clips of seen assets anyway.",
            )
        return self
