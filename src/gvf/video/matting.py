"""Choose where the foreground mask of a video comes from, and cut the object out of every frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from gvf.errors import UserError
from gvf.progress import Progress
from gvf.video.clip import Clip
from gvf.video.components import followed, without_specks
from gvf.video.edges import with_inner_colors
from gvf.video.findings import Finding
from gvf.video.keying import Backdrop, find_backdrop, key
from gvf.video.options import VideoOptions
from gvf.video.saliency import SaliencyNetwork

_PROBED = 16  # frames in which a plain background is looked for
_ROUND_CORNERS = 0.003  # transparency of a recorded window, whose alpha is no mask
_FAINT = 0.2  # a map that stays below shows no object
_EDGE = (0.25, 0.75)  # values of a network's map that become alpha 0 and 1


def matted(clip: Clip, options: VideoOptions, name: str, progress: Progress) -> tuple[Clip, str]:
    """Return the clip with the object cut out, and the method: `alpha`, `key`, `network` or `none`.

    An alpha channel is used unchanged; under `auto`, one that is no more than round corners is ignored. Raises UserError
    when the method asked for is not possible.
    """
    method = options.matting
    if method == "none":
        return clip, method
    if method == "auto" and clip.transparency > _ROUND_CORNERS:
        return clip, "alpha"
    if method == "alpha":
        if clip.has_alpha:
            return clip, "alpha"
        raise UserError(f"{name}: has no transparency. Use --matting auto, or export the video with alpha.")
    if method in ("auto", "key"):
        if all(find_backdrop(clip.frames[index, ..., :3]) for index in _spread(len(clip.frames))):
            return _masked(clip, _Keying(), "key", progress), "key"
        if method == "key":
            raise UserError(
                f"{name}: its background is not plain. Use --matting network, or film it in front of a plain wall."
            )
    try:
        network = SaliencyNetwork(options.matting_model)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    clip = _masked(clip, _Following(network), network.name, progress)
    note = Finding(
        "network", "note", f"The masks come from the network {network.name}: check them on the contact sheet."
    )
    return replace(clip, findings=(*clip.findings, note)), "network"


class _Keying:
    """Keys one frame after another; a frame without a plain border takes the background of the frame before."""

    def __init__(self) -> None:
        self._last: Backdrop | None = None

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        self._last = find_backdrop(rgb) or self._last
        assert self._last is not None  # the first frame is probed
        image = key(rgb, self._last)
        image[~ndimage.binary_dilation(without_specks(image[..., 3] > 127), iterations=2)] = 0
        return image


class _Following:
    """Applies a network to one frame after another and keeps the object of the frame before."""

    def __init__(self, network: SaliencyNetwork) -> None:
        self._network = network
        self._before: np.ndarray | None = None

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        found = self._network.map(rgb)
        found = found / found.max() if found.max() > _FAINT else np.zeros_like(found)
        solid = followed(found > 0.5, self._before)
        self._before = solid if solid.any() else self._before
        reach = max(2, round(0.01 * max(rgb.shape)))
        low, high = _EDGE
        alpha = np.clip((found - low) / (high - low), 0, 1) * ndimage.binary_dilation(solid, iterations=reach)
        return with_inner_colors(rgb, alpha.astype(np.float32))


def _masked(clip: Clip, mask: Callable[[np.ndarray], np.ndarray], note: str, progress: Progress) -> Clip:
    """Return the clip with every frame replaced by what `mask` makes of its colours."""
    with progress.step("mask", total=len(clip.frames), unit="frames") as step:
        step.note(note)
        for frame in clip.frames:  # in place: two copies of all frames need not fit
            frame[:] = mask(np.ascontiguousarray(frame[..., :3]))
            step.advance()
    return clip


def _spread(count: int) -> np.ndarray:
    """Return the indices of at most _PROBED frames, evenly spread, the first among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _PROBED)).round().astype(int))
