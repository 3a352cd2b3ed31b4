"""Write an asset's moving Gaussians, or some frames of them, in any format of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from gvf.formats.numbered import save_numbered
from gvf.formats.splat import save_splat
from gvf.formats.spz import save_spz
from gvf.formats.table import FORMATS
from gvf.formats.usd import save_usd
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.ply import save_ply
from gvf.geometry.camera import OrbitCamera
from gvf.progress import Progress
from gvf.rendering.moments import draw_moments
from gvf.rendering.turntable import turntable_cameras, turntable_length
from gvf.video.writing import write_video


@dataclass(frozen=True)
class Moving:
    """Gaussians [T, N, ...], their frame rate, the rendering convention, and the camera of the input video if known."""

    gaussians: Gaussians
    frames_per_second: float
    low_pass: float
    compensate: bool
    camera: OrbitCamera | None = None


@dataclass(frozen=True)
class Film:
    """How a video is rendered.

    camera: of all images; None for a camera that circles the object once. size: pixels. background: RGB in [0, 1],
    display sRGB; None for transparent. seconds: least duration of the turn.
    """

    camera: OrbitCamera | None = None
    size: int = 512
    background: tuple[float, float, float] | None = (1.0, 1.0, 1.0)
    seconds: float = 4.0


def export(moving: Moving, name: str, path: Path, first: int, film: Film, progress: Progress) -> None:
    """Write `moving` to `path` in the format `name` of the table.

    path: a folder where the format holds one frame per file and there are several, else a file. first: number of the
    first frame, for the names of numbered files. film: for the formats of videos.
    """
    form, num_frames = FORMATS[name], len(moving.gaussians.means)
    if form.video:
        _write_film(moving, path, film, progress)
        return
    with progress.step("write", num_frames, "frames") as step:
        if name == "usd":
            save_usd(
                path,
                moving.gaussians,
                moving.frames_per_second,
                low_pass=moving.low_pass,
                compensate=moving.compensate,
                camera=moving.camera,
                step=step,
            )
        elif num_frames == 1:
            _save_moment(moving, name)(path, moving.gaussians[0])
            step.advance()
        else:
            numbers = range(first, first + num_frames)
            save_numbered(path, moving.gaussians, numbers, form.suffixes[0], _save_moment(moving, name), step)


def _save_moment(moving: Moving, name: str) -> Callable[[Path, Gaussians], None]:
    """Return the function that writes one frame of a numbered format."""
    if name == "ply":
        facts = (
            f"written by gvf; {moving.frames_per_second:g} frames per second",
            f"rendered with low_pass {moving.low_pass:g} pixels^2, opacity compensation {moving.compensate}",
        )
        return partial(save_ply, comments=facts)
    return save_splat if name == "splat" else partial(save_spz, antialiased=moving.compensate)


def _write_film(moving: Moving, path: Path, film: Film, progress: Progress) -> None:
    num_frames = len(moving.gaussians.means)
    if film.camera is None:
        length = turntable_length(num_frames, moving.frames_per_second, film.seconds)
        cameras = turntable_cameras(length)
    else:
        cameras = [film.camera] * num_frames
    with progress.step("render", len(cameras), "images") as step:
        images = draw_moments(
            moving.gaussians,
            [index % num_frames for index in range(len(cameras))],
            cameras,
            film.size,
            background=film.background,
            low_pass=moving.low_pass,
            compensate=moving.compensate,
        )

        def counted() -> Iterator[np.ndarray]:
            for image in images:
                yield image
                step.advance()

        write_video(path, counted(), moving.frames_per_second)
