"""Section `curate`: how clips are baked, which are kept, and how they are split."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, between, one_of, positive
from gvf.errors import ConfigError

SPLIT_KEYS = ("clip", "animation", "asset")


@dataclass(frozen=True)
class CurateConfig:
    """num_frames: T of training clips, spaced evenly from first to last keyframe; held-out clips have `sample.num_frames`.
    num_points: N surface points that follow the motion.

    min_motion: how far at least 1 % of the surface must travel, in object units (longest side 1). A point travels by its
    largest distance between any two frames. A clip below it is a still pose, or its motion is invisible when rendered.
    max_triangles: larger assets are not loaded. max_texture_size: longer side in texels; larger textures are reduced.
    min_aesthetic_score: least mean score of 4 views of frame 0, where the scorer's weights are there.
    max_clips: cap on accepted clips, drawn evenly over families; null for all.
    held_out_fraction: part of the accepted clips kept from training; split_by: what is kept whole on one side:
    `clip`, `animation` (the same animation name of other assets goes with it) or `asset`.
    """

    num_frames: int
    num_points: int
    min_motion: float
    max_triangles: int
    max_texture_size: int
    min_aesthetic_score: float
    max_clips: int | None
    held_out_fraction: float
    split_by: str

    def __post_init__(self) -> None:
        at_least("curate.num_frames", self.num_frames, 2)
        at_least("curate.num_points", self.num_points, 1)
        positive("curate.min_motion", self.min_motion)
        at_least("curate.max_triangles", self.max_triangles, 1)
        at_least("curate.max_texture_size", self.max_texture_size, 1)
        between("curate.min_aesthetic_score", self.min_aesthetic_score, 0.0, 10.0)
        if self.max_clips is not None:
            at_least("curate.max_clips", self.max_clips, 2)
        if not 0.0 < self.held_out_fraction < 1.0:
            raise ConfigError("curate.held_out_fraction", f"is {self.held_out_fraction}, must be between 0 and 1.")
        one_of("curate.split_by", self.split_by, SPLIT_KEYS)
