"""Colour textures for compiled loops: bilinear, filtered in linear light, with box-filtered mip levels, wrapped like glTF."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gvf.compiled import kernels
from gvf.compiled.kernels import helper, kernel
from gvf.compiled.simd import take_next

FloatArray = NDArray[np.float32]


def srgb_to_linear(values: NDArray[np.floating]) -> FloatArray:
    """Return the linear light of sRGB-encoded values in [0, 1] (IEC 61966-2-1), any shape."""
    values = np.asarray(values, dtype=np.float64)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


_DECODED = srgb_to_linear(np.arange(256) / 255.0)
_NEXT_CODE = srgb_to_linear((np.arange(255) + 0.5) / 255.0)  # from here on code k + 1 is nearer than code k
_BINS = 4096
_FIRST_CODE = np.searchsorted(_NEXT_CODE, np.arange(_BINS + 1) / _BINS, side="right").astype(np.int64)
_ALPHA = np.float32(1 / 255)


@helper
def srgb_code(value):
    """Return the nearest sRGB code, 0 to 255, of a linear value; 0 for NaN, which cannot be an index."""
    if not value > 0:
        return np.int64(0)
    code = _FIRST_CODE[np.int64(min(value, np.float32(1)) * np.float32(_BINS))]
    while code < 255 and value >= _NEXT_CODE[code]:
        code += 1
    return code


class Textures(NamedTuple):
    """All textures of a mesh with all their mip levels, one after another.

    texels: [n, 4] uint8 sRGB, straight alpha (alpha is linear). levels: [textures, levels, 3], first texel, height and
    width of each level, the full image first; num_levels: [textures], down to one texel or two along the longer side.
    """

    texels: NDArray[np.uint8]
    levels: NDArray[np.int64]
    num_levels: NDArray[np.int64]


def pack_textures(images: Sequence[NDArray[np.uint8]]) -> Textures:
    """Return the textures of images [H, W, 4] uint8 sRGB."""
    num_levels = np.array([max(image.shape[:2]).bit_length() for image in images], np.int64)
    levels = np.zeros((len(images), max(num_levels, default=0), 3), np.int64)
    first = 0
    for index, image in enumerate(images):
        height, width = image.shape[:2]
        for level in range(num_levels[index]):
            levels[index, level] = first, height, width
            first += height * width
            height, width = -(-height // 2), -(-width // 2)
    texels = np.empty((first, 4), np.uint8)
    for index, image in enumerate(images):
        texels[levels[index, 0, 0] :][: image.shape[0] * image.shape[1]] = image.reshape(-1, 4)
    textures = Textures(texels, levels, num_levels)
    kernels.run(filter_levels, len(images), 1, *textures)
    return textures


@kernel
def filter_levels(counter, texels, levels, num_levels):
    """Fill all mip levels but the first: each texel is the mean, in linear light, of the four (at an odd edge two) above.

    An item is a texture.
    """
    while True:
        item = take_next(counter)
        if item >= len(num_levels):
            return
        for level in range(1, num_levels[item]):
            above, above_height, above_width = levels[item, level - 1]
            first, height, width = levels[item, level]
            for row in range(height):
                for column in range(width):
                    sums = np.zeros(4, np.float32)
                    for corner in range(4):
                        y = min(2 * row + corner // 2, above_height - 1)
                        x = min(2 * column + corner % 2, above_width - 1)
                        texel = texels[above + y * above_width + x]
                        for channel in range(3):
                            sums[channel] += _DECODED[texel[channel]]
                        sums[3] += texel[3]
                    target = texels[first + row * width + column]
                    for channel in range(3):
                        target[channel] = srgb_code(sums[channel] * np.float32(0.25))
                    target[3] = np.int64(sums[3] * np.float32(0.25) + np.float32(0.5))


@helper
def floor(value):
    whole = np.int64(value)
    return whole - (value < np.float32(whole))


@helper
def wrapped(index, count, mode):
    """Return the texel, in a row of `count`, for any index. mode: index of gvf.data.mesh.WRAP_MODES."""
    if 0 <= index < count:
        return index
    if mode == 1:
        return np.int64(0) if index < 0 else count - 1
    if mode == 2:
        index = index % (2 * count)
        return min(index, 2 * count - 1 - index)
    return index % count


@helper
def decoded(texels, texel, channel):
    return _DECODED[texels[texel, channel]]


@helper
def sample_texture(texels, levels, texture, level, u, v, wrap_u, wrap_v):
    """Return linear RGBA at (u, v), where (0, 0) is the top left corner of the image as in glTF: bilinear within one mip level.

    wrap_u, wrap_v: indices of gvf.data.mesh.WRAP_MODES.
    """
    first, height, width = levels[texture, level, 0], levels[texture, level, 1], levels[texture, level, 2]
    x = u * np.float32(width) - np.float32(0.5)
    y = v * np.float32(height) - np.float32(0.5)
    left, top = floor(x), floor(y)
    fx, fy = x - np.float32(left), y - np.float32(top)
    gx, gy = np.float32(1) - fx, np.float32(1) - fy
    right, bottom = wrapped(left + 1, width, wrap_u), wrapped(top + 1, height, wrap_v)
    left, top = wrapped(left, width, wrap_u), wrapped(top, height, wrap_v)
    a, b = first + top * width + left, first + top * width + right
    c, d = first + bottom * width + left, first + bottom * width + right
    wa, wb, wc, wd = gx * gy, fx * gy, gx * fy, fx * fy
    return (
        decoded(texels, a, 0) * wa + decoded(texels, b, 0) * wb + decoded(texels, c, 0) * wc + decoded(texels, d, 0) * wd,
        decoded(texels, a, 1) * wa + decoded(texels, b, 1) * wb + decoded(texels, c, 1) * wc + decoded(texels, d, 1) * wd,
        decoded(texels, a, 2) * wa + decoded(texels, b, 2) * wb + decoded(texels, c, 2) * wc + decoded(texels, d, 2) * wd,
        (
            np.float32(texels[a, 3]) * wa + np.float32(texels[b, 3]) * wb
            + np.float32(texels[c, 3]) * wc + np.float32(texels[d, 3]) * wd
        ) * _ALPHA,
    )  # fmt: skip
