"""Colour textures: bilinear, wrapped, filtered in linear light, with box-filtered mip levels made on demand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


def srgb_to_linear(values: NDArray[np.floating]) -> FloatArray:
    """Linear light of sRGB-encoded values in [0, 1] (IEC 61966-2-1), any shape."""
    values = np.asarray(values, dtype=np.float32)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(values: NDArray[np.floating]) -> FloatArray:
    """sRGB encoding of linear values, clipped to [0, 1] first, any shape."""
    values = np.clip(values, 0.0, 1.0).astype(np.float32, copy=False)
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055).astype(np.float32)


_DECODE = srgb_to_linear(np.arange(256) / 255.0)


class Texture:
    """An sRGB image sampled in linear light. (u, v) = (0, 0) is the top left corner of the image, as in glTF."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        """image: [H, W, 4] uint8, straight alpha (alpha is linear)."""
        self._levels = [np.ascontiguousarray(image)]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the full image, texels."""
        return self._levels[0].shape[0], self._levels[0].shape[1]

    @property
    def num_levels(self) -> int:
        """Number of mip levels, down to one texel along the longer side."""
        return max(self.size).bit_length()

    def sample(self, uvs: FloatArray, level: int) -> FloatArray:
        """Linear RGBA [n, 4] at uvs [n, 2]: bilinear in one mip level (0 = full size), repeating outside [0, 1]."""
        image = self._level(level)
        height, width = image.shape[:2]
        texels = image.reshape(-1, 4).view(np.uint32)[:, 0]
        position = uvs * np.array([width, height], dtype=np.float32) - 0.5
        corner = np.floor(position)
        fraction = position - corner
        corner = corner.astype(np.int32)
        left, top = corner[:, 0] % width, corner[:, 1] % height
        right, bottom = (left + 1) % width, (top + 1) % height
        fx, fy = fraction[:, :1], fraction[:, 1:]
        top, bottom = top * width, bottom * width
        corners = np.concatenate([top + left, top + right, bottom + left, bottom + right])
        top_left, top_right, bottom_left, bottom_right = np.split(_decode(texels.take(corners)), 4)
        upper = top_left + (top_right - top_left) * fx
        lower = bottom_left + (bottom_right - bottom_left) * fx
        return upper + (lower - upper) * fy

    def _level(self, level: int) -> NDArray[np.uint8]:
        while len(self._levels) <= level:
            image = self._levels[-1]
            image = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), mode="edge")
            linear = _decode(np.ascontiguousarray(image).view(np.uint32).ravel()).reshape(image.shape)
            mean = (linear[::2, ::2] + linear[1::2, ::2] + linear[::2, 1::2] + linear[1::2, 1::2]) * np.float32(0.25)
            mean[..., :3] = linear_to_srgb(mean[..., :3])
            self._levels.append(np.rint(mean * 255).astype(np.uint8))
        return self._levels[level]


def _decode(texels: NDArray[np.uint32]) -> FloatArray:
    """Linear RGBA [n, 4] of packed texels [n]."""
    encoded = texels.view(np.uint8).reshape(-1, 4)
    decoded = _DECODE.take(encoded)
    decoded[:, 3] = encoded[:, 3] * np.float32(1 / 255)
    return decoded
