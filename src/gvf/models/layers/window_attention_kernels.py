"""Self attention inside windows of sparse voxels, compiled for CPUs.

The windows of a sparse grid hold anything from one token to hundreds. For torch's kernels they have to be gathered, padded,
masked and scattered again, and their gradients as well. Here one head of one window is a work item, which reads the rows of
its tokens where they lie and writes theirs alone. Arrays are flat, float32 or bfloat16 as uint16 (see `simd.load`): `qkv`
are queries, keys and values [M, 3, H, D]. `order` are the tokens window by window, of which window w has those from
starts[w] up to starts[w + 1]. Sums are in float32, in an order that does not depend on the number of threads.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import math

import numpy as np

from gvf.compiled.kernels import helper, kernel
from gvf.compiled.simd import LANES, add_lanes, fma, load, splat, store, take_next
from gvf.models.layers.attention_kernels import HIDDEN, LOG2_E, ROWS, TILE, multiply, soften, transpose


@helper
def gather_rows(source, order, start, count, row, column, width, rows):
    """Copy `width` values from `column` on of the rows order[start:start + count] of a matrix with rows of `row` values."""
    for i in range(count):
        at = order[start + i] * row + column
        for c in range(0, width, LANES):
            store(rows, i * width + c, load(source, at + c))


@helper
def scatter_rows(rows, order, start, count, row, column, width, target):
    """Invert `gather_rows`."""
    for i in range(count):
        at = order[start + i] * row + column
        for c in range(0, width, LANES):
            store(target, at + c, load(rows, i * width + c))


@helper
def hide(hidden, padded, count):
    """Write what is added to logits: zeros, HIDDEN from `count` on."""
    for c in range(padded):
        hidden[c] = 0.0 if c < count else HIDDEN


@helper
def product(a, rows, inner, b, columns, out):
    """Write out = a b for matrices with rows side by side; `a` and `out` have room for a multiple of eight rows."""
    for i in range(0, rows, TILE):
        for c in range(0, columns, LANES):
            multiply(a, i * inner, inner, 1, b, c, columns, inner, out, i * columns + c, columns, False)


@helper
def weighted_rows(weights, rows, padded, count, b, width, out):
    """Write out = weights b, of whose columns `count` of `padded` are read."""
    for i in range(0, rows, TILE):
        for c in range(0, width, LANES):
            multiply(weights, i * padded, padded, 1, b, c, width, count, out, i * width + c, width, False)


@kernel
def attend_windows_forward(counter, qkv, order, starts, shape, out):
    """Write the attention output [M, H, D]. shape: heads, their width, tokens of the largest window."""
    heads, width, largest = shape
    room = (largest + LANES - 1) // LANES * LANES
    scale, row = LOG2_E / np.float32(math.sqrt(width)), heads * width
    key_rows, columns = np.zeros(room * width, np.float32), np.zeros(width * room, np.float32)
    value_rows, hidden = np.zeros(room * width, np.float32), np.zeros(room, np.float32)
    rows, logits = np.zeros(ROWS * width, np.float32), np.zeros(ROWS * room, np.float32)
    results, sums = np.zeros(ROWS * width, np.float32), np.zeros(ROWS, np.float32)
    while True:
        item = take_next(counter)
        if item >= (len(starts) - 1) * heads:
            return
        start, total, head = starts[item // heads], starts[item // heads + 1], item % heads * width
        total -= start
        padded = (total + LANES - 1) // LANES * LANES
        gather_rows(qkv, order, start, total, 3 * row, row + head, width, key_rows)
        transpose(key_rows, total, width, columns, padded)
        gather_rows(qkv, order, start, total, 3 * row, 2 * row + head, width, value_rows)
        hide(hidden, padded, total)
        for first in range(0, total, ROWS):
            count = min(ROWS, total - first)
            gather_rows(qkv, order, start + first, count, 3 * row, head, width, rows)
            product(rows, count, width, columns, padded, logits)
            soften(logits, count, padded, hidden, scale, sums)
            weighted_rows(logits, count, padded, total, value_rows, width, results)
            for i in range(count):
                share = np.float32(1.0) / sums[i]
                for c in range(i * width, (i + 1) * width, LANES):
                    store(results, c, load(results, c) * share)
            scatter_rows(results, order, start + first, count, row, head, width, out)


@helper
def soften_backward(weights, products, rows, padded, factor, sums):
    """Turn weights into shares of their sum, and products (gradients of the shares) into gradients of the logits."""
    for i in range(rows):
        share, along = np.float32(1.0) / sums[i], splat(0.0)
        for c in range(i * padded, (i + 1) * padded, LANES):
            weight = load(weights, c) * share
            store(weights, c, weight)
            along = fma(weight, load(products, c), along)
        mean = add_lanes(along)
        for c in range(i * padded, (i + 1) * padded, LANES):
            store(products, c, load(weights, c) * (load(products, c) - mean) * factor)


@helper
def add_transposed(weights, count, padded, total, rows, width, sums):
    """Add weights^T rows to `sums`, where weights are [count, padded] and `total` of their columns are read."""
    for j in range(0, total, TILE):
        for c in range(0, width, LANES):
            multiply(weights, j, 1, padded, rows, c, width, count, sums, j * width + c, width, True)


@kernel
def attend_windows_backward(counter, qkv, order, starts, shape, gradient, qkv_gradient):
    """Write the gradient of `qkv` from that of the output. order, starts, shape: of `attend_windows_forward`."""
    heads, width, largest = shape
    room = (largest + LANES - 1) // LANES * LANES
    factor, row = np.float32(1.0 / math.sqrt(width)), heads * width
    key_rows, columns = np.zeros(room * width, np.float32), np.zeros(width * room, np.float32)
    value_rows, value_columns = np.zeros(room * width, np.float32), np.zeros(width * room, np.float32)
    rows, gradient_rows = np.zeros(ROWS * width, np.float32), np.zeros(ROWS * width, np.float32)
    weights, products = np.zeros(ROWS * room, np.float32), np.zeros(ROWS * room, np.float32)
    results, sums, hidden = np.zeros(ROWS * width, np.float32), np.zeros(ROWS, np.float32), np.zeros(room, np.float32)
    key_sums, value_sums = np.zeros(room * width, np.float32), np.zeros(room * width, np.float32)
    while True:
        item = take_next(counter)
        if item >= (len(starts) - 1) * heads:
            return
        start, total, head = starts[item // heads], starts[item // heads + 1], item % heads * width
        total -= start
        padded = (total + LANES - 1) // LANES * LANES
        gather_rows(qkv, order, start, total, 3 * row, row + head, width, key_rows)
        transpose(key_rows, total, width, columns, padded)
        gather_rows(qkv, order, start, total, 3 * row, 2 * row + head, width, value_rows)
        transpose(value_rows, total, width, value_columns, padded)
        hide(hidden, padded, total)
        key_sums[: padded * width] = 0.0
        value_sums[: padded * width] = 0.0
        for first in range(0, total, ROWS):
            count = min(ROWS, total - first)
            gather_rows(qkv, order, start + first, count, 3 * row, head, width, rows)
            gather_rows(gradient, order, start + first, count, row, head, width, gradient_rows)
            product(rows, count, width, columns, padded, weights)
            product(gradient_rows, count, width, value_columns, padded, products)
            soften(weights, count, padded, hidden, LOG2_E * factor, sums)
            soften_backward(weights, products, count, padded, factor, sums)
            add_transposed(weights, count, padded, total, gradient_rows, width, value_sums)
            add_transposed(products, count, padded, total, rows, width, key_sums)
            weighted_rows(products, count, padded, total, key_rows, width, results)
            scatter_rows(results, order, start + first, count, 3 * row, head, width, qkv_gradient)
        scatter_rows(key_sums, order, start, total, 3 * row, row + head, width, qkv_gradient)
        scatter_rows(value_sums, order, start, total, 3 * row, 2 * row + head, width, qkv_gradient)
