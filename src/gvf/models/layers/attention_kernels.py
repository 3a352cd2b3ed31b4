"""Attention of few tokens with narrow heads, compiled for CPUs: norm of queries and keys, products and softmax in one pass.

Torch's kernels are made for long sequences and wide heads: of 32 tokens and heads of 32 channels they spend most of
their time on what surrounds the products. Here one head of one set of tokens is a work item: its rows are read where
they lie, converted to float32, and stay in the processor's nearest cache until the output is written.

Arrays are flat, float32 or bfloat16 as uint16 (see `simd.load`); `strides` are those of axes [batch, head, token] in
values, channels being adjacent. Sums are in float32, in an order that does not depend on the number of threads.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import math

import numpy as np

from gvf.compiled.kernels import helper, kernel
from gvf.compiled.simd import (
    LANES,
    add_lanes,
    exp2,
    fma,
    larger,
    largest_lane,
    load,
    load_one,
    select,
    splat,
    store,
    take_next,
    transpose_square,
)

ROWS = 32  # queries of a block
TILE = 8  # rows of a product that stay in registers
LOG2_E = np.float32(1.0 / math.log(2.0))
LOWEST = np.float32(
    -60.0
)  # exponents of weights, which no sum notices; smaller ones would make products denormal, and slow
HIDDEN = np.float32(-1e30)  # added to the logits of padding
SMALLEST_NORM = 1e-12


@helper
def multiply(a, a_first, a_row, a_step, b, b_first, b_step, count, out, out_first, out_row, add):
    """Write eight rows of sixteen columns of a product of matrices: out[i] = sum over k < count of a[i, k] b[k].

    Value [i, k] of `a` is at a_first + i a_row + k a_step, row k of `b` at b_first + k b_step. add: to what is there.
    """
    c0 = c1 = c2 = c3 = c4 = c5 = c6 = c7 = splat(0.0)
    if add:
        c0, c1 = load(out, out_first), load(out, out_first + out_row)
        c2, c3 = load(out, out_first + 2 * out_row), load(out, out_first + 3 * out_row)
        c4, c5 = load(out, out_first + 4 * out_row), load(out, out_first + 5 * out_row)
        c6, c7 = load(out, out_first + 6 * out_row), load(out, out_first + 7 * out_row)
    for k in range(count):
        at = a_first + k * a_step
        row = load(b, b_first + k * b_step)
        c0, c1 = fma(load_one(a, at), row, c0), fma(load_one(a, at + a_row), row, c1)
        c2, c3 = fma(load_one(a, at + 2 * a_row), row, c2), fma(load_one(a, at + 3 * a_row), row, c3)
        c4, c5 = fma(load_one(a, at + 4 * a_row), row, c4), fma(load_one(a, at + 5 * a_row), row, c5)
        c6, c7 = fma(load_one(a, at + 6 * a_row), row, c6), fma(load_one(a, at + 7 * a_row), row, c7)
    store(out, out_first, c0)
    store(out, out_first + out_row, c1)
    store(out, out_first + 2 * out_row, c2)
    store(out, out_first + 3 * out_row, c3)
    store(out, out_first + 4 * out_row, c4)
    store(out, out_first + 5 * out_row, c5)
    store(out, out_first + 6 * out_row, c6)
    store(out, out_first + 7 * out_row, c7)


@helper
def read_rows(source, first, stride, count, width, gains, gain, rows, inverses):
    """Copy `count` rows to float32, normalised where `gain` >= 0: unit length times gains[gain:], and 1/length in `inverses`."""
    for i in range(count):
        at = first + i * stride
        if gain < 0:
            for c in range(0, width, LANES):
                store(rows, i * width + c, load(source, at + c))
            continue
        squares = splat(0.0)
        for c in range(0, width, LANES):
            part = load(source, at + c)
            squares = fma(part, part, squares)
        length = max(math.sqrt(add_lanes(squares)), SMALLEST_NORM)
        inverse = np.float32(1.0 / length)
        inverses[i] = inverse
        for c in range(0, width, LANES):
            store(rows, i * width + c, load(source, at + c) * inverse * load(gains, gain + c))


@helper
def write_gradient(
    source, first, stride, count, width, gains, gain, inverses, gradients, out, out_first, out_stride, sums, sum_first
):
    """Write the gradient of rows from that of the copies that `read_rows` made; add that of the gains to sums[sum_first:]."""
    for i in range(count):
        at, out_at = first + i * stride, out_first + i * out_stride
        if gain < 0:
            for c in range(0, width, LANES):
                store(out, out_at + c, load(gradients, i * width + c))
            continue
        inverse = inverses[i]
        along = splat(0.0)
        for c in range(0, width, LANES):
            unit, gradient = load(source, at + c) * inverse, load(gradients, i * width + c)
            store(sums, sum_first + c, fma(unit, gradient, load(sums, sum_first + c)))
            along = fma(unit, gradient * load(gains, gain + c), along)
        length = add_lanes(along)
        for c in range(0, width, LANES):
            unit, gradient = load(source, at + c) * inverse, load(gradients, i * width + c) * load(gains, gain + c)
            store(out, out_at + c, (gradient - unit * length) * inverse)


@helper
def transpose(rows, count, width, columns, stride):
    """Write rows [count, width] as columns [width, stride]; `rows` has room for a multiple of sixteen."""
    for i in range(0, count, LANES):
        for c in range(0, width, LANES):
            transpose_square(rows, i * width + c, width, columns, c * stride + i, stride)


@helper
def soften(logits, rows, padded, hidden, scale, sums):
    """Turn rows of logits into exp(scale (logit - largest)), with their sums; scale is positive."""
    for i in range(rows):
        first = i * padded
        most = splat(HIDDEN)
        for c in range(0, padded, LANES):
            most = larger(most, load(logits, first + c) + load(hidden, c))
        largest = largest_lane(most)
        total = splat(0.0)
        for c in range(0, padded, LANES):
            weight = exp2(larger(LOWEST, (load(logits, first + c) - largest) * scale))  # not a number stays one
            weight = select(load(hidden, c) < 0.0, 0.0, weight)
            store(logits, first + c, weight)
            total = total + weight
        sums[i] = add_lanes(total)


@helper
def hide_padding(padded, count):
    """Return what is added to logits: zeros, HIDDEN from `count` on."""
    hidden = np.zeros(padded, np.float32)
    for c in range(count, padded):
        hidden[c] = HIDDEN
    return hidden


@kernel
def attend_forward(
    counter, queries, query_strides, keys, key_strides, values, value_strides, gains, shape, out, out_strides
):
    """Write the attention output of every item, a head of a set of tokens.

    gains: [2, H, D] of queries and keys, times sqrt(D); empty without norm. shape: B, H, N, M, D.
    """
    batch, heads, num_queries, num_keys, width = shape
    padded = (num_keys + LANES - 1) // LANES * LANES
    scale = LOG2_E / np.float32(math.sqrt(width))
    key_rows, columns = np.zeros(padded * width, np.float32), np.zeros(width * padded, np.float32)
    value_rows, hidden = np.zeros(padded * width, np.float32), hide_padding(padded, num_keys)
    rows, logits = np.zeros(ROWS * width, np.float32), np.zeros(ROWS * padded, np.float32)
    results, sums = np.zeros(ROWS * width, np.float32), np.zeros(ROWS, np.float32)
    inverses = np.zeros(max(padded, ROWS), np.float32)
    while True:
        item = take_next(counter)
        if item >= batch * heads:
            return
        b, h = item // heads, item % heads
        query_gain = h * width if len(gains) else -1
        key_gain = (heads + h) * width if len(gains) else -1
        at = b * key_strides[0] + h * key_strides[1]
        read_rows(keys, at, key_strides[2], num_keys, width, gains, key_gain, key_rows, inverses)
        transpose(key_rows, num_keys, width, columns, padded)
        at = b * value_strides[0] + h * value_strides[1]
        read_rows(values, at, value_strides[2], num_keys, width, gains, -1, value_rows, inverses)
        for first in range(0, num_queries, ROWS):
            count = min(ROWS, num_queries - first)
            at = b * query_strides[0] + h * query_strides[1] + first * query_strides[2]
            read_rows(queries, at, query_strides[2], count, width, gains, query_gain, rows, inverses)
            for i in range(0, count, TILE):
                for c in range(0, padded, LANES):
                    multiply(
                        rows, i * width, width, 1, columns, c, padded, width, logits, i * padded + c, padded, False
                    )
            soften(logits, count, padded, hidden, scale, sums)
            for i in range(0, count, TILE):
                for c in range(0, width, LANES):
                    multiply(
                        logits,
                        i * padded,
                        padded,
                        1,
                        value_rows,
                        c,
                        width,
                        num_keys,
                        results,
                        i * width + c,
                        width,
                        False,
                    )
            at = b * out_strides[0] + h * out_strides[1] + first * out_strides[2]
            for i in range(count):
                share = np.float32(1.0) / sums[i]
                for c in range(0, width, LANES):
                    store(out, at + i * out_strides[2] + c, load(results, i * width + c) * share)


@kernel
def attend_backward(
    counter, queries, query_strides, keys, key_strides, values, value_strides, gains, shape,
    gradient, gradient_strides, query_gradient, query_gradient_strides, key_gradient, value_gradient,
    key_gradient_strides, gain_gradients,
):  # fmt: skip
    """Write the gradients of what `attend_forward` read; those of gains per item, [B, H, 2, D], added to what is there.

    gradient: of the output. key_gradient_strides: of the values' gradient, too.
    """
    batch, heads, num_queries, num_keys, width = shape
    padded = (num_keys + LANES - 1) // LANES * LANES
    factor = np.float32(1.0 / math.sqrt(width))
    key_rows, columns = np.zeros(padded * width, np.float32), np.zeros(width * padded, np.float32)
    value_rows, value_columns = np.zeros(padded * width, np.float32), np.zeros(width * padded, np.float32)
    hidden = hide_padding(padded, num_keys)
    rows, gradient_rows = np.zeros(ROWS * width, np.float32), np.zeros(ROWS * width, np.float32)
    weights, products = np.zeros(ROWS * padded, np.float32), np.zeros(ROWS * padded, np.float32)
    results, sums = np.zeros(ROWS * width, np.float32), np.zeros(ROWS, np.float32)
    inverses, key_inverses = np.zeros(ROWS, np.float32), np.zeros(padded, np.float32)
    key_sums, value_sums = np.zeros(padded * width, np.float32), np.zeros(padded * width, np.float32)
    while True:
        item = take_next(counter)
        if item >= batch * heads:
            return
        b, h = item // heads, item % heads
        query_gain = h * width if len(gains) else -1
        key_gain = (heads + h) * width if len(gains) else -1
        key_at = b * key_strides[0] + h * key_strides[1]
        read_rows(keys, key_at, key_strides[2], num_keys, width, gains, key_gain, key_rows, key_inverses)
        transpose(key_rows, num_keys, width, columns, padded)
        at = b * value_strides[0] + h * value_strides[1]
        read_rows(values, at, value_strides[2], num_keys, width, gains, -1, value_rows, key_inverses)
        transpose(value_rows, num_keys, width, value_columns, padded)
        key_sums[:] = 0.0
        value_sums[:] = 0.0
        for first in range(0, num_queries, ROWS):
            count = min(ROWS, num_queries - first)
            query_at = b * query_strides[0] + h * query_strides[1] + first * query_strides[2]
            read_rows(queries, query_at, query_strides[2], count, width, gains, query_gain, rows, inverses)
            at = b * gradient_strides[0] + h * gradient_strides[1] + first * gradient_strides[2]
            read_rows(gradient, at, gradient_strides[2], count, width, gains, -1, gradient_rows, inverses)
            for i in range(0, count, TILE):
                for c in range(0, padded, LANES):
                    multiply(
                        rows, i * width, width, 1, columns, c, padded, width, weights, i * padded + c, padded, False
                    )
                    multiply(
                        gradient_rows, i * width, width, 1, value_columns, c, padded, width, products, i * padded + c,
                        padded, False,
                    )  # fmt: skip
            soften(weights, count, padded, hidden, LOG2_E * factor, sums)
            for i in range(count):
                share, along = np.float32(1.0) / sums[i], splat(0.0)
                for c in range(i * padded, (i + 1) * padded, LANES):
                    weight = load(weights, c) * share
                    store(weights, c, weight)
                    along = fma(weight, load(products, c), along)
                mean = add_lanes(along)
                for c in range(i * padded, (i + 1) * padded, LANES):
                    store(products, c, load(weights, c) * (load(products, c) - mean) * factor)
            for j in range(0, num_keys, TILE):
                for c in range(0, width, LANES):
                    multiply(
                        weights, j, 1, padded, gradient_rows, c, width, count, value_sums, j * width + c, width, True
                    )
                    multiply(products, j, 1, padded, rows, c, width, count, key_sums, j * width + c, width, True)
            for i in range(0, count, TILE):
                for c in range(0, width, LANES):
                    multiply(
                        products,
                        i * padded,
                        padded,
                        1,
                        key_rows,
                        c,
                        width,
                        num_keys,
                        results,
                        i * width + c,
                        width,
                        False,
                    )
            at = b * query_gradient_strides[0] + h * query_gradient_strides[1] + first * query_gradient_strides[2]
            write_gradient(
                queries, query_at, query_strides[2], count, width, gains, query_gain, inverses, results,
                query_gradient, at, query_gradient_strides[2], gain_gradients, item * 2 * width,
            )  # fmt: skip
        at = b * key_gradient_strides[0] + h * key_gradient_strides[1]
        write_gradient(
            keys, key_at, key_strides[2], num_keys, width, gains, key_gain, key_inverses, key_sums,
            key_gradient, at, key_gradient_strides[2], gain_gradients, (item * 2 + 1) * width,
        )  # fmt: skip
        write_gradient(
            values, key_at, key_strides[2], num_keys, width, gains, -1, key_inverses, value_sums,
            value_gradient, at, key_gradient_strides[2], gain_gradients, 0,
        )  # fmt: skip
