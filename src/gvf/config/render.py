"""Section `render`: pictures of the curated clips."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, between


@dataclass(frozen=True)
class RenderConfig:
    """image_size: height and width, pixels. samples: rays along each side of a pixel.

    canonical_views: of frame 0, evenly over the sphere. train_views: random views of every frame of training clips.
    videos: conditioning videos of a training clip, the frontal one first; held-out clips have that one only.
    radius: of all cameras but the evaluation protocol's, object units. view_fov: of canonical and training views,
    video_fov: of conditioning videos; full angles, degrees.
    """

    image_size: int
    samples: int
    canonical_views: int
    train_views: int
    videos: int
    radius: float
    view_fov: float
    video_fov: float

    def __post_init__(self) -> None:
        between("render.image_size", self.image_size, 16, 4096)
        between("render.samples", self.samples, 1, 16)
        at_least("render.canonical_views", self.canonical_views, 1)
        at_least("render.train_views", self.train_views, 1)
        at_least("render.videos", self.videos, 1)
        at_least("render.radius", self.radius, 1.0)
        between("render.view_fov", self.view_fov, 1.0, 120.0)
        between("render.video_fov", self.video_fov, 1.0, 120.0)
