"""Draw small procedural textures as PNG bytes: patterns that wrap around in u, and faces."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gvf.procedural.colors import BLACK, WHITE, Rgb, mix

_SIZE = 64  # pixels along each side of a pattern
_FACE_SIZE = 128
_SUPERSAMPLING = 4


def stripes(first: Rgb, second: Rgb, count: int, *, slope: int = 0, vertical: bool = False) -> bytes:
    """Draw `count` pairs of bands across v (along v when vertical); `slope` turns make a seamless screw."""
    u, v = _coordinates()
    phase = count * u + slope * v if vertical else count * v + slope * u
    return _blend(first, second, np.sin(2.0 * np.pi * phase) / (2.0 * np.pi * count))


def checks(first: Rgb, second: Rgb, across: int, down: int) -> bytes:
    """Draw a chessboard of `across` pairs of squares in u and `down` in v."""
    u, v = _coordinates()
    product = np.sin(2.0 * np.pi * across * u) * np.sin(2.0 * np.pi * down * v)
    return _blend(first, second, product / (2.0 * np.pi * max(across, down)))


def spots(rng: np.random.Generator, ground: Rgb, spot: Rgb, count: int, radius: float) -> bytes:
    """Draw about `count` round spots of about `radius` (in u) that do not touch."""
    u, v = _coordinates()
    distance = np.full_like(u, np.inf)
    centres: list[tuple[float, float]] = []
    for _ in range(12 * count):
        centre = (rng.random(), rng.uniform(0.05, 0.95))
        if len(centres) < count and all(_wrapped(*centre, *other) > 2.2 * radius for other in centres):
            centres.append(centre)
            size = radius * rng.uniform(0.7, 1.2)
            along = np.abs(u - centre[0])
            distance = np.minimum(distance, np.hypot(np.minimum(along, 1.0 - along), v - centre[1]) - size)
    return _blend(ground, spot, -distance)


def bands(rng: np.random.Generator, colors: Sequence[Rgb], count: int) -> bytes:
    """Draw a gas planet: wavy bands of several colours, and a storm that shows its rotation."""
    u, v = _coordinates()
    level = (
        v + 0.025 * np.sin(2.0 * np.pi * (2 * u + rng.random())) + 0.015 * np.sin(2.0 * np.pi * (5 * u + rng.random()))
    )
    position = np.clip(level, 0.0, 0.999) * count
    table = np.array([colors[index % len(colors)] for index in rng.permutation(count + 1)])
    index = position.astype(np.int64)
    share = np.clip((position - index - 0.75) / 0.25, 0.0, 1.0)[..., None]
    image = table[index] * (1.0 - share) + table[index + 1] * share
    storm = np.hypot((u - 0.5) / 0.10, (v - rng.uniform(0.4, 0.6)) / 0.08)[..., None]
    image = np.where(storm < 1.0, np.array(mix(colors[0], WHITE, 0.6)), image)
    return _png(image)


def face(
    skin: Rgb,
    iris: Rgb,
    *,
    eye: float = 0.055,
    spread: float = 0.085,
    height: float = 0.43,
    smile: float = 0.6,
    cheek: Rgb | None = None,
) -> bytes:
    """Draw a face in the middle of a texture that wraps around a head.

    eye: radius of the eyes; spread: half their distance; height: v of the eyes; smile in [-1,1] bends the mouth;
    all lengths are in v (a turn of u is about twice as long as v's half circle, so x is drawn at half scale).
    """
    size = _FACE_SIZE * _SUPERSAMPLING
    image = Image.new("RGB", (size, size), _bytes(skin))
    draw = ImageDraw.Draw(image)

    def ellipse(u: float, v: float, radius: float, fill: Rgb) -> None:
        box = (u - 0.5 * radius, v - radius, u + 0.5 * radius, v + radius)
        draw.ellipse([round(size * value) for value in box], fill=_bytes(fill))

    for side in (-1.0, 1.0):
        u = 0.5 + side * 0.5 * spread * 1.3
        if cheek is not None:
            ellipse(u + side * 0.02, height + 0.12, 0.8 * eye, cheek)
        ellipse(u, height, 1.25 * eye, WHITE)
        ellipse(u - side * 0.004, height + 0.008, 0.85 * eye, iris)
        ellipse(u - side * 0.004, height + 0.008, 0.5 * eye, BLACK)
        ellipse(u + 0.006, height - 0.02, 0.22 * eye, WHITE)
    points = [
        (size * (0.5 + 0.5 * x), size * (height + 0.14 + 0.045 * smile * (1.0 - (x / 0.09) ** 2)))
        for x in np.linspace(-0.09, 0.09, 15)
    ]
    draw.line(points, fill=_bytes(mix(BLACK, skin, 0.1)), width=round(0.018 * size), joint="curve")
    small = image.resize((_FACE_SIZE, _FACE_SIZE), Image.Resampling.BOX)
    return _encode(small)


def _coordinates() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centres = (np.arange(_SIZE) + 0.5) / _SIZE
    u, v = np.meshgrid(centres, centres)
    return u, v


def _wrapped(u: float, v: float, other_u: float, other_v: float) -> float:
    along = abs(u - other_u)
    return float(np.hypot(min(along, 1.0 - along), v - other_v))


def _blend(first: Rgb, second: Rgb, distance: NDArray[np.float64]) -> bytes:
    """Blend to the second colour where the signed distance (1 is the texture's side) is positive, over 1.5 pixels."""
    share = np.clip(distance * _SIZE / 1.5 + 0.5, 0.0, 1.0)[..., None]
    return _png(np.array(first) * (1.0 - share) + np.array(second) * share)


def _png(image: NDArray[np.float64]) -> bytes:
    return _encode(Image.fromarray(np.round(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)))


def _encode(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _bytes(color: Rgb) -> tuple[int, int, int]:
    red, green, blue = (round(255.0 * value) for value in color)
    return red, green, blue
