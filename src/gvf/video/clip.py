"""Hold the sampled frames of a video as they were read, before the object is cut out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gvf.video.findings import Finding


@dataclass(frozen=True)
class Clip:
    """Frames of a video, reduced and upright.

    frames: uint8 [T, H, W, 4] with straight alpha in display sRGB. times: [T] seconds from the video's first frame.
    rate: frames per second. source_size: width and height of the video as it is shown, before it was reduced.
    """

    frames: np.ndarray
    times: np.ndarray
    rate: float
    source_size: tuple[int, int]
    findings: tuple[Finding, ...] = ()

    @property
    def scale(self) -> float:
        """Source pixels per pixel of the frames."""
        return self.source_size[0] / self.frames.shape[2]

    @property
    def has_alpha(self) -> bool:
        """Whether any pixel of any frame is not opaque."""
        return bool((self.frames[..., 3] < 255).any())

    @property
    def transparency(self) -> float:
        """The mean transparency of all pixels: 0 where all are opaque, 1 where nothing is to be seen."""
        return 1 - float(self.frames[..., 3].mean(dtype=np.float64)) / 255


def reduced_size(width: int, height: int, max_size: int) -> tuple[int, int]:
    """Return the size of a picture whose longer side has at most `max_size` pixels, with the same shape."""
    factor = min(1.0, max_size / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))
