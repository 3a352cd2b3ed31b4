"""Byte streams of the compact coding: integers as planes of bytes, many planes as one zlib stream."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gvf.errors import UserError
from gvf.formats.compact.transform import Integers, haar, inverse_haar

WIDTHS = (0, 2, 4, 8, 16, 24, 32)  # bits per value by code; 0 is a plane of zeros
HAAR = 8  # flag beside the code of the width
_LEVEL = 6  # of zlib; 9 takes five times as long for 1 % less
_MOST_EXPANSION = 1040  # zlib expands by at most 1032


def pack(planes: Integers) -> list[bytes]:
    """Return the stream of planes [P, N], |values| < 2^29, in parts: P mode bytes, then the bytes of planes that are not zero.

    Of the values themselves and their Haar coefficients the one is stored whose bytes have the smaller entropy. A part
    holds bytes of one distribution.
    """
    modes, parts = bytearray(), []
    for values, coefficients in zip(planes, haar(planes)):
        if not values.any():
            modes.append(0)
            continue
        plain_code, plain = _narrow(values)
        haar_code, transformed = _narrow(coefficients)
        better = _entropy(transformed) < _entropy(plain)
        modes.append(haar_code | HAAR if better else plain_code)
        parts += [row.tobytes() for row in (transformed if better else plain)]
    return [bytes(modes), *parts]


def estimated_bits(planes: Integers) -> float:
    """Return the entropy in bits of the bytes that `pack` would store for planes [P, N]."""
    return sum(
        min(_entropy(_narrow(values)[1]), _entropy(_narrow(coefficients)[1]))
        for values, coefficients in zip(planes, haar(planes))
    )


def unpack(stream: bytes, num_planes: int, length: int) -> Integers:
    """Invert `pack`: return the planes [num_planes, length]. Raises UserError when the stream has another size or mode."""
    if len(stream) < num_planes:
        raise UserError(f"has {len(stream)} bytes, too few for the modes of {num_planes} planes.")
    planes = np.zeros((num_planes, length), np.int32)
    position = num_planes
    for index, mode in enumerate(stream[:num_planes]):
        code, other = mode & 7, mode & ~(7 | HAAR)
        if code >= len(WIDTHS) or other or mode == HAAR:
            raise UserError(f"plane {index} has the unknown mode {mode}.")
        size = -(-length * WIDTHS[code] // 8)
        if position + size > len(stream):
            raise UserError(f"is too short for plane {index}.")
        if code:
            values = _widen(np.frombuffer(stream, np.uint8, size, position), WIDTHS[code], length)
            planes[index] = inverse_haar(values) if mode & HAAR else values
        position += size
    if position != len(stream):
        raise UserError(f"has {len(stream)} bytes, but its planes have {position}.")
    return planes


def deflate(parts: Iterable[bytes]) -> bytes:
    """Return a stream as zlib data; each part begins a block, so that its code fits its distribution."""
    deflater = zlib.compressobj(_LEVEL, strategy=zlib.Z_FILTERED)
    blocks = [deflater.compress(part) + deflater.flush(zlib.Z_BLOCK) for part in parts]
    return b"".join(blocks) + deflater.flush()


def inflate(data: bytes | memoryview, size: int) -> bytes:
    """Return the `size` bytes of zlib data; never more memory is taken than that. Raises UserError for any other size."""
    if size > _MOST_EXPANSION * len(data):
        raise UserError(f"announces {size} bytes, more than {len(data)} bytes of zlib data can hold.")
    inflater = zlib.decompressobj()
    try:
        stream = inflater.decompress(data, size + 1)
    except zlib.error as error:
        raise UserError(f"is not valid zlib data ({error}).") from None
    if len(stream) != size or not inflater.eof or inflater.unused_data:
        raise UserError(f"does not inflate to the {size} bytes that are announced.")
    return stream


def _narrow(values: Integers) -> tuple[int, NDArray[np.uint8]]:
    """Return the code of the smallest width that holds the zigzag values of [N], and their bytes as rows.

    Widths below 8 bits are one row, which has the first value in the lowest bits of a byte; wider values are rows by
    significance, the lowest bytes of all values first.
    """
    zigzag = ((values << 1) ^ (values >> 31)).view(np.uint32)
    bits = int(zigzag.max()).bit_length()
    code = next(code for code, width in enumerate(WIDTHS) if bits <= width)
    width = WIDTHS[code]
    if width < 8:
        each = 8 // max(width, 1)
        padded = np.zeros(-(-len(zigzag) // each) * each, np.uint8)
        padded[: len(zigzag)] = zigzag
        columns = padded.reshape(-1, each)
        packed = columns[:, 0].copy()
        for column in range(1, each):
            packed |= columns[:, column] << (width * column)
        return code, packed[None]
    return code, np.stack([(zigzag >> shift).astype(np.uint8) for shift in range(0, width, 8)])


def _widen(data: NDArray[np.uint8], width: int, length: int) -> Integers:
    """Invert `_narrow` for one width in bits."""
    if width < 8:
        each, mask = 8 // width, (1 << width) - 1
        shifts = np.arange(each, dtype=np.uint8) * np.uint8(width)
        zigzag = ((data[:, None] >> shifts) & np.uint8(mask)).reshape(-1)[:length].astype(np.uint32)
    else:
        zigzag = np.zeros(length, np.uint32)
        for index, row in enumerate(data.reshape(width // 8, length)):
            zigzag |= row.astype(np.uint32) << np.uint32(8 * index)
    return (zigzag >> np.uint32(1)).view(np.int32) ^ -(zigzag & np.uint32(1)).view(np.int32)


def _entropy(rows: NDArray[np.uint8]) -> float:
    """Return the bits of rows of bytes, each coded by its own distribution."""
    bits = 0.0
    for row in rows:
        counts = np.bincount(row, minlength=256)
        shares = counts[counts > 0] / len(row)
        bits -= float((shares * np.log2(shares)).sum()) * len(row)
    return bits
