"""The compact file of moving Gaussians, `asset.glb`, as docs/asset-format.md describes it.

Frame 0 is a point primitive with KHR_gaussian_splatting (Khronos, ratified 2026), which other readers show; later frames
are changes in the extension GVF_gaussian_sequence within it. The file has y up, as glTF demands; Gaussians here have z up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gvf.data.gltf.document import GltfDocument, read_gltf
from gvf.data.gltf.fields import Fields
from gvf.errors import ClipError, UserError
from gvf.formats.compact.changes import SplatFrames
from gvf.formats.compact.sequence import (
    ATTRIBUTES,
    ORDERS,
    CodedSequence,
    Segment,
    check_counts,
    check_segments,
    decode,
    encode,
    largest_stream,
)
from gvf.formats.glb_file import GlbFile
from gvf.gaussians.axes import Y_UP, turn_points, turn_quats
from gvf.gaussians.gaussians import GaussianActivation, Gaussians
from gvf.gaussians.sh import SH_C0
from gvf.rendering.convention import COMPENSATE, LOW_PASS
from gvf.storage.files import PathLike

SPLATTING = "KHR_gaussian_splatting"
SEQUENCE = "GVF_gaussian_sequence"
VERSION = 1
MAX_FACTS = 1 << 16  # bytes of JSON

# Stores any scale down to a millionth; the activation of a decoder would raise scales to its filter.
_ACTIVATION = GaussianActivation(filter_3d=0.0)
_POINTS = 0  # mode of a primitive
_ATTRIBUTES = {  # of frame 0, with the accessor's type
    "POSITION": "VEC3",
    f"{SPLATTING}:ROTATION": "VEC4",
    f"{SPLATTING}:SCALE": "VEC3",
    f"{SPLATTING}:OPACITY": "SCALAR",
    f"{SPLATTING}:SH_DEGREE_0_COEF_0": "VEC3",
}


@dataclass(frozen=True)
class Sequence4D:
    """The content of an `asset.glb`.

    gaussians: fields [T, N, ...]. low_pass, compensate: how they are to be rendered (`rendering.rasterize`). facts: what
    the writer noted, such as the camera; values of JSON.
    """

    gaussians: Gaussians
    frames_per_second: float
    low_pass: float
    compensate: bool
    facts: dict[str, Any]


def save_asset_glb(
    path: PathLike,
    gaussians: Gaussians,
    frames_per_second: float,
    facts: Mapping[str, Any] | None = None,
    *,
    low_pass: float = LOW_PASS,
    compensate: bool = COMPENSATE,
) -> None:
    """Write moving Gaussians, fields [T, N, ...], to a GLB file; their order is kept.

    Raises UserError where there are no Gaussians, a value is NaN or infinite, or `facts` is not JSON of at most 64 KiB.
    """
    if gaussians.means.ndim != 3:
        raise UserError(f"{path}: needs means of shape [T, N, 3], found {list(gaussians.means.shape)}.")
    if not (math.isfinite(frames_per_second) and frames_per_second > 0 and math.isfinite(low_pass) and low_pass >= 0):
        raise UserError(f"{path}: needs frames_per_second > 0 and low_pass >= 0, not {frames_per_second}, {low_pass}.")
    facts = dict(facts or {})
    try:
        size = len(json.dumps(facts, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: facts cannot be written as JSON ({error}).") from None
    if size > MAX_FACTS:
        raise UserError(f"{path}: facts are larger than {MAX_FACTS >> 10} KiB of JSON.")
    try:
        check_counts(*gaussians.means.shape[:2])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    frames = _splat_frames(gaussians, path)
    coded = encode(frames)
    extension = {
        "version": VERSION,
        "frames": coded.num_frames,
        "framesPerSecond": frames_per_second,
        "lowPass": low_pass,
        "compensate": compensate,
        "order": coded.order,
        "steps": coded.steps,
        "facts": facts,
    }
    _glb(frames.frames(0, 1), coded.segments, extension).save(path)


def load_asset_glb(path: PathLike) -> Sequence4D:
    """Read the moving Gaussians of a GLB file that `save_asset_glb` wrote.

    Frame 0 comes back as written, later frames within the steps of the coding. The length of raw quaternions is not
    kept, opacities are kept between 1e-6 and 1 - 1e-6. Raises UserError when the file is missing, damaged or too large.
    """
    try:
        document = read_gltf(Path(path))
        primitive, sequence = _find(document)
        return _read(document, primitive, sequence)
    except ClipError as error:
        raise UserError(str(Path(path).parent / error.message)) from None


def _splat_frames(gaussians: Gaussians, path: PathLike) -> SplatFrames:
    """Return activated values in glTF's axes as they are stored. Raises UserError for a value that is not finite."""
    with torch.no_grad():
        gaussians = gaussians.detach().to("cpu").map(torch.Tensor.float)
        values = {
            "means": turn_points(gaussians.means, Y_UP),
            "quats": torch.nn.functional.normalize(turn_quats(gaussians.quats, Y_UP), dim=-1),
            "scales": gaussians.scales,
            "colors": gaussians.colors,
            "opacities": gaussians.opacities,
        }
    for name, tensor in values.items():
        if not (sound := tensor.isfinite()).all():
            frame, index, *_ = (~sound).nonzero()[0].tolist()
            raise UserError(f"{path}: frame {frame}: the {name} of Gaussian {index} are not finite.")
    return SplatFrames(**{name: tensor.contiguous().numpy() for name, tensor in values.items()})


def _glb(first: SplatFrames, segments: Sequence[Segment], extension: dict[str, Any]) -> GlbFile:
    """Return the file: frame 0 as a point primitive, the segments as buffer views of the extension."""
    file = GlbFile()
    rotation = np.roll(first.quats[0], -1, axis=-1)  # xyzw
    arrays = first.means[0], rotation, first.scales[0], first.opacities[0], first.colors[0]
    attributes = {name: file.accessor(array, bounds=name == "POSITION") for name, array in zip(_ATTRIBUTES, arrays)} | {
        "COLOR_0": file.accessor(_point_colors(first), normalized=True)
    }
    coded = [
        {"bufferView": file.view(bytes(segment.data)), "frames": segment.num_frames, "inflated": segment.inflated}
        for segment in segments
    ]
    splatting = {
        "kernel": "ellipse",
        "colorSpace": "srgb_rec709_display",
        "projection": "perspective",
        "sortingMethod": "cameraDistance",
        "extensions": {SEQUENCE: {**extension, "segments": coded}},
    }
    primitive = {"mode": _POINTS, "attributes": attributes, "extensions": {SPLATTING: splatting}}
    mesh = file.add("meshes", {"primitives": [primitive]})
    node = file.add("nodes", {"mesh": mesh, "name": "gaussians"})
    file.json["scene"] = file.add("scenes", {"nodes": [node]})
    file.declare(SPLATTING)
    file.declare(SEQUENCE)
    return file


def _point_colors(first: SplatFrames) -> NDArray[np.uint8]:
    """Return linear RGB and opacity [N, 4] for readers that show points (glTF's COLOR_0 is linear)."""
    shown = np.clip(SH_C0 * first.colors[0] + 0.5, 0.0, 1.0)
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    return np.rint(np.concatenate([linear, first.opacities[0][:, None]], axis=-1) * 255).astype(np.uint8)


def _find(document: GltfDocument) -> tuple[Fields, Fields]:
    """Return the first primitive that holds a sequence, and the content of its extension."""
    for mesh in document.meshes:
        for primitive in mesh.children("primitives"):
            splatting = primitive.extension(SPLATTING)
            if splatting is not None and (sequence := splatting.extension(SEQUENCE)) is not None:
                return primitive, sequence
    document.root.fail(f"holds no {SEQUENCE}. Only files that gvf wrote as asset.glb are read here.")


def _read(document: GltfDocument, primitive: Fields, fields: Fields) -> Sequence4D:
    """Read the sequence of one primitive. Raises ClipError("invalid") at the place that is wrong."""
    if (version := fields.integer("version", low=1)) != VERSION:
        fields.fail(f"version {version} is not read here, only {VERSION}. Use a newer gvf.")
    num_frames = fields.integer("frames", low=1)
    frames_per_second, low_pass = fields.number("framesPerSecond"), fields.number("lowPass")
    if frames_per_second <= 0 or low_pass < 0:
        fields.fail("framesPerSecond must be positive, and lowPass not negative.")
    facts = fields.child("facts").values
    if not _finite(facts):
        fields.fail("facts holds a number that is not finite.")
    try:
        first = _first_frame(document, primitive, num_frames)
        coded = _coded(document, fields, num_frames, first.num_gaussians)
        frames = decode(coded, first)
    except UserError as error:
        fields.fail(str(error))
    values = {name: torch.from_numpy(getattr(frames, name)) for name in ("means", "colors", "scales", "opacities")}
    gaussians = Gaussians.from_rendered(
        means=turn_points(values["means"], -Y_UP),
        colors=values["colors"],
        scales=values["scales"],
        quats=turn_quats(torch.from_numpy(frames.quats), -Y_UP),
        opacities=values["opacities"],
        activation=_ACTIVATION,
    )
    if not gaussians.raw_scales.isfinite().all():
        fields.fail("a scale is too large.")
    return Sequence4D(gaussians, frames_per_second, low_pass, fields.flag("compensate", COMPENSATE), facts)


def _first_frame(document: GltfDocument, primitive: Fields, num_frames: int) -> SplatFrames:
    """Return frame 0, checked: equal counts, finite values, unit quaternions, scales and opacities in their ranges."""
    attributes = primitive.child("attributes")
    accessors = {name: attributes.index(name, len(document.accessors)) for name in _ATTRIBUTES}
    counts = {document.header(accessor).count for accessor in accessors.values()}
    if len(counts) != 1:
        attributes.fail(f"the attributes have different counts: {', '.join(map(str, sorted(counts)))}.")
    check_counts(num_frames, counts.pop())
    with np.errstate(over="ignore"):
        means, quats, scales, opacities, colors = (
            document.floats(accessors[name], kind).astype(np.float32)[None] for name, kind in _ATTRIBUTES.items()
        )
    lengths = np.linalg.norm(quats.astype(np.float64), axis=-1, keepdims=True)
    for name, sound in (
        ("POSITION", np.isfinite(means)),
        (f"{SPLATTING}:ROTATION", lengths > 1e-6),
        (f"{SPLATTING}:SCALE", np.isfinite(scales) & (scales >= 0)),
        (f"{SPLATTING}:OPACITY", (opacities >= 0) & (opacities <= 1)),
        (f"{SPLATTING}:SH_DEGREE_0_COEF_0", np.isfinite(colors)),
    ):
        if not sound.all():
            attributes.fail(f"{name} of Gaussian {int(np.argwhere(~sound)[0][1])} is out of range.")
    return SplatFrames(means, np.roll((quats / lengths).astype(np.float32), 1, axis=-1), scales, colors, opacities)


def _coded(document: GltfDocument, fields: Fields, num_frames: int, num_gaussians: int) -> CodedSequence:
    """Return the coded frames after the first; their sizes are checked here, their content when they are decoded."""
    steps = {name: fields.child("steps").number(name) for name in ATTRIBUTES}
    if min(steps.values()) <= 0:
        fields.child("steps").fail("must be positive.")
    segments, start = [], 1
    for item in fields.children("segments"):
        count, inflated = item.integer("frames", low=1), item.integer("inflated", low=1)
        if inflated > largest_stream(count, num_gaussians):
            item.fail(f"{inflated} bytes are more than {count} frames can have.")
        segments.append(Segment(start, count, inflated, document.view(item)[0].data))
        start += count
    check_segments([(segment.first_frame, segment.num_frames) for segment in segments], num_frames)
    return CodedSequence(num_frames, fields.text("order", allowed=ORDERS), steps, tuple(segments))


def _finite(value: Any) -> bool:
    """Return whether every number in a value of JSON is finite (1e999 is not)."""
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
