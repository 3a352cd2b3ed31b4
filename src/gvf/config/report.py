"""Section `report`: what the report page shows."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, between


@dataclass(frozen=True)
class ReportConfig:
    """strip_frames: frames of a strip, evenly over the clip. tile_size: longest side of a picture, pixels."""

    strip_frames: int
    tile_size: int

    def __post_init__(self) -> None:
        at_least("report.strip_frames", self.strip_frames, 1)
        between("report.tile_size", self.tile_size, 16, 512)
