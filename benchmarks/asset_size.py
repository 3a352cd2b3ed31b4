"""Measure size, errors and time of `asset.glb` beside other files of the same moving Gaussians.

A clip of `data/predictions` (as `dvc repro` leaves it) is written as it is, and made larger and longer: resampled over time
by cubic splines to 24 frames, with more Gaussians than it has. A further Gaussian lies within the shape of one that is
there, turns with it, and moves by a mix of its change and that of a neighbour, which keeps the spread of neighbours. To all
values comes noise without any correlation, of which each frame has its own (`--noise`, in parts of the spread of the changes).

The peers: numbered PLY and SPZ files, one per frame; an npz of float16 values; and `differences`, the plain coding of the
same attributes as integers (positions in 16 bits of the extent, logarithms of scale, colours and opacities in 8 of their
range, quaternions in 12), second differences over time in Morton order, one zlib stream per channel and 16 frames, beside
the same frame 0.

    python benchmarks/asset_size.py [--clip NAME] [--noise 0.01] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from gvf.formats.asset_glb import load_asset_glb, save_asset_glb
from gvf.formats.compact.transform import morton_order
from gvf.formats.spz import save_spz
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.ply import save_ply
from gvf.gaussians.sh import SH_C0
from gvf.geometry.camera import OrbitCamera
from gvf.rendering.splats import draw_gaussians
from gvf.storage.files import load_tensors, write_json

COUNTS = (8_000, 50_000, 200_000)
NUM_FRAMES = 24
SEGMENT = 16
DRAWN = (0, 7, 16)  # frames, modulo their number
AZIMUTHS = (30.0, 200.0)

Values = NDArray[np.float32]  # [T, N, 14], activated, in the order of `Gaussians.to_activated14`


@dataclass(frozen=True)
class Errors:
    """Errors over all Gaussians and frames, as RMS and largest.

    position: distance over the extent; rotation: degrees; scale: relative; color, opacity: parts of 255.
    """

    position: tuple[float, float]
    rotation: tuple[float, float]
    scale: tuple[float, float]
    color: tuple[float, float]
    opacity: tuple[float, float]


@dataclass(frozen=True)
class Row:
    """One clip. sizes: bytes by file format. seconds: CPU time to write and to read asset.glb. psnr: dB of drawn frames."""

    num_frames: int
    num_gaussians: int
    sizes: dict[str, int]
    seconds: tuple[float, float]
    errors: dict[str, Errors]
    psnr: float
    psnr_first: float


def load_clip(path: Path) -> Values:
    """Return the moving Gaussians that stage `sample` wrote for a clip."""
    tensors = load_tensors(path)
    moving = Gaussians.from_activated14(tensors["canonical"]).vary(tensors["variation"])
    return moving.to_activated14().numpy()


def enlarge(clip: Values, count: int, noise: float, seed: int = 0) -> Values:
    """Return a clip of 24 frames and `count` Gaussians made from another, as the docstring of this file says."""
    generator = np.random.default_rng(seed)
    quats = clip[..., 10:14]
    for before, after in pairwise(quats):
        after *= np.where((before * after).sum(-1, keepdims=True) < 0, -1.0, 1.0).astype(np.float32)
    times = np.linspace(0, len(clip) - 1, NUM_FRAMES)
    clip = CubicSpline(np.arange(len(clip)), clip.astype(np.float64), axis=0)(times)
    changes = clip - clip[:1]
    parent = np.arange(count) % clip.shape[1]
    _, near = cKDTree(clip[0, :, :3]).query(clip[0, :, :3], k=min(5, clip.shape[1]))
    other = near[parent, generator.integers(1, near.shape[1], count)]
    share = np.where(np.arange(count) < clip.shape[1], 0.0, generator.uniform(-0.5, 0.5, count))[:, None]
    offsets = generator.normal(size=(count, 3)) * clip[0, parent, 7:10] * (share != 0)
    made = np.empty((NUM_FRAMES, count, 14), np.float32)
    spread = changes.std(axis=(0, 1))
    for t in range(NUM_FRAMES):
        values = clip[0, parent] + (1 - share) * changes[t, parent] + share * changes[t, other]
        values += noise * spread * generator.normal(size=values.shape)
        turned = Rotation.from_quat(clip[t, parent, 10:14], scalar_first=True)
        own = Rotation.from_quat(clip[0, parent, 10:14], scalar_first=True)
        values[:, :3] += (turned * own.inv()).apply(own.apply(offsets))
        values[:, 6] = np.clip(values[:, 6], 0.001, 0.999)
        values[:, 7:10] = np.maximum(values[:, 7:10], 1e-4)
        values[:, 10:14] /= np.linalg.norm(values[:, 10:14], axis=-1, keepdims=True)
        made[t] = values
    return made[
        :, np.argsort(parent, kind="stable")
    ]  # beside their parents, as the decoder writes Gaussians of a voxel


def differences(values: Values) -> tuple[int, Values]:
    """Return the bytes of the plain integer coding, and the values that a reader gets, in Morton order."""
    values = values[:, morton_order(np.ascontiguousarray(values[0, :, :3]))].astype(np.float64)
    values[..., 7:10] = np.log(values[..., 7:10])
    for before, after in zip(values[:-1, :, 10:14], values[1:, :, 10:14]):
        after *= np.where((before * after).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    size, restored = 0, np.empty_like(values)
    extent = np.ptp(values[..., :3], axis=(0, 1)).max()
    for channel in range(14):
        series = values[..., channel]
        low, levels = series.min(), 255
        step = np.ptp(series) / levels
        if channel < 3:
            step = extent / 65535
        elif channel >= 10:
            low, step = 0.0, 1 / 2047
        step = step or 1.0
        integers = np.rint((series - low) / step).astype(np.int64)
        restored[..., channel] = integers * step + low
        for start in range(0, len(integers), SEGMENT):
            part = integers[start : start + SEGMENT]
            residuals = np.concatenate([part[:1], np.diff(part[:2], axis=0), np.diff(part, n=2, axis=0)])
            zigzag = np.where(residuals >= 0, 2 * residuals, -2 * residuals - 1)
            planes = [
                (zigzag >> shift).astype(np.uint8) for shift in range(0, max(1, int(zigzag.max()).bit_length()), 8)
            ]
            size += len(zlib.compress(b"".join(plane.tobytes() for plane in planes), 9))
    restored[..., 7:10] = np.exp(restored[..., 7:10])
    restored[..., 10:14] /= np.linalg.norm(restored[..., 10:14], axis=-1, keepdims=True)
    return size, restored.astype(np.float32)


def errors(restored: Values, values: Values) -> Errors:
    """Compare values [T, N, 14] in the same order."""
    extent = float(np.ptp(values[..., :3], axis=(0, 1)).max())
    dots = np.abs((restored[..., 10:14].astype(np.float64) * values[..., 10:14]).sum(-1))
    lengths = np.linalg.norm(restored[..., 10:14].astype(np.float64), axis=-1) * np.linalg.norm(
        values[..., 10:14].astype(np.float64), axis=-1
    )
    angles = 2 * np.degrees(np.arccos(np.minimum(dots / lengths, 1.0)))

    def both(found: np.ndarray) -> tuple[float, float]:
        return float(np.sqrt(np.square(found).mean())), float(found.max())

    return Errors(
        position=both(np.linalg.norm(restored[..., :3].astype(np.float64) - values[..., :3], axis=-1) / extent),
        rotation=both(angles),
        scale=both(np.abs(restored[..., 7:10].astype(np.float64) / values[..., 7:10] - 1)),
        color=both(255 * SH_C0 * np.abs(restored[..., 3:6].astype(np.float64) - values[..., 3:6])),
        opacity=both(255 * np.abs(restored[..., 6].astype(np.float64) - values[..., 6])),
    )


def psnr(restored: Gaussians, gaussians: Gaussians, frames: tuple[int, ...], size: int = 256) -> float:
    """Return the PSNR in dB of images of some frames, drawn from both, over white."""
    cameras = [OrbitCamera(azimuth, 15.0, 2.0, 40.0) for azimuth in AZIMUTHS]
    viewmats = torch.from_numpy(np.stack([camera.viewmat for camera in cameras])).float()
    Ks = torch.from_numpy(np.stack([camera.K for camera in cameras])).float()
    images = [
        [draw_gaussians(moving[t], viewmats, Ks, size).clamp(0, 1) for t in frames] for moving in (restored, gaussians)
    ]
    squares = (torch.stack(images[0]) - torch.stack(images[1])).square()
    return float(-10 * torch.log10(squares.mean().clamp_min(1e-12)))


def measure(values: Values, folder: Path) -> Row:
    """Write a clip in all formats, read asset.glb and compare."""
    gaussians = Gaussians.from_activated14(torch.from_numpy(values))
    values = gaussians.to_activated14().numpy()  # what is stored
    writing, _ = timed(lambda: save_asset_glb(folder / "asset.glb", gaussians, 24.0))
    reading, sequence = timed(lambda: load_asset_glb(folder / "asset.glb"))
    restored = sequence.gaussians.to_activated14().numpy()
    sizes = {"asset.glb": (folder / "asset.glb").stat().st_size}
    plain_size, plain = differences(values)
    first = folder / "first.glb"  # frame 0 for other readers, which a file of differences needs as well
    save_asset_glb(first, gaussians[:1], 24.0)
    sizes["differences"] = plain_size + first.stat().st_size
    save_ply(folder / "frame.ply", gaussians[0])
    sizes["PLY"] = len(values) * (folder / "frame.ply").stat().st_size
    sizes["SPZ"] = 0
    for t in range(len(values)):
        save_spz(folder / "frame.spz", gaussians[t], antialiased=True)
        sizes["SPZ"] += (folder / "frame.spz").stat().st_size
    half = io.BytesIO()
    np.savez_compressed(half, values.astype(np.float16))
    sizes["float16 npz"] = half.getbuffer().nbytes
    order = morton_order(np.ascontiguousarray(values[0, :, :3]))
    found = {"asset.glb": errors(restored, values), "differences": errors(plain, values[:, order])}
    frames = tuple(t % len(values) for t in DRAWN)
    drawn = psnr(sequence.gaussians, gaussians, frames[1:]), psnr(sequence.gaussians, gaussians, frames[:1])
    return Row(len(values), values.shape[1], sizes, (writing, reading), found, *drawn)


def timed(function: Callable[[], object]) -> tuple[float, object]:
    """Return the CPU seconds of a call, and its result."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def show(row: Row) -> None:
    """Print a row as Markdown."""
    sizes = ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in row.sizes.items())
    print(f"{row.num_frames} x {row.num_gaussians}: {sizes}")
    print(
        f"  write {row.seconds[0]:.2f} s, read {row.seconds[1]:.2f} s, PSNR {row.psnr:.1f} dB, frame 0 {row.psnr_first:.1f} dB"
    )
    for name, found in row.errors.items():
        print(f"  {name}: " + ", ".join(f"{key} {rms:.2g} / {most:.2g}" for key, (rms, most) in asdict(found).items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=Path, default=Path("data/predictions"))
    parser.add_argument("--clip", help="by default the first one")
    parser.add_argument("--noise", type=float, default=0.01)
    parser.add_argument("--counts", type=int, nargs="*", default=COUNTS)
    parser.add_argument("--output", type=Path, default=Path("work/benchmarks/asset_size.json"))
    options = parser.parse_args()
    clips = sorted(path.stem for path in options.predictions.glob("*.safetensors"))
    if not clips:
        parser.error(
            f"{options.predictions} holds no clips; run `dvc repro sample`, or name a folder with --predictions"
        )
    clip = load_clip(options.predictions / f"{options.clip or clips[0]}.safetensors")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for values in (clip, *(enlarge(clip, count, options.noise) for count in options.counts)):
            rows.append(measure(values, Path(folder)))
            show(rows[-1])
    write_json(
        options.output, {"clip": options.clip or clips[0], "noise": options.noise, "rows": list(map(asdict, rows))}
    )


if __name__ == "__main__":
    main()
