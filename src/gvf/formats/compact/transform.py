"""Transforms of the compact coding: cosines over time, integer Haar wavelets over Gaussians, and the Morton order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int32]
Floats = NDArray[np.float64]

MORTON_CELLS = 1024  # per axis


def cosine_matrix(length: int) -> Floats:
    """Return the orthonormal DCT-II matrix [length, length]: row k times values over time is coefficient k."""
    k, t = np.arange(length)[:, None], np.arange(length)[None]
    matrix = np.sqrt(2.0 / length) * np.cos(np.pi * (2 * t + 1) * k / (2 * length))
    matrix[0] = np.sqrt(1.0 / length)
    return matrix


def haar(values: Integers) -> Integers:
    """Return the integer Haar wavelet transform of [..., N] along the last axis, from the coarsest band to the finest.

    A pair (a, b) becomes the difference d = b - a and the floored mean a + (d >> 1), which the next level pairs again; an
    odd last value is carried on. The transform is exact where |values| < 2^30.
    """
    bands = []
    while values.shape[-1] > 1:
        first, second = values[..., 0::2], values[..., 1::2]
        difference = second - first[..., : second.shape[-1]]
        bands.append(difference)
        values = first.copy()
        values[..., : difference.shape[-1]] += difference >> 1
    return np.concatenate([values, *reversed(bands)], axis=-1)


def inverse_haar(coefficients: Integers) -> Integers:
    """Invert `haar`; sums wrap around at 32 bits."""
    lengths = [coefficients.shape[-1]]
    while lengths[-1] > 1:
        lengths.append(-(-lengths[-1] // 2))
    values = coefficients[..., :1]
    for length in reversed(lengths[:-1]):
        start = values.shape[-1]
        difference = coefficients[..., start:length]
        merged = np.empty((*values.shape[:-1], length), np.int32)
        merged[..., 0::2] = values
        merged[..., : 2 * difference.shape[-1] : 2] -= difference >> 1
        merged[..., 1::2] = merged[..., : 2 * difference.shape[-1] : 2] + difference
        values = merged
    return values


def morton_order(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the order [N] of points [N, 3] along a Morton curve of 1024^3 cells; points of one cell keep their order.

    The cells are cubes that fill the bounding box from its lower corner; its longest side has 1024 of them. Bit 3 b + a of
    the code of a cell is bit b of its index along axis a.
    """
    exact = points.astype(np.float64)
    low = exact.min(axis=0)
    side = float((exact.max(axis=0) - low).max())
    cells = np.zeros(exact.shape, np.int64)
    if side > 0:
        cells = np.minimum(np.floor((exact - low) * (MORTON_CELLS / side)), MORTON_CELLS - 1).astype(np.int64)
    code = np.zeros(len(exact), np.int64)
    for bit in range(MORTON_CELLS.bit_length() - 1):
        for axis in range(3):
            code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return np.argsort(code, kind="stable")
