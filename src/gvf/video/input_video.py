"""A prepared video: square frames for the networks, and their crops in the source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gvf.errors import UserError
from gvf.video.findings import Finding


@dataclass(frozen=True)
class InputVideo:
    """Square frames of one object, cut out of a video.

    frames: uint8 [T, S, S, 4], straight alpha, display sRGB. frames_per_second: of these frames. times: [T] seconds from the
    start of the source. crops: [T, 3] (left, top, side) of each frame in source pixels; parts outside the picture are
    transparent. source_size: width and height of the source as it is shown. matting: where the masks come from (`alpha`,
    `key`, `network` or `none`). findings: what was noticed about the input.
    """

    frames: NDArray[np.uint8]
    frames_per_second: float
    times: NDArray[np.float32]
    crops: NDArray[np.float32]
    source_size: tuple[int, int]
    name: str
    matting: str
    findings: tuple[Finding, ...] = ()

    @classmethod
    def from_frames(cls, frames: ArrayLike, frames_per_second: float, name: str = "frames") -> InputVideo:
        """Wrap square RGBA frames uint8 [T, S, S, 4], an array or a tensor, unchanged, such as renders of a model.

        Raises UserError for another shape or type, or fewer than two frames.
        """
        frames = np.asarray(frames)
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1] != frames.shape[2] or frames.shape[3] != 4:
            raise UserError(
                f"{name}: must be uint8 [T, S, S, 4], square RGBA (got {frames.dtype} {list(frames.shape)}). "
                "Use prepare_video for a video file."
            )
        if len(frames) < 2:
            raise UserError(f"{name}: has {len(frames)} frames; a motion needs at least two.")
        if not frames_per_second > 0:
            raise UserError(f"{name}: frames_per_second must be positive (got {frames_per_second:g}).")
        side = frames.shape[1]
        crops = np.tile(np.array([0.0, 0.0, side], np.float32), (len(frames), 1))
        times = (np.arange(len(frames)) / frames_per_second).astype(np.float32)
        return cls(frames, float(frames_per_second), times, crops, (side, side), name, "alpha")
