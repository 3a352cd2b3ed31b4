"""Render conditioning videos of animated models, with the lighting and framing of training videos."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from gvf.data.gltf.animation import Animation
from gvf.data.gltf.baking import clip_times
from gvf.data.mesh import encode_png
from gvf.data.named_clip import bake_named_clip
from gvf.errors import UserError
from gvf.geometry.camera import CONSISTENT4D_ORBIT, OrbitCamera
from gvf.progress import Progress
from gvf.rendering.mesh_views import MeshRenderer
from gvf.storage.files import atomic_path, fresh_directory, sha256
from gvf.video.writing import write_video

FRAMES = 24  # Sec. 4.2: frames of a training clip
INDEX_NAME = "film.json"
VIDEO_SUFFIXES = (".mp4", ".webm", ".gif")
MAX_FRAMES = 10_000
_MAX_BYTES = 4 << 30  # of all frames, which are in memory at once
_GIF_TICK = 0.01  # seconds; the unit of a GIF's frame times


@dataclass(frozen=True)
class FilmOptions:
    """Settings of the rendering.

    frames: number of frames, evenly spaced from the first keyframe to the last; with `frames_per_second`, the first ones
    at that rate. frames_per_second: rate at which the clip is sampled, instead of a number of frames. size: height and
    width, pixels. samples: rays along each side of a pixel.
    """

    azimuth: float = 0.0
    elevation: float = 0.0
    fov: float = CONSISTENT4D_ORBIT.fov
    frames: int | None = None
    frames_per_second: float | None = None
    size: int = 512
    samples: int = 4

    @property
    def camera(self) -> OrbitCamera:
        """Return the camera, at the distance from which training videos are seen."""
        return OrbitCamera(self.azimuth, self.elevation, CONSISTENT4D_ORBIT.radius, self.fov)


@dataclass(frozen=True)
class Film:
    """A rendered clip.

    frames: uint8 [T, S, S, 4] sRGB with straight alpha. times: [T] seconds from the clip's first keyframe. file, sha256: the
    model's name and digest. side, center: the object's longest side over all frames and the middle of its bounding box, in
    the file's units and axes.
    """

    frames: np.ndarray
    camera: OrbitCamera
    frames_per_second: float
    times: np.ndarray
    file: str
    sha256: str
    clip: str
    samples: int
    side: float
    center: tuple[float, float, float]

    @property
    def touches_border(self) -> bool:
        """Return whether a frame shows the object at the border of the picture, where it may be cut off."""
        alpha = self.frames[..., 3]
        return any(edge.any() for edge in (alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1]))

    def facts(self) -> dict[str, Any]:
        """Return what is known beside the frames, ready for JSON."""
        return {
            "file": self.file,
            "sha256": self.sha256,
            "clip": self.clip,
            "num_frames": len(self.frames),
            "frames_per_second": self.frames_per_second,
            "times": self.times.tolist(),
            "size": self.frames.shape[1],
            "samples": self.samples,
            "camera": asdict(self.camera),
            "object": {"side": self.side, "center": list(self.center)},
        }


def film(path: Path, clip: str | None, options: FilmOptions, progress: Progress) -> Film:
    """Render one animation of a .glb or .gltf file; `clip` may be None when there is only one.

    The object is normalised over all frames and lit as in training. Raises UserError when the file, the clip or the options
    cannot be used.
    """
    with progress.step("bake"):
        baked = bake_named_clip(path, clip, _times_of(options))
        low, high = baked.mesh.vertices.min(axis=(0, 1)), baked.mesh.vertices.max(axis=(0, 1))
        mesh = baked.normalized().mesh
    camera = options.camera
    viewmats, Ks = camera.viewmat[None], camera.K[None]
    frames = np.empty((mesh.num_frames, options.size, options.size, 4), np.uint8)
    renderer = MeshRenderer(mesh)
    with progress.step("render", total=len(frames), unit="frames") as step:
        for frame, vertices in zip(frames, mesh.vertices):
            frame[:] = renderer.render(vertices, viewmats, Ks, options.size, options.samples)[0]
            step.advance()
    duration = baked.end - baked.start
    rate = options.frames_per_second or (len(frames) - 1) / duration
    times = np.arange(len(frames)) / rate
    x, y, z = ((low + high) / 2.0).tolist()
    return Film(
        frames, camera, rate, times, path.name, sha256(path), baked.name, options.samples, float((high - low).max()), (x, y, z)
    )  # fmt: skip


def _times_of(options: FilmOptions) -> Callable[[Animation], np.ndarray]:
    """Return the function that chooses the times [T] of an animation, and refuses one that they do not fit."""

    def choose(animation: Animation) -> np.ndarray:
        duration, rate = animation.end - animation.start, options.frames_per_second
        if duration <= 0.0:
            raise UserError(
                f"{animation.name!r} has a single keyframe, so nothing moves. Choose another animation with --clip."
            )
        if rate is None:
            _require_room(options.frames or FRAMES, options.size)
            return clip_times(animation, options.frames or FRAMES)
        fitting = math.floor(min(duration * rate, float(MAX_FRAMES)) + 1e-6) + 1
        count = options.frames or fitting
        if count > fitting or fitting < 2:
            raise UserError(
                f"{animation.name!r} lasts {duration:.3g} s, which at {rate:g} frames per second is {fitting} of them, not "
                f"{max(count, 2)}. Raise --fps, or leave it out to spread the frames over the clip."
            )
        _require_room(count, options.size)
        return animation.start + np.arange(count) / rate

    return choose


def _require_room(num_frames: int, size: int) -> None:
    if num_frames > MAX_FRAMES or 4 * num_frames * size * size > _MAX_BYTES:
        raise UserError(
            f"{num_frames} frames of {size} x {size} pixels are too many: at most {MAX_FRAMES} frames and "
            f"{_MAX_BYTES >> 30} GiB. Lower --frames, --fps or --size."
        )


def parse_color(text: str) -> tuple[int, int, int]:
    """Return the sRGB values of a colour such as `white` or `#1e90ff`. Raises UserError for anything else."""
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise UserError(f"{text!r} is not a colour. Give a name such as white, or #rrggbb.") from None
    return red, green, blue


def over_color(frames: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Composite uint8 RGBA frames [..., 4] with straight alpha over a colour: uint8 RGB [..., 3]."""
    rgb = np.empty((*frames.shape[:-1], 3), np.uint8)
    for target, frame in zip(rgb, frames):  # one at a time, so that floats of a long film need little memory
        alpha = frame[..., 3:].astype(np.float32) / 255.0
        target[:] = np.rint(frame[..., :3] * alpha + np.array(color, np.float32) * (1.0 - alpha))
    return rgb


def save_film(film: Film, output: Path, color: tuple[int, int, int] | None) -> None:
    """Write a video (.mp4, .webm, .gif) over a colour, white by default, or a folder of numbered PNG frames with `film.json`.

    Frames in a folder keep their alpha unless a colour is given. Raises UserError for another suffix, and for a folder that
    holds anything but a film.
    """
    check_output(output, film.frames.shape[1])
    suffix = output.suffix.lower()
    if suffix not in VIDEO_SUFFIXES:
        _save_frames(film, output, color)
        return
    frames = over_color(film.frames, color or (255, 255, 255))
    if suffix == ".gif":
        _save_gif(output, frames, film.frames_per_second)
    else:
        write_video(output, frames, film.frames_per_second)


def check_output(output: Path, size: int) -> None:
    """Raise UserError when no film can be written there, so that it is known before anything is rendered."""
    suffix = output.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        if suffix != ".gif" and size % 2:
            raise UserError(f"{output}: a video needs an even --size, not {size}.")
        if output.is_dir():
            raise UserError(f"{output}: is a folder. Name a file, or a folder whose name does not end like a video.")
        return
    if output.suffix and not output.is_dir():
        raise UserError(f"{output}: must end in {', '.join(VIDEO_SUFFIXES)}, or be a folder for frames.")
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file, not a folder for frames.")
    if output.is_dir() and any(output.iterdir()) and not (output / INDEX_NAME).is_file():
        raise UserError(f"{output}: holds other files, which would be deleted. Name a new or an empty folder.")


def _save_frames(film: Film, output: Path, color: tuple[int, int, int] | None) -> None:
    with fresh_directory(output) as folder:
        for number, frame in enumerate(film.frames):
            image = frame if color is None else over_color(frame[None], color)[0]
            (folder / f"{number:04d}.png").write_bytes(encode_png(image))
        (folder / INDEX_NAME).write_text(json.dumps(film.facts(), indent=2) + "\n", encoding="utf-8")


def _save_gif(output: Path, frames: np.ndarray, frames_per_second: float) -> None:
    """Write a GIF that loops. Frame times are whole hundredths of a second whose sum does not drift."""
    ticks = np.diff(np.rint(np.arange(len(frames) + 1) / frames_per_second / _GIF_TICK)).clip(min=2)
    first, *rest = (Image.fromarray(frame) for frame in frames)
    with atomic_path(output) as partial:
        first.save(
            partial, save_all=True, append_images=rest, duration=(ticks * 10.0).astype(int).tolist(), loop=0, disposal=1
        )
