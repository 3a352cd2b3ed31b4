"""Residual connection, LayerNorm and modulation in one pass over the tokens, compiled for CPUs.

Torch takes a pass each for gate, sum, norm and modulation, and twice as many backward, where sums over tokens come on top.
Arrays are flat, float32 or bfloat16 as uint16 (see `simd.load`); those of groups are float32. Sums are in float32, in an
order that does not depend on the number of threads.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import math

import numpy as np

from gvf.compiled.kernels import helper, kernel
from gvf.compiled.simd import LANES, add_lanes, fma, load, splat, store, take_next

CHUNK = 32  # tokens of a work item, all of one group


@helper
def moments(x, first, width, eps):
    """Return the mean of a token's channels and one over their standard deviation."""
    total = splat(0.0)
    for c in range(first, first + width, LANES):
        total = total + load(x, c)
    mean = np.float32(add_lanes(total) / np.float32(width))
    squares = splat(0.0)
    for c in range(first, first + width, LANES):
        distance = load(x, c) - mean
        squares = fma(distance, distance, squares)
    return mean, np.float32(1.0 / math.sqrt(add_lanes(squares) / np.float32(width) + eps))


@kernel
def add_and_norm(counter, x, update, gates, factors, shifts, shape, eps, total, out):
    """Write total = x + gate update, and out = norm(total) factor + shift.

    x, update: tokens [G, N, C] of G groups; update empty: total is x, and not written. gates, factors, shifts: [G, C].
    """
    groups, tokens, width = shape
    chunks = (tokens + CHUNK - 1) // CHUNK
    while True:
        item = take_next(counter)
        if item >= groups * chunks:
            return
        group, chunk = item // chunks, item % chunks
        at_group = group * width
        for token in range(chunk * CHUNK, min((chunk + 1) * CHUNK, tokens)):
            first = (group * tokens + token) * width
            if len(update):
                for c in range(0, width, LANES):
                    store(total, first + c, fma(load(gates, at_group + c), load(update, first + c), load(x, first + c)))
            mean, inverse = moments(total, first, width, eps)
            for c in range(0, width, LANES):
                normal = (load(total, first + c) - mean) * inverse
                store(out, first + c, fma(normal, load(factors, at_group + c), load(shifts, at_group + c)))


@kernel
def add_and_norm_backward(
    counter, total, update, gates, factors, shape, eps, total_gradient, out_gradient, gradient, update_gradient, sums
):
    """Write the gradients of `add_and_norm`: of x, of the update if there is one, and sums over the tokens of a work item.

    total_gradient, out_gradient: of its two results; the first may be empty. sums: [items, 3, C], of gates, factors and
    shifts, all zero at first.
    """
    groups, tokens, width = shape
    chunks = (tokens + CHUNK - 1) // CHUNK
    while True:
        item = take_next(counter)
        if item >= groups * chunks:
            return
        group, chunk = item // chunks, item % chunks
        at_group, at_gates = group * width, item * 3 * width
        at_factors, at_shifts = at_gates + width, at_gates + 2 * width
        for token in range(chunk * CHUNK, min((chunk + 1) * CHUNK, tokens)):
            first = (group * tokens + token) * width
            mean, inverse = moments(total, first, width, eps)
            plain = along = splat(0.0)
            for c in range(0, width, LANES):
                normal, upstream = (load(total, first + c) - mean) * inverse, load(out_gradient, first + c)
                store(sums, at_factors + c, fma(normal, upstream, load(sums, at_factors + c)))
                store(sums, at_shifts + c, upstream + load(sums, at_shifts + c))
                upstream = upstream * load(factors, at_group + c)
                plain = plain + upstream
                along = fma(normal, upstream, along)
            plain_mean = add_lanes(plain) / np.float32(width)
            along_mean = add_lanes(along) / np.float32(width)
            for c in range(0, width, LANES):
                normal = (load(total, first + c) - mean) * inverse
                upstream = load(out_gradient, first + c) * load(factors, at_group + c)
                through = (upstream - plain_mean - normal * along_mean) * inverse
                if len(total_gradient):
                    through = through + load(total_gradient, first + c)
                store(gradient, first + c, through)
                if len(update):
                    store(update_gradient, first + c, through * load(gates, at_group + c))
                    store(sums, at_gates + c, fma(through, load(update, first + c), load(sums, at_gates + c)))
