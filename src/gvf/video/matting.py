"""Choose where the foreground mask of a video comes from, and apply it to every frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gvf.errors import UserError
from gvf.progress import Progress
from gvf.video.clip import Clip
from gvf.video.keying import Backdrop, find_backdrop, key
from gvf.video.options import VideoOptions

_PROBED = 16  # frames in which a plain background is looked for


def matted(clip: Clip, options: VideoOptions, name: str, progress: Progress) -> tuple[Clip, str]:
    """Return the clip with the object cut out, and the method: `alpha`, `key`, `network` or `none`.

    Raises UserError when the method asked for is not possible.
    """
    method = options.matting
    if method == "none":
        return clip, method
    if method in ("auto", "alpha"):
        if clip.has_alpha:
            return clip, "alpha"
        if method == "alpha":
            raise UserError(f"{name}: has no transparency. Use --matting auto, or export the video with alpha.")
    if method in ("auto", "key"):
        if all(find_backdrop(clip.frames[index, ..., :3]) for index in _spread(len(clip.frames))):
            return _keyed(clip, progress), "key"
        if method == "key":
            raise UserError(
                f"{name}: its background is not plain. Use --matting network, or film it before a plain wall."
            )
    raise UserError(f"{name}: needs a network.")


def _keyed(clip: Clip, progress: Progress) -> Clip:
    frames = np.empty_like(clip.frames)
    last: Backdrop | None = None
    with progress.step("mask", total=len(frames), unit="frames") as step:
        step.note("key")
        for index, frame in enumerate(clip.frames):
            last = find_backdrop(frame[..., :3]) or last
            assert last is not None  # the first frame is probed
            frames[index] = key(frame[..., :3], last)
            step.advance()
    return replace(clip, frames=frames)


def _spread(count: int) -> np.ndarray:
    """Return the indices of at most _PROBED frames, evenly spread, the first among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _PROBED)).round().astype(int))
