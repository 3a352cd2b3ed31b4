"""Write an asset's moving Gaussians, or some frames of them, in any format of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gvf.errors import UserError
from gvf.formats.asset_glb import save_asset_glb
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
    """Moving Gaussians to be exported.

    gaussians: fields [T, N, ...]. low_pass, compensate: the rendering convention (`rendering.rasterize`). camera: of the
    input video, if it is known. facts: what an `asset.glb` notes besides.
    """

    gaussians: Gaussians
    frames_per_second: float
    low_pass: float
    compensate: bool
    camera: OrbitCamera | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Shot:
    """How a video is rendered.

    view: one camera for all images, that of the input video, or a camera that circles the object once. size: pixels.
    background: RGB in [0, 1], display sRGB; None for transparent. seconds: least duration of the turn.
    """

    view: OrbitCamera | Literal["turntable", "input"] = "turntable"
    size: int = 512
    background: tuple[float, float, float] | None = (1.0, 1.0, 1.0)
    seconds: float = 6.0


def export(moving: Moving, name: str, path: Path, first: int, shot: Shot, progress: Progress) -> None:
    """Write `moving` to `path` in the format `name` of the table.

    path: a folder where the format holds one frame per file and there are several, else a file. first: number of the
    first frame, for the names of numbered files. shot: for the formats of videos.
    """
    form, num_frames = FORMATS[name], len(moving.gaussians.means)
    if form.video:
        _write_video(moving, path, shot, progress)
        return
    with progress.step("write", num_frames, "frames") as step:
        if name == "glb":
            save_asset_glb(
                path,
                moving.gaussians,
                moving.frames_per_second,
                moving.facts,
                low_pass=moving.low_pass,
                compensate=moving.compensate,
            )
            step.advance(num_frames)
        elif name == "usd":
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


def _write_video(moving: Moving, path: Path, shot: Shot, progress: Progress) -> None:
    num_frames = len(moving.gaussians.means)
    if shot.view == "turntable":
        length = turntable_length(num_frames, moving.frames_per_second, shot.seconds)
        cameras = turntable_cameras(length)
    else:
        cameras = [_fixed_camera(moving, shot)] * num_frames
    with progress.step("render", len(cameras), "images") as step:
        images = draw_moments(
            moving.gaussians,
            [index % num_frames for index in range(len(cameras))],
            cameras,
            shot.size,
            background=shot.background,
            low_pass=moving.low_pass,
            compensate=moving.compensate,
        )

        def counted() -> Iterator[np.ndarray]:
            for image in images:
                yield image
                step.advance()

        write_video(path, counted(), moving.frames_per_second)


def _fixed_camera(moving: Moving, shot: Shot) -> OrbitCamera:
    if isinstance(shot.view, OrbitCamera):
        return shot.view
    if moving.camera is None:
        raise UserError("The camera of the input video is not known. Use another view, such as 0,0.")
    return moving.camera
