"""Encoder and decoder of the compact sequence: frame 0 unchanged, later frames as coded changes since frame 0.

The frames after the first are cut into segments of at most 16. In a segment each channel of each Gaussian is a short
series over time: its cosine coefficients, divided by the step of the attribute and rounded, are the integers stored.
Rounding errors of an orthonormal transform are as large in the frames as in the coefficients: a third of a step (RMS).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gvf.errors import UserError
from gvf.formats.compact.changes import NUM_CHANNELS, SMALLEST_SCALE, SplatFrames, apply_changes, changes
from gvf.formats.compact.planes import deflate, estimated_bits, inflate, pack, unpack
from gvf.formats.compact.transform import Floats, Integers, cosine_matrix, morton_order
from gvf.gaussians.sh import SH_C0

ATTRIBUTES = {
    "position": slice(0, 3),
    "rotation": slice(3, 7),
    "scale": slice(7, 10),
    "color": slice(10, 13),
    "opacity": slice(13, 14),
}
ORDERS = ("stored", "morton")
MAX_SEGMENT = 16
MAX_GAUSSIANS = 1 << 22
MAX_FRAMES = 10_000
MAX_SAMPLES = 1 << 26  # Gaussians times frames: 3.8 GB of float32 values
_POSITION_STEPS = 96_000  # in the longest side of the box around 98 % of the positions of all frames
_MOST_POINTS = 1 << 18  # that this box is measured from
_STEPS = {"rotation": 1 / 3000, "scale": 2.0**-7, "color": 1 / 560, "opacity": 2.0**-9}
_MAX_COEFFICIENT = (1 << 29) - 1
_MOST_CHANGE = 1 << 24  # in steps; larger changes take larger steps, so that coefficients stay below 2^29


@dataclass(frozen=True)
class Segment:
    """Consecutive frames as one zlib stream. inflated: bytes of the stream."""

    first_frame: int
    num_frames: int
    inflated: int
    data: bytes | memoryview


@dataclass(frozen=True)
class CodedSequence:
    """What is stored beside frame 0. steps: the unit of the integers of each attribute; order: along which planes run."""

    num_frames: int
    order: str
    steps: dict[str, float]
    segments: tuple[Segment, ...]


def encode(frames: SplatFrames) -> CodedSequence:
    """Code the frames after the first as changes since the first, whose values must be what the reader will have."""
    first = frames.frames(0, 1)
    steps = _steps(frames)
    order_name, order = "stored", None
    segments: list[Segment] = []
    turn = _no_turn(frames)
    for start, stop in _cuts(frames.num_frames):
        planes = _coefficients(frames.frames(start, stop), first, turn, steps)
        if not segments:
            order_name, order = _choose_order(planes, first)
        parts = pack(planes if order is None else planes[:, order])
        segments.append(Segment(start, stop - start, sum(map(len, parts)), deflate(parts)))
    return CodedSequence(frames.num_frames, order_name, steps, tuple(segments))


def decode(coded: CodedSequence, first: SplatFrames) -> SplatFrames:
    """Return all frames; `first` is frame 0 alone. Raises UserError where a segment is damaged."""
    N = first.num_gaussians
    shapes = {"means": (3,), "quats": (4,), "scales": (3,), "colors": (3,), "opacities": ()}
    frames = SplatFrames(
        **{name: np.empty((coded.num_frames, N, *shape), np.float32) for name, shape in shapes.items()}
    )
    for name in shapes:
        getattr(frames, name)[0] = getattr(first, name)[0]
    order = morton_order(first.means[0]) if coded.order == "morton" else None
    for index, segment in enumerate(coded.segments):
        try:
            planes = unpack(inflate(segment.data, segment.inflated), NUM_CHANNELS * segment.num_frames, N)
            if order is not None:
                kept = np.empty_like(planes)
                kept[:, order] = planes
                planes = kept
            channels = _series(planes, segment.num_frames, coded.steps)
            apply_changes(channels, first, frames.frames(segment.first_frame, segment.first_frame + segment.num_frames))
        except UserError as error:
            raise UserError(f"segments[{index}]: {error}") from None
    return frames


def largest_stream(num_frames: int, num_gaussians: int) -> int:
    """Return the most bytes that the stream of a segment can have before compression."""
    return NUM_CHANNELS * num_frames * (1 + 4 * num_gaussians)


def _cuts(num_frames: int) -> list[tuple[int, int]]:
    """Return [start, stop) of the segments: as few as possible, of nearly equal length."""
    after = num_frames - 1
    count = -(-after // MAX_SEGMENT)
    edges = [1 + after * index // count for index in range(count + 1)] if count else [1]
    return list(pairwise(edges))


def _steps(frames: SplatFrames) -> dict[str, float]:
    """Return the step of each attribute: as configured above, larger where the changes would not fit the integers."""
    points = frames.means.reshape(-1, 3)
    low, high = np.quantile(points[:: -(-len(points) // _MOST_POINTS)].astype(np.float64), (0.01, 0.99), axis=0)
    steps = {"position": max(float((high - low).max()), 1e-6) / _POSITION_STEPS, **_STEPS}
    most = {
        "position": float((points.max(axis=0).astype(np.float64) - points.min(axis=0)).max()),
        "scale": float(np.log(max(frames.scales.max(), SMALLEST_SCALE) / max(frames.scales.min(), SMALLEST_SCALE))),
        "color": SH_C0 * (float(frames.colors.max()) - float(frames.colors.min())),
        "rotation": 2.0,
        "opacity": 1.0,
    }
    return {name: max(step, most[name] / _MOST_CHANGE) for name, step in steps.items()}


def _coefficients(part: SplatFrames, first: SplatFrames, turn: Floats, steps: dict[str, float]) -> Integers:
    """Return the integers of one segment, [14 T, N]: coefficient k of channel c in row c T + k."""
    matrix = cosine_matrix(part.num_frames)
    planes = np.empty((NUM_CHANNELS * part.num_frames, part.num_gaussians), np.int32)
    for channel, series in enumerate(changes(part, first, turn)):
        values = np.rint(matrix @ series / steps[_attribute(channel)])
        planes[channel * part.num_frames : (channel + 1) * part.num_frames] = values
    return planes


def _series(planes: Integers, num_frames: int, steps: dict[str, float]) -> Iterator[Floats]:
    """Invert `_coefficients`: yield the channels [T, N]."""
    matrix = cosine_matrix(num_frames)
    for channel in range(NUM_CHANNELS):
        coefficients = planes[channel * num_frames : (channel + 1) * num_frames]
        yield matrix.T @ coefficients * steps[_attribute(channel)]


def _choose_order(planes: Integers, first: SplatFrames) -> tuple[str, NDArray[np.int64] | None]:
    """Return the order along which the positions' planes take fewer bits, and its permutation (None for `stored`)."""
    positions = planes[: 3 * (len(planes) // NUM_CHANNELS)]
    order = morton_order(first.means[0])
    if estimated_bits(positions[:, order]) < estimated_bits(positions):
        return "morton", order
    return "stored", None


def _no_turn(frames: SplatFrames) -> Floats:
    turn = np.zeros((4, frames.num_gaussians))
    turn[0] = 1.0
    return turn


def _attribute(channel: int) -> str:
    return next(name for name, channels in ATTRIBUTES.items() if channels.start <= channel < channels.stop)


def check_counts(num_frames: int, num_gaussians: int) -> None:
    """Raise UserError when a sequence is empty or larger than the format allows."""
    if num_gaussians < 1 or num_frames < 1:
        raise UserError(f"a sequence needs Gaussians and frames, but has {num_gaussians} and {num_frames}.")
    if num_gaussians > MAX_GAUSSIANS or num_frames > MAX_FRAMES or num_gaussians * num_frames > MAX_SAMPLES:
        raise UserError(
            f"{num_frames} frames of {num_gaussians} Gaussians are too many: at most {MAX_FRAMES} frames, "
            f"{MAX_GAUSSIANS} Gaussians and {MAX_SAMPLES} of both together."
        )


def check_segments(segments: Sequence[tuple[int, int]], num_frames: int) -> None:
    """Raise UserError unless the segments (first frame, frames) follow each other from frame 1 to the last."""
    expected = 1
    for index, (first_frame, count) in enumerate(segments):
        if first_frame != expected or not 1 <= count <= MAX_SEGMENT:
            raise UserError(
                f"segments[{index}] has {count} frames from {first_frame} on; expected 1 to {MAX_SEGMENT} from {expected} on."
            )
        expected += count
    if expected != num_frames:
        raise UserError(f"the segments end at frame {expected - 1}, but the last frame is {num_frames - 1}.")
