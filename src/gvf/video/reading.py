"""Read the sampled frames of a video file, an animated image or a folder of frames, reduced on the way."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gvf.errors import UserError, ends_the_run
from gvf.progress import Progress
from gvf.storage.files import PathLike
from gvf.text import clean
from gvf.video.animations import is_image, open_animation
from gvf.video.clip import Clip
from gvf.video.containers import VideoFile, open_video
from gvf.video.findings import Finding
from gvf.video.folders import FrameFolder
from gvf.video.high_dynamic_range import TRANSFERS
from gvf.video.options import VideoOptions
from gvf.video.pictures import is_high_dynamic_range, picture, shown_size
from gvf.video.sampling import Samples, choose_samples

_MOST_LOST = 0.1  # of the frames; a file with more missing is refused
_UNSURE = 0.02  # headers are that exact


def read_clip(path: PathLike, options: VideoOptions, progress: Progress) -> Clip:
    """Read the frames that `options` choose. Raises UserError for anything that is no readable video.

    Memory holds the sampled frames, reduced to `max_size`, and one decoder. What must be refused is refused from the
    headers and timestamps where possible, before a frame is decoded.
    """
    path = Path(path)
    name = clean(str(path))
    if path.is_dir():
        return _read_folder(path, options, name, progress)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{name}: is neither a file nor a folder. Give a video file, or a folder of frames.")
        file = path.open("rb")
    except OSError as error:
        if ends_the_run(error):
            raise
        raise UserError(
            f"{name}: cannot be read ({error.strerror}). Give a video file, or a folder of frames."
        ) from None
    with file:
        if is_image(file.read(64)):
            with open_animation(file, name) as animation:
                samples = choose_samples(animation.times, options, name)
                frames = animation.pictures(samples.indices, options.max_size)
                stack, count = _collected(frames, samples, progress)
                findings = _damage(samples, count, animation.complete, name)
                return _clip(stack, samples, animation.source_size, findings)
        file.seek(0)
        with open_video(path, file, name) as video:
            return _read_video(video, options, name, progress)


def _read_folder(path: Path, options: VideoOptions, name: str, progress: Progress) -> Clip:
    folder = FrameFolder(path, options, name)
    samples = choose_samples(folder.times, options, name)
    folder.check_sizes(samples.indices)
    stack, _ = _collected(folder.pictures(samples.indices, options.max_size), samples, progress)
    return _clip(stack, samples, folder.source_size, [])


def _read_video(video: VideoFile, options: VideoOptions, name: str, progress: Progress) -> Clip:
    _check_whole(video, options, name)
    samples = choose_samples(video.times, options, name)
    notes: dict[str, Finding] = {}
    sizes: list[tuple[int, int]] = []

    def pictures() -> Iterable[np.ndarray]:
        for frame in video.frames(samples.indices):
            sizes.append(shown_size(frame, video.pixel_ratio))
            if sizes[-1] != sizes[0]:
                raise UserError(
                    f"{name}: its size changes from {sizes[0][0]} x {sizes[0][1]} to {sizes[-1][0]} x {sizes[-1][1]} "
                    f"pixels at {samples.times[len(sizes) - 1]:.3g} seconds. Use one part with --start and --end."
                )
            if is_high_dynamic_range(frame):
                notes["hdr"] = Finding(
                    "hdr", "note", f"The video is HDR ({TRANSFERS[int(frame.color_trc)]}); it was tone-mapped to sRGB."
                )
            yield picture(frame, sizes[0], options.max_size)

    stack, count = _collected(pictures(), samples, progress)
    whole = video.complete and video.missing < _UNSURE
    findings = [*_damage(samples, count, whole, name), *notes.values()]
    if not video.ordered:
        findings.append(
            Finding(
                "timestamps",
                "warning",
                "The video's timestamps are missing or repeated, so its frames were spaced evenly. Export it again if "
                "its speed is wrong.",
            )
        )
    return _clip(stack, samples, sizes[0], findings)


def _check_whole(video: VideoFile, options: VideoOptions, name: str) -> None:
    """Raise UserError for a file that lacks much of its video, unless the part that is used ends before."""
    enough = options.end is not None and options.end <= video.times[-1]
    if video.missing > _MOST_LOST and not enough:
        raise UserError(
            f"{name}: is cut off or damaged: {video.missing:.0%} of it is missing. Copy or export it again, or use "
            f"the part before with --end {video.times[-1]:.3g}."
        )


def _collected(frames: Iterable[np.ndarray], samples: Samples, progress: Progress) -> tuple[np.ndarray, int]:
    """Return the frames [T, H, W, 4] in one array, and how many there were."""
    stack, count = None, 0
    total = len(samples.indices)
    with progress.step("read video", total=total, unit="frames") as step:
        for image in frames:
            if stack is None:
                stack = np.empty((total, *image.shape), np.uint8)
            stack[count] = image
            count += 1
            step.advance()
    return (np.empty((0, 0, 0, 4), np.uint8) if stack is None else stack[:count]), count


def _damage(samples: Samples, count: int, complete: bool, name: str) -> list[Finding]:
    """Report frames that could not be read. Raises UserError when too many are missing."""
    total = len(samples.indices)
    if count < max(2, (1 - _MOST_LOST) * total):
        raise UserError(
            f"{name}: is cut off or damaged: {count} of {total} frames could be read. Copy or export it again, or use the "
            "part before with --end."
        )
    if complete and count == total:
        return []
    return [
        Finding(
            "damaged",
            "warning",
            f"The video is cut off or damaged: {count} of {total} frames could be read. Copy or export it again.",
        )
    ]


def _clip(frames: np.ndarray, samples: Samples, size: tuple[int, int], findings: list[Finding]) -> Clip:
    return Clip(frames, samples.times[: len(frames)], samples.rate, size, tuple(findings))
