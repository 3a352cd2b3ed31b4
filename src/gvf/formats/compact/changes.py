"""Changes of moving Gaussians since their first frame: the 14 channels that the compact coding stores.

Channels: position 0:3, rotation 3:7 (wxyz), log of scale 7:10, colour 10:13, opacity 13. A rotation is the quaternion
that turns the Gaussian of the first frame into that of frame t, less the identity, with signs that are continuous over
time: neighbours on a rigid part share it, whatever their own orientations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from gvf.errors import UserError
from gvf.formats.compact.transform import Floats
from gvf.gaussians.sh import SH_C0

NUM_CHANNELS = 14
SMALLEST_SCALE = 1e-9  # object units; smaller scales have this logarithm

_IDENTITY = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class SplatFrames:
    """T frames of N Gaussians as float32 arrays: activated values, in any axes.

    means [T, N, 3]; quats [T, N, 4], unit, wxyz; scales [T, N, 3]; colors [T, N, 3], degree-0 SH; opacities [T, N].
    """

    means: NDArray[np.float32]
    quats: NDArray[np.float32]
    scales: NDArray[np.float32]
    colors: NDArray[np.float32]
    opacities: NDArray[np.float32]

    @property
    def num_frames(self) -> int:
        return self.means.shape[0]

    @property
    def num_gaussians(self) -> int:
        return self.means.shape[1]

    def frames(self, start: int, stop: int) -> SplatFrames:
        """Return the frames [start, stop)."""
        return SplatFrames(*(getattr(self, field.name)[start:stop] for field in fields(self)))


def changes(frames: SplatFrames, first: SplatFrames, previous_turn: Floats) -> Iterator[Floats]:
    """Yield the 14 channels [T, N] of `frames` since the single frame `first`.

    previous_turn: rotation [4, N] of the frame before, whose sign the rotations continue; overwritten with the last one.
    """
    for axis in range(3):
        yield frames.means[..., axis].astype(np.float64) - first.means[..., axis]
    turns = multiply(_components(frames.quats), conjugate(_components(first.quats)))
    for time in range(frames.num_frames):
        turn = turns[:, time]
        turn *= np.where((turn * previous_turn).sum(axis=0) < 0, -1.0, 1.0)
        previous_turn[:] = turn
    for axis in range(4):
        yield turns[axis] - _IDENTITY[axis]
    for axis in range(3):
        yield _log_scales(frames.scales[..., axis]) - _log_scales(first.scales[..., axis])
    for axis in range(3):
        yield SH_C0 * (frames.colors[..., axis].astype(np.float64) - first.colors[..., axis])
    yield frames.opacities.astype(np.float64) - first.opacities


def apply_changes(channels: Iterator[Floats], first: SplatFrames, into: SplatFrames) -> None:
    """Write `first` changed by 14 channels [T, N] into the frames `into`, in place.

    Raises UserError where a value is not finite in float32, or a rotation has no length.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for axis in range(3):
            into.means[..., axis] = first.means[..., axis] + next(channels)
        turns = np.stack([one + next(channels) for one in _IDENTITY])
        quats = multiply(turns, _components(first.quats))
        lengths = np.sqrt(np.square(quats).sum(axis=0))
        if not (lengths > 1e-6).all():
            raise UserError("a rotation has no length.")
        for axis in range(4):
            into.quats[..., axis] = quats[axis] / lengths
        for axis in range(3):
            into.scales[..., axis] = np.maximum(first.scales[..., axis], SMALLEST_SCALE) * np.exp(next(channels))
        for axis in range(3):
            into.colors[..., axis] = first.colors[..., axis] + next(channels) / SH_C0
        into.opacities[...] = np.clip(first.opacities + next(channels), 0.0, 1.0)
    for field in fields(into):
        if not np.isfinite(getattr(into, field.name)).all():
            raise UserError(f"a value of {field.name} is not finite.")


def multiply(a: Floats, b: Floats) -> Floats:
    """Return the products a b of quaternions wxyz [4, ...]: the rotation b, then a."""
    (aw, ax, ay, az), (bw, bx, by, bz) = a, b
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ]
    )


def conjugate(quats: Floats) -> Floats:
    """Return the inverse rotations of unit quaternions wxyz [4, ...]."""
    w, x, y, z = quats
    return np.stack([w, -x, -y, -z])


def _components(quats: NDArray[np.float32]) -> Floats:
    """Return quaternions [..., 4] as float64 [4, ...]."""
    return np.ascontiguousarray(np.moveaxis(quats, -1, 0), dtype=np.float64)


def _log_scales(scales: NDArray[np.float32]) -> Floats:
    return np.log(np.maximum(scales.astype(np.float64), SMALLEST_SCALE))
