"""The parts of the compact coding: transforms against SciPy and by hand, streams there and back, and hostile streams."""

from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest
from scipy.fft import dct
from scipy.spatial.transform import Rotation

from gvf.errors import UserError
from gvf.formats.compact.changes import conjugate, multiply
from gvf.formats.compact.planes import deflate, inflate, pack, unpack
from gvf.formats.compact.sequence import check_segments
from gvf.formats.compact.transform import cosine_matrix, haar, inverse_haar, morton_order


@pytest.mark.parametrize("length", [1, 2, 7, 16])
def test_cosines_are_scipys_orthonormal_dct(length: int) -> None:
    values = np.random.default_rng(0).normal(size=(length, 5))
    np.testing.assert_allclose(cosine_matrix(length) @ values, dct(values, axis=0, norm="ortho"), atol=1e-12)


def test_haar_by_hand() -> None:
    # pairs (5, 8), (-3, -6), 7 alone: means 6, -5 (floored), 7; then (6, -5), 7: means 0 and 7; then (0, 7): mean 3
    found = haar(np.array([5, 8, -3, -6, 7], np.int32))
    assert found.tolist() == [3, 7, -11, 3, -3]


@pytest.mark.parametrize("length", [1, 2, 3, 64, 1001])
def test_haar_is_inverted_up_to_the_largest_values(length: int) -> None:
    values = np.random.default_rng(0).integers(-(2**29) + 1, 2**29, (3, length)).astype(np.int32)
    np.testing.assert_array_equal(inverse_haar(haar(values)), values)


def test_morton_order_interleaves_bits() -> None:
    points = np.random.default_rng(0).random((200, 3), np.float32)
    points[0], points[1] = 0, 1  # the bounding box is the unit cube
    cells = np.minimum(points.astype(np.float64) * 1024, 1023).astype(int)
    codes = [int("".join(f"{z:010b}"[b] + f"{y:010b}"[b] + f"{x:010b}"[b] for b in range(10)), 2) for x, y, z in cells]
    assert morton_order(points).tolist() == sorted(range(200), key=codes.__getitem__)
    assert morton_order(np.ones((4, 3), np.float32)).tolist() == [0, 1, 2, 3]


def test_products_of_quaternions_are_scipys() -> None:
    a, b = Rotation.random(10, rng=0), Rotation.random(10, rng=1)
    first, second = (rotation.as_quat(scalar_first=True).T for rotation in (a, b))
    found = Rotation.from_quat(multiply(first, conjugate(second)).T, scalar_first=True)
    np.testing.assert_allclose(found.as_matrix(), (a * b.inv()).as_matrix(), atol=1e-12)


@pytest.mark.parametrize("length", [1, 3, 50])
def test_planes_of_every_width_come_back(length: int) -> None:
    generator = np.random.default_rng(0)
    spreads = [0, 1, 2, 8, 100, 30_000, 1 << 22, (1 << 29) - 1]
    planes = np.stack([generator.integers(-spread, spread + 1, length) for spread in spreads]).astype(np.int32)
    smooth = np.arange(length, dtype=np.int32)[None] * 1000  # stored as wavelets
    planes = np.concatenate([planes, smooth])
    parts = pack(planes)
    stream = b"".join(parts)
    np.testing.assert_array_equal(unpack(stream, len(planes), length), planes)
    assert inflate(deflate(parts), len(stream)) == stream
    assert zlib.decompress(deflate(parts)) == stream


def test_small_values_take_few_bits() -> None:
    planes = np.array([[0, -1, 1, -2, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5, 6, 7], [0] * 8], np.int32)
    modes, *parts = pack(planes)
    assert modes[2] == 0
    assert parts[0] == bytes([0b11_10_01_00, 0])  # zigzag 0, 1, 2, 3: the first value in the lowest bits
    assert len(parts) == 2


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"", "too few"),
        (bytes([7, 0]), "unknown mode 7"),
        (bytes([8, 0]), "unknown mode 8"),
        (bytes([16, 0]), "unknown mode 16"),
        (bytes([3, 0]), "too short for plane 0"),
        (bytes([0, 0, 1]), "its planes have 2"),
    ],
    ids=["empty", "width", "zeros as wavelets", "flag", "short", "long"],
)
def test_damaged_streams_are_refused(stream: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        unpack(stream, 2, 5)


@pytest.mark.parametrize(
    ("data", "size", "message"),
    [
        (zlib.compress(bytes(100)), 99, "does not inflate to the 99 bytes"),
        (zlib.compress(bytes(100)), 101, "does not inflate"),
        (zlib.compress(bytes(100)) + b"x", 100, "does not inflate"),
        (zlib.compress(bytes(100))[:-2], 100, "does not inflate"),
        (b"no zlib data", 5, "not valid zlib data"),
        (zlib.compress(b"x"), 10**9, "more than"),
    ],
    ids=["longer", "shorter", "rest", "cut", "text", "impossible"],
)
def test_sizes_must_be_those_announced(data: bytes, size: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        inflate(data, size)


def test_a_bomb_takes_no_more_memory_than_announced() -> None:
    bomb = zlib.compress(bytes(200_000_000))
    tracemalloc.start()
    with pytest.raises(UserError, match="does not inflate"):
        inflate(bomb, 100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([(1, 17)], "17 frames from 1"),
        ([(2, 3)], "expected 1 to 16 from 1"),
        ([(1, 3)], "end at frame 3"),
        ([], "frame 0"),
    ],
)
def test_segments_must_follow_each_other(segments: list[tuple[int, int]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_segments(segments, 18)
