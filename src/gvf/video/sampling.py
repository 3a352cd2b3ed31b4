"""Choose the times at which a video is sampled, and the frame that is shown at each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gvf.errors import UserError
from gvf.video.options import VideoOptions

_TOLERANCE = 0.25  # of the median interval: containers round times, often to milliseconds


@dataclass(frozen=True)
class Samples:
    """The frames that are used. indices: [T] into the video's frames in the order they are shown. times: [T] seconds."""

    indices: np.ndarray
    times: np.ndarray
    rate: float


def choose_samples(times: np.ndarray, options: VideoOptions, name: str) -> Samples:
    """Choose frames of a video by their times.

    times: [N] seconds, ascending, from 0. With neither a number nor a rate, the video's mean rate is used: every frame
    once if its rate is constant. Each sample is the frame that is shown at that time. Raises UserError for an empty part
    or more samples than `max_frames`, before any frame is decoded.
    """
    if len(times) < 2:
        raise UserError(f"{name}: has only one frame, so nothing moves. Give a video with at least two.")
    mean_rate = (len(times) - 1) / (times[-1] - times[0])
    slack = _TOLERANCE * float(np.median(np.diff(times)))
    end = min(options.end if options.end is not None else np.inf, float(times[-1]))
    first = int(np.searchsorted(times, options.start - slack))
    last = int(np.searchsorted(times, end + slack, side="right")) - 1
    if last <= first:
        raise UserError(
            f"{name}: {max(last - first + 1, 0)} frames lie between --start {options.start:g} and "
            f"{end:g} seconds, of which at least two are needed. The video ends at {times[-1]:.3g} seconds."
        )
    start, end = float(times[first]), float(times[last])
    if options.frames is not None:
        count = min(options.frames, last - first + 1)
    else:
        count = int((end - start + slack) * (options.rate or mean_rate)) + 1
    _check_count(count, last - first + 1, end - start, options, name)
    step = (end - start) / (count - 1) if options.frames is not None else 1 / (options.rate or mean_rate)
    wanted = start + step * np.arange(count)
    indices = np.clip(np.searchsorted(times, wanted + slack, side="right") - 1, first, last)
    return Samples(indices, wanted, float(1 / step))


def _check_count(count: int, available: int, seconds: float, options: VideoOptions, name: str) -> None:
    if count < 2:
        raise UserError(
            f"{name}: --rate {options.rate:g} takes one frame of its {seconds:.3g} seconds; at least two are needed. "
            "Use a higher --rate, or --frames."
        )
    if count > options.max_frames:
        raise UserError(
            f"{name}: {count:,} frames ({seconds:.4g} seconds) would be used, and at most {options.max_frames:,} are. "
            f"Use a part (--start, --end), fewer frames (--frames {min(options.max_frames, available)}), or a lower rate "
            f"(--rate {_lower_rate(options.max_frames, seconds):g}); --max-frames raises the limit at the cost of memory."
        )


def _lower_rate(most: int, seconds: float) -> float:
    """Return a round rate at which a video has at most so many frames."""
    rate = (most - 1) / max(seconds, 1e-6)
    return float(f"{rate * 0.99:.2g}") if rate < 10 else float(int(rate))
