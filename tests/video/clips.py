"""Small videos with known content for the tests of the video room."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from gvf.progress import Progress


class Heard(Progress):
    """Keeps the warnings that it is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def ball(
    num_frames: int = 8, size: tuple[int, int] = (96, 80), radius: float = 14, start: float = 24, step: float = 4
) -> np.ndarray:
    """Return RGBA frames [T, H, W, 4] of a red disc with a soft edge that moves to the right, transparent around it."""
    width, height = size
    y, x = np.mgrid[:height, :width] + 0.5
    frames = np.zeros((num_frames, height, width, 4), np.uint8)
    for index, frame in enumerate(frames):
        distance = np.hypot(x - start - step * index, y - height / 2)
        frame[..., 3] = np.round(255 * np.clip(radius + 0.5 - distance, 0, 1))
        shade = 30 + 60 * (y / height)
        frame[..., 0], frame[..., 1], frame[..., 2] = 200, shade, 40
    frames[frames[..., 3] == 0] = 0
    return frames


def over(frames: np.ndarray, background: np.ndarray | int) -> np.ndarray:
    """Return RGBA frames composited over a colour or a picture, uint8 [T, H, W, 3]."""
    alpha = frames[..., 3:] / 255.0
    return np.round(frames[..., :3] * alpha + background * (1 - alpha)).astype(np.uint8)


def write_folder(folder: Path, frames: np.ndarray, suffix: str = ".png") -> Path:
    """Write frames as 0.png, 1.png, ..., without leading zeros."""
    folder.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{index}{suffix}")
    return folder


def encode(
    path: Path,
    frames: np.ndarray,
    *,
    form: str = "mp4",
    codec: str = "libx264",
    times: Sequence[float] | None = None,
    rate: int = 10,
    rotation: int = 0,
    pixels: str = "yuv420p",
    layout: str = "rgb24",
    tags: Sequence[int] = (),
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    size: tuple[int, int] | None = None,
    pixel_ratio: Fraction | None = None,
) -> Path:
    """Encode frames without our own writer. times: in seconds, for a variable frame rate. tags: primaries, transfer, matrix."""
    with av.open(str(path), "w", format=form, options=container or {}) as output:
        stream = output.add_stream(codec, rate=rate)
        stream.width, stream.height = size or (frames.shape[2], frames.shape[1])
        stream.pix_fmt = pixels
        stream.options = options or ({"crf": "12", "preset": "ultrafast"} if codec == "libx264" else {})
        if pixel_ratio:
            stream.codec_context.sample_aspect_ratio = pixel_ratio
        if rotation:
            stream.set_display_rotation(rotation)
        if tags:
            context = stream.codec_context
            context.color_primaries, context.color_trc, context.colorspace = tags
        if times is not None:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for index, frame in enumerate(frames):
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=layout)
            if times is not None:
                image.pts, image.time_base = round(1000 * times[index]), stream.codec_context.time_base
            output.mux(stream.encode(image))
        output.mux(stream.encode())
    return path


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Return the intersection over union of two masks."""
    return float((first & second).sum() / max((first | second).sum(), 1))


def onnx_network(path: Path, side: int = 16, channels: int = 3) -> Path:
    """Write an ONNX network whose map is the sigmoid of the mean over channels of its normalised input, times 4.

    The file is written by hand in the protobuf wire format, since the package onnx is not a dependency.
    """

    def field(number: int, value: bytes | int) -> bytes:
        if isinstance(value, int):
            return _varint(number << 3) + _varint(value)
        return _varint(number << 3 | 2) + _varint(len(value)) + value

    def tensor_type(name: str, shape: Sequence[int]) -> bytes:
        dimensions = b"".join(field(1, field(1, one)) for one in shape)
        return field(1, name.encode()) + field(2, field(1, field(1, 1) + field(2, dimensions)))

    def node(kind: str, inputs: Sequence[str], output: str, attributes: bytes = b"") -> bytes:
        names = b"".join(field(1, one.encode()) for one in inputs)
        return field(1, names + field(2, output.encode()) + field(4, kind.encode()) + attributes)

    axes = field(5, field(1, b"axes") + field(8, 1) + field(20, 7))
    four = field(5, field(1, 1) + field(2, 1) + field(8, b"four") + field(9, struct.pack("<f", 4.0)))
    graph = (
        node("ReduceMean", ["image"], "mean", axes)
        + node("Mul", ["mean", "four"], "logits")
        + node("Sigmoid", ["logits"], "map")
        + field(2, b"graph")
        + four
        + field(11, tensor_type("image", [1, channels, side, side]))
        + field(12, tensor_type("map", [1, 1, side, side]))
    )
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 13)))
    return path


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
