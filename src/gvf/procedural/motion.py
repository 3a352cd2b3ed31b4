"""Define how a procedural object moves: a few numbers per clip, curves over normalised time, and animation channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gvf.procedural.glb import GlbBuilder, Interpolation, Path
from gvf.procedural.shapes import Array, Vector

Value = Array | float  # one number at each sampled time, or the same at all
Turn = tuple[str | Vector, Value]  # a coordinate axis or a unit vector, and an angle in radians

_TANGENT_STEP = 1e-4


@dataclass(frozen=True)
class Motion:
    """The motion of one clip.

    gesture: one of the family's motions; amplitude: factor on its natural size; cycles: repetitions within the clip
    (one-way gestures use it as a factor on how far they get); direction: +1 or -1, the side to which it starts (half a
    cycle apart); style in [-1,1]: another number, used differently by each family; duration: in seconds.
    """

    gesture: str
    amplitude: float
    cycles: float
    direction: float
    style: float
    duration: float

    def angle(self, time: Array, lag: float = 0.0) -> Array:
        """Return the phase in radians at normalised times. lag: in cycles."""
        return 2.0 * np.pi * (self.cycles * time - lag)

    def sway(self, time: Array, lag: float = 0.0) -> Array:
        """Return amplitude times a sine that starts at zero when lag is zero, first towards `direction`."""
        return self.amplitude * self.direction * np.sin(self.angle(time, lag))

    def pulse(self, time: Array, lag: float = 0.0) -> Array:
        """Return amplitude times a hump: 0 at the start of each cycle, 1 in its middle."""
        return self.amplitude * 0.5 * (1.0 - np.cos(self.angle(time, lag)))

    def bob(self, time: Array) -> Array:
        """Return amplitude times a smooth hump twice per cycle, 0 at its start: how a body rises at every step."""
        return self.amplitude * np.sin(self.angle(time)) ** 2

    def lift(self, time: Array, side: float) -> Array:
        """Return how far a foot is off the ground, 0 to amplitude: up while the sway of its side (+1 or -1) grows."""
        return 0.5 * self.amplitude * (1.0 + side * self.direction * np.cos(self.angle(time)))

    def ramp(self, time: Array) -> Array:
        """Return amplitude times a smooth transition from 0 to direction."""
        return self.amplitude * self.direction * smoothstep(time)


def draw_motion(offsets: Array, index: int, gestures: Sequence[str]) -> Motion:
    """Return the `index`-th motion of a family: gestures take turns, and the numbers of each follow an even (R5) sequence.

    offsets: [5] in [0,1), where the family's sequence starts. Even coverage lets a small training set show the whole
    range. The sequence steps by powers of 1/root, root^6 = root + 1 (Roberts' generalised golden
    ratio).
    """
    root = 1.0
    for _ in range(60):
        root = (1.0 + root) ** (1.0 / 6.0)
    share = (offsets + (index // len(gestures) + 1) * root ** -np.arange(1.0, 6.0)) % 1.0
    return Motion(
        gesture=gestures[index % len(gestures)],
        amplitude=0.75 + 0.5 * float(share[0]),
        cycles=0.7 + 0.9 * float(share[1]),
        direction=1.0 if share[2] < 0.5 else -1.0,
        style=2.0 * float(share[3]) - 1.0,
        duration=0.8 + 1.6 * float(share[4]),
    )


def around(rng: np.random.Generator, value: float, spread: float = 0.2) -> float:
    """Draw a size uniformly from value * (1 - spread) to value * (1 + spread)."""
    return value * float(rng.uniform(1.0 - spread, 1.0 + spread))


def smoothstep(time: Array, start: float = 0.0, end: float = 1.0) -> Array:
    """Return 0 before `start`, 1 after `end`, and a smooth transition between."""
    share = np.clip((time - start) / (end - start), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def axis_angle(axis: str | Vector, angle: Value) -> Array:
    """Return quaternions xyzw [K,4] that rotate about a coordinate axis or a unit vector by angles [K] in radians."""
    unit = np.array(
        {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}[axis] if isinstance(axis, str) else axis
    )
    half = 0.5 * np.atleast_1d(np.asarray(angle, dtype=np.float64))
    return np.column_stack([np.sin(half)[:, None] * unit, np.cos(half)])


def turned(axis: str | Vector, angle: float) -> list[float]:
    """Return one rotation as xyzw, for a node at rest."""
    return [float(value) for value in axis_angle(axis, angle)[0]]


def compose(first: Array, second: Array) -> Array:
    """Return the products of quaternions xyzw [K,4], which rotate by `second`, then by `first`."""
    a, b = first[:, :3], second[:, :3]
    s, t = first[:, 3:], second[:, 3:]
    return np.column_stack([s * b + t * a + np.cross(a, b), s * t - np.sum(a * b, axis=1, keepdims=True)])


class Animator:
    """A converter of values sampled at `time` into the animation channels of one clip.

    time: [3K] normalised times: K evenly spaced keyframes from 0 to 1, an instant before each, and an instant after each,
    so that plain array arithmetic on it also gives the slopes that cubic splines need.
    """

    def __init__(self, builder: GlbBuilder, motion: Motion, keys: int = 25, mode: Interpolation = "LINEAR") -> None:
        """Set the keyframes. keys: K. mode: default interpolation between keyframes."""
        self._builder = builder
        self._duration = motion.duration
        self._mode = mode
        self._keys = np.linspace(0.0, 1.0, keys)
        self.time: Array = np.concatenate([self._keys, self._keys - _TANGENT_STEP, self._keys + _TANGENT_STEP])

    def rotate(self, node: int, *turns: Turn, mode: Interpolation | None = None) -> None:
        """Animate a node's rotation: the product of turns about axes, the first outermost."""
        product = axis_angle(turns[0][0], self._sampled(turns[0][1]))
        for axis, angle in turns[1:]:
            product = compose(product, axis_angle(axis, self._sampled(angle)))
        self._channel(node, "rotation", product, mode)

    def move(
        self, node: int, rest: Vector, x: Value = 0.0, y: Value = 0.0, z: Value = 0.0, mode: Interpolation | None = None
    ) -> None:
        """Animate a node's translation: rest [3] plus offsets along the axes."""
        offset = np.column_stack([self._sampled(value) for value in (x, y, z)])
        self._channel(node, "translation", np.asarray(rest) + offset, mode)

    def scale(self, node: int, x: Value, y: Value, z: Value, mode: Interpolation | None = None) -> None:
        """Animate a node's scale along its axes."""
        self._channel(node, "scale", np.column_stack([self._sampled(value) for value in (x, y, z)]), mode)

    def morph(self, node: int, *weights: Value, mode: Interpolation | None = None) -> None:
        """Animate the morph weights of a node's mesh, one value per target."""
        self._channel(node, "weights", np.column_stack([self._sampled(value) for value in weights]), mode)

    def _sampled(self, value: Value) -> Array:
        return np.broadcast_to(np.asarray(value, dtype=np.float64), self.time.shape)

    def _channel(self, node: int, path: Path, samples: Array, mode: Interpolation | None) -> None:
        mode = mode or self._mode
        values, before, after = np.split(samples, 3)
        tangents = (after - before) / (2.0 * _TANGENT_STEP * self._duration) if mode == "CUBICSPLINE" else None
        self._builder.add_channel(node, path, self._keys * self._duration, values, mode, tangents)
