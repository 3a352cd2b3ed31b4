"""The files of an asset's folder besides its Gaussians and manifest: previews, and the check of the folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from gvf.errors import UserError
from gvf.locks import demand_writable
from gvf.storage.files import PathLike, atomic_path
from gvf.video.writing import write_video

MANIFEST_NAME = "manifest.json"
ASSET_NAME, MESH_NAME, PAGE_NAME, CANONICAL_NAME = "asset.glb", "mesh.glb", "index.html", "canonical.ply"
PREVIEW_NAME, TURNTABLE_NAME, INPUT_NAME = "preview.mp4", "turntable.mp4", "input.png"
TURN_SECONDS = 6.0
_MIN_RATE = 6.0  # frames per second below which players stutter


def demand_asset_folder(folder: PathLike) -> None:
    """Raise UserError unless a new asset may be written to the folder: it is missing, empty, or holds an asset.

    Whether it can be written is checked as well, so that this is known before the work starts.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file. Name a folder with -o.")
    if path.is_dir() and any(path.iterdir()) and not (path / MANIFEST_NAME).is_file():
        raise UserError(
            f"{path}: holds other files, and writing an asset replaces the whole folder. Name a new folder with -o."
        )
    demand_writable([path])


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """Return square uint8 images [T, S, S, 3] at another size [T, size, size, 3]."""
    if images.shape[1] == size:
        return images
    scale = Image.Resampling.LANCZOS
    return np.stack([np.asarray(Image.fromarray(image).resize((size, size), scale)) for image in images])


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return pairs of images [T, H, 2 W, 3] of two sequences [T, H, W, 3]."""
    return np.concatenate([left, right], axis=2)


def playable_rate(frames_per_second: float) -> tuple[float, int]:
    """Return a rate that players show evenly, and how often each frame is repeated for it."""
    repeats = max(1, int(np.ceil(_MIN_RATE / frames_per_second)))
    return frames_per_second * repeats, repeats


def write_preview(path: PathLike, frames: np.ndarray, frames_per_second: float) -> None:
    """Write frames [T, H, W, 3] as a video; frames of a slow animation are repeated."""
    rate, repeats = playable_rate(frames_per_second)
    write_video(path, np.repeat(frames, repeats, axis=0), rate)


def video_bytes(frames: np.ndarray, frames_per_second: float) -> bytes:
    """Return frames [T, H, W, 3] as the bytes of an MP4 file that shows each of them once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        write_video(path, frames, frames_per_second)
        return path.read_bytes()


def write_png(path: PathLike, image: np.ndarray) -> None:
    """Write an image [H, W, 3 or 4] uint8 as PNG."""
    with atomic_path(path) as partial:
        Image.fromarray(image).save(partial, format="PNG")
