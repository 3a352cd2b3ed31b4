"""Read and evaluate the animations of a glTF file (specification section 3.11, appendix C)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gvf.data.gltf.document import DRACO, GltfDocument
from gvf.data.gltf.fields import Fields
from gvf.data.gltf.scene import NodePose, NodeTree, decompose, unit_quaternions
from gvf.errors import ClipError

_PATHS = ("translation", "rotation", "scale", "weights")
_INTERPOLATIONS = ("LINEAR", "STEP", "CUBICSPLINE")
_WIDTHS = {"translation": "VEC3", "rotation": "VEC4", "scale": "VEC3", "weights": "SCALAR"}
# A time this close (in seconds) before a keyframe counts as the keyframe: times in files are float32.
_KEY_TOLERANCE = 1e-6
# Numbers in the keyframes of one animation (half a GiB). Accessors may overlap, so the file's size is no limit.
_MAX_NUMBERS = 1 << 26
_SHEAR_TOLERANCE = 1e-3  # see `decompose`; exporters' matrices are rounded to float32


@dataclass(frozen=True)
class Channel:
    """Keyframes of one animated property.

    times [K] seconds, increasing; values [K, D] float64, or [K, 3, D] (in-tangent, value, out-tangent) for CUBICSPLINE.
    """

    node: int
    path: str
    interpolation: str
    times: np.ndarray
    values: np.ndarray

    def evaluate(self, at: np.ndarray) -> np.ndarray:
        """Return the value [T, D] at the times `at` [T]; it is constant before the first and after the last keyframe."""
        rotation = self.path == "rotation"
        if self.interpolation == "STEP":
            values = sample_step(self.times, self.values, at)
        elif self.interpolation == "CUBICSPLINE":
            values = sample_cubic(self.times, self.values, at)
        elif rotation:
            values = sample_slerp(self.times, self.values, at)
        else:
            values = sample_linear(self.times, self.values, at)
        return unit_quaternions(values) if rotation else values


@dataclass(frozen=True)
class Animation:
    """One clip. start, end: times of the first and the last keyframe over all channels, in seconds."""

    name: str
    channels: tuple[Channel, ...]
    start: float
    end: float

    def poses(self, at: np.ndarray) -> dict[int, NodePose]:
        """Return the animated local transforms at the times `at` [T], by node."""
        by_node: dict[int, dict[str, np.ndarray]] = {}
        for channel in self.channels:
            by_node.setdefault(channel.node, {})[channel.path] = channel.evaluate(at)
        return {node: NodePose(**values) for node, values in by_node.items()}


def read_animation(document: GltfDocument, index: int, tree: NodeTree, num_targets: Mapping[int, int]) -> Animation:
    """Read one animation. Channels that target no node, or a property glTF 2.0 does not know, are left out.

    num_targets: number of morph targets by mesh index; weights of other meshes are left out.
    Raises ClipError("invalid") for a broken channel or an animation without any.
    """
    fields = document.animations[index]
    samplers = fields.children("samplers")
    used: dict[tuple[int, str], tuple[Fields, int]] = {}  # sampler and width
    for item in fields.children("channels"):
        target = item.child("target")
        node, path = target.index("node", len(document.nodes), None), target.text("path")
        if node is None or path not in _PATHS:
            continue
        if (node, path) in used:
            item.fail(f"animates the {path} of node {node} a second time.")
        if path != "weights":
            _warn_about_matrix(document, tree, node)
        mesh = tree.nodes[node].mesh
        if path == "weights" and (mesh is None or mesh not in num_targets):
            continue
        width = num_targets[mesh] if path == "weights" and mesh is not None else 1
        used[node, path] = samplers[item.index("sampler", len(samplers))], width
    if not used:
        fields.fail(f"animation {document.animation_names[index]!r} has no channel that moves a node.")
    _check_sizes(
        document, fields, {accessor for sampler, _ in used.values() for accessor in _accessors(document, sampler)}
    )
    arrays: dict[tuple[int, str], np.ndarray] = {}
    channels = tuple(
        _read_channel(document, sampler, node, path, width, arrays) for (node, path), (sampler, width) in used.items()
    )
    start = min(float(channel.times[0]) for channel in channels)
    end = max(float(channel.times[-1]) for channel in channels)
    return Animation(document.animation_names[index], channels, start, end)


def sample_step(times: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the value of the last keyframe at or before each time, [T, D]. times: [K]; values: [K, D]; at: [T]."""
    key = np.searchsorted(times, at + _KEY_TOLERANCE, side="right") - 1
    return values[np.clip(key, 0, len(times) - 1)]


def sample_linear(times: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Interpolate linearly between keyframes. times: [K]; values: [K, D]; at: [T]. Returns [T, D]."""
    left, right, fraction, _ = _segments(times, at)
    fraction = fraction[:, None]
    return (1.0 - fraction) * values[left] + fraction * values[right]


def sample_slerp(times: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Interpolate quaternions along the shorter arc between keyframes (appendix C.5).

    times: [K]; values: [K, 4], scaled to unit length here; at: [T]. Returns unit quaternions [T, 4].
    """
    left, right, fraction, _ = _segments(times, at)
    unit = unit_quaternions(values)
    first, second = unit[left], unit[right]
    cosine = np.sum(first * second, axis=-1)
    second = np.where(cosine[:, None] < 0.0, -second, second)
    angle = np.arccos(np.minimum(np.abs(cosine), 1.0))
    sine = np.sin(angle)
    straight = sine < 1e-6  # the arc is so short that it is its own chord
    safe = np.where(straight, 1.0, sine)
    a = np.where(straight, 1.0 - fraction, np.sin((1.0 - fraction) * angle) / safe)
    b = np.where(straight, fraction, np.sin(fraction * angle) / safe)
    return unit_quaternions(a[:, None] * first + b[:, None] * second)


def sample_cubic(times: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Evaluate a cubic Hermite spline (appendix C.6); tangents are per second and scale with the length of their segment.

    times: [K]; values: [K, 3, D] (in-tangent, value, out-tangent); at: [T]. Returns [T, D].
    """
    left, right, fraction, length = _segments(times, at)
    t, length = fraction[:, None], length[:, None]
    t2, t3 = t * t, t * t * t
    return (
        (2 * t3 - 3 * t2 + 1) * values[left, 1]
        + length * (t3 - 2 * t2 + t) * values[left, 2]
        + (-2 * t3 + 3 * t2) * values[right, 1]
        + length * (t3 - t2) * values[right, 0]
    )


def _segments(times: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the keyframes before and after each time, the fraction of the way between them, and their distance in s."""
    if len(times) == 1:
        zeros = np.zeros(len(at), np.int64)
        return zeros, zeros, np.zeros(len(at)), np.zeros(len(at))
    left = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    length = times[left + 1] - times[left]
    return left, left + 1, np.clip((at - times[left]) / length, 0.0, 1.0), length


def _warn_about_matrix(document: GltfDocument, tree: NodeTree, node: int) -> None:
    """Warn about an animated node with a matrix, which is invalid but common; other readers decompose it too."""
    matrix = tree.nodes[node].matrix
    if matrix is None:
        return
    lost = ", which loses its shear" if decompose(matrix)[3] > _SHEAR_TOLERANCE else ""
    document.nodes[node].warn(f"is animated and has a matrix, which is not allowed; it is decomposed{lost}.")


def _check_sizes(document: GltfDocument, fields: Fields, accessors: set[int]) -> None:
    """Refuse an animation whose keyframes need too much memory, or are held by an unsupported extension."""
    total = sum(document.header(accessor).num_numbers for accessor in accessors)
    if total > _MAX_NUMBERS:
        raise ClipError(
            "size", f"{fields.where}: has {total} numbers in its keyframes; at most {_MAX_NUMBERS} are read."
        )
    hiding = document.hiding_extensions - {DRACO}  # which holds meshes only
    for accessor in sorted(accessors):
        if hiding and not document.has_data(accessor):
            document.refuse_extensions(document.accessors[accessor], hiding)


def _read_channel(
    document: GltfDocument, sampler: Fields, node: int, path: str, width: int, arrays: dict[tuple[int, str], np.ndarray]
) -> Channel:
    """Read one channel. width: elements per keyframe, i.e. the number of morph targets for weights.

    arrays: cache of the arrays read so far, by accessor and element type; channels often share their key times.
    """
    interpolation = _interpolation(sampler)
    inputs, outputs = _accessors(document, sampler)
    num_keys, num_values = document.header(inputs).count, document.header(outputs).count
    per_key = 3 if interpolation == "CUBICSPLINE" else 1
    expected = num_keys * per_key * width
    if num_values != expected:
        sampler.fail(f"has {num_values} values for {num_keys} keys, must have {expected}.")
    if num_keys > 1 and not document.has_data(inputs):
        sampler.fail("has key times that do not increase: their accessor has no data.")
    for key in ((inputs, "SCALAR"), (outputs, _WIDTHS[path])):
        if key not in arrays:
            arrays[key] = document.floats(*key)
    times, values = arrays[inputs, "SCALAR"], arrays[outputs, _WIDTHS[path]]
    if (np.diff(times) <= 0.0).any():
        sampler.fail("has key times that do not increase.")
    dimension = width if path == "weights" else values.shape[1]
    shape = (len(times), 3, dimension) if per_key == 3 else (len(times), dimension)
    return Channel(node, path, interpolation, times, values.reshape(shape))


def _accessors(document: GltfDocument, sampler: Fields) -> tuple[int, int]:
    """Return the accessors of a sampler's key times and values."""
    count = len(document.accessors)
    return sampler.index("input", count), sampler.index("output", count)


def _interpolation(sampler: Fields) -> str:
    """Return a sampler's interpolation; its index in the specification's list, which some exporters write, is accepted."""
    value = sampler.values.get("interpolation")
    if isinstance(value, int | float) and not isinstance(value, bool) and value in range(len(_INTERPOLATIONS)):
        name = _INTERPOLATIONS[int(value)]
        sampler.warn(f"interpolation is the number {value}, must be text; read as {name}.")
        return name
    return str(sampler.text("interpolation", "LINEAR", _INTERPOLATIONS))
