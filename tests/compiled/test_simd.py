"""The vector operations of the compiled loops against numpy, lane by lane."""

from __future__ import annotations

import numpy as np

from gvf.compiled.bits import transpose_bits
from gvf.compiled.kernels import helper
from gvf.compiled.simd import exp2, interval_bits, load, store, sum_lanes


@helper
def powers_of_two(values, out):
    for at in range(0, len(values), 16):
        store(out, at, exp2(load(values, at)))


@helper
def sums_of_three(values, out):
    store(out, 0, sum_lanes((load(values, 0), load(values, 16), load(values, 32))))


@helper
def bits_between(ends):
    return interval_bits(load(ends, 0))


def test_the_exponential_keeps_its_stated_error() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.uniform(-120, 120, 100_000), np.arange(-120, 121), np.arange(-120, 120) + 0.5])
    values = np.resize(values, len(values) // 16 * 16).astype(np.float32)
    found = np.empty_like(values)
    powers_of_two(values, found)
    exact = np.exp2(values.astype(np.float64))
    assert np.abs(found / exact - 1).max() < 3e-7


def test_lanes_are_summed_into_their_documented_places() -> None:
    values = np.random.default_rng(0).normal(size=48).astype(np.float32)
    found = np.empty(16, np.float32)
    sums_of_three(values, found)
    expected = np.zeros(16)
    expected[[0, 4, 8]] = values.reshape(3, 16).sum(axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_intervals_become_bits_a_byte_each() -> None:
    first = np.array([0, 0, 3, 8, 5, 2.9, 7, 0], np.float32)
    last = np.array([8, 0, 5, 8, 4, 4.2, 8, 1], np.float32)
    expected = [0xFF, 0, 0b11000, 0, 0, 0b1100, 0x80, 1]
    assert int(bits_between(np.concatenate([first, last]))).to_bytes(8, "little") == bytes(expected)


def test_bits_are_transposed_in_blocks_of_64() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (128, 64), dtype=np.uint64)
    weights = np.uint64(1) << np.arange(64, dtype=np.uint64)
    packed = (bits * weights).sum(axis=1)
    expected = packed.copy()
    expected[64:] = (bits[64:].T * weights).sum(axis=1)
    transpose_bits(packed, 64)
    np.testing.assert_array_equal(packed, expected)
