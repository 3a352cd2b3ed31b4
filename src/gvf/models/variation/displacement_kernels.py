"""The tokens of moving mesh points, compiled for CPUs: embedding of displacements, sum with that of positions, and norms.

Torch makes seven passes forward over what is the largest tensor of the variation VAE. A row depends on the three numbers of
a displacement and the embedding of its point's position, so here it is computed in registers and written once; backward it is
computed again, and only the sums that are the gradients of weights and bias are kept. Arrays are flat float32. Sums are in
an order that does not depend on the number of threads.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import math

import numpy as np

from gvf.compiled.kernels import helper, kernel
from gvf.compiled.simd import LANES, add_lanes, fma, load, load_one, splat, store, take_next

CHUNK = 128  # points of a work item


@helper
def embed(displacements, at, weights, width, eps, rows):
    """Write the embedding of the displacement at `at`, before its norm, and return the norm's factor."""
    first, second, third = (
        load_one(displacements, at),
        load_one(displacements, at + 1),
        load_one(displacements, at + 2),
    )
    squares = splat(0.0)
    for c in range(0, width, LANES):
        value = fma(load(weights, c), first, load(weights, 3 * width + c))
        value = fma(load(weights, width + c), second, value)
        value = fma(load(weights, 2 * width + c), third, value)
        store(rows, c, value)
        squares = fma(value, value, squares)
    return np.float32(1.0 / math.sqrt(add_lanes(squares) / np.float32(width) + eps))


@helper
def add_position(rows, factor, positions, first, width, eps, sums):
    """Write the sum of the embedding and that of the position; return its mean and one over its standard deviation."""
    total = splat(0.0)
    for c in range(0, width, LANES):
        value = fma(load(rows, c), factor, load(positions, first + c))
        store(sums, c, value)
        total = total + value
    mean = np.float32(add_lanes(total) / np.float32(width))
    squares = splat(0.0)
    for c in range(0, width, LANES):
        distance = load(sums, c) - mean
        squares = fma(distance, distance, squares)
    return mean, np.float32(1.0 / math.sqrt(add_lanes(squares) / np.float32(width) + eps))


@kernel
def displacement_tokens(counter, displacements, positions, weights, shape, eps, out):
    """Write norm(norm(W d + b) + p) for the displacement d of every point in every frame, and its position's embedding p.

    displacements: [B, T, N, 3]; positions: [B, N, C]; weights: [4, C], three columns of W and then b, all of mean 0 over the
    channels. shape: B, T, N, C. eps: of the inner norm and of the outer one. out: [B, T, N, C].
    """
    clips, frames, points, width = shape
    inner, outer = eps
    chunks = (points + CHUNK - 1) // CHUNK
    rows, sums = np.zeros(width, np.float32), np.zeros(width, np.float32)
    while True:
        item = take_next(counter)
        if item >= clips * frames * chunks:
            return
        frame, chunk = item // chunks, item % chunks
        for point in range(chunk * CHUNK, min((chunk + 1) * CHUNK, points)):
            row = frame * points + point
            factor = embed(displacements, row * 3, weights, width, inner, rows)
            at = (frame // frames * points + point) * width
            mean, inverse = add_position(rows, factor, positions, at, width, outer, sums)
            for c in range(0, width, LANES):
                store(out, row * width + c, (load(sums, c) - mean) * inverse)


@kernel
def displacement_tokens_backward(counter, displacements, positions, weights, shape, eps, gradient, weight_sums):
    """Write the gradient of the weights by work items, [items, 4, C], all zero at first.

    gradient: of what `displacement_tokens` writes; the others are what it reads.
    """
    clips, frames, points, width = shape
    inner, outer = eps
    chunks = (points + CHUNK - 1) // CHUNK
    rows, sums = np.zeros(width, np.float32), np.zeros(width, np.float32)
    while True:
        item = take_next(counter)
        if item >= clips * frames * chunks:
            return
        frame, chunk, into = item // chunks, item % chunks, item * 4 * width
        for point in range(chunk * CHUNK, min((chunk + 1) * CHUNK, points)):
            row = frame * points + point
            factor = embed(displacements, row * 3, weights, width, inner, rows)
            at = (frame // frames * points + point) * width
            mean, inverse = add_position(rows, factor, positions, at, width, outer, sums)
            plain = along = splat(0.0)
            for c in range(0, width, LANES):
                upstream = load(gradient, row * width + c)
                plain = plain + upstream
                along = fma(upstream, (load(sums, c) - mean) * inverse, along)
            plain_mean = np.float32(add_lanes(plain) / np.float32(width))
            along_mean = np.float32(add_lanes(along) / np.float32(width))
            through = splat(0.0)
            for c in range(0, width, LANES):
                normal = (load(sums, c) - mean) * inverse
                value = (load(gradient, row * width + c) - plain_mean - normal * along_mean) * inverse
                store(sums, c, value)
                through = fma(value, load(rows, c) * factor, through)
            through_mean = np.float32(add_lanes(through) / np.float32(width)) * factor
            first, second = load_one(displacements, row * 3), load_one(displacements, row * 3 + 1)
            third = load_one(displacements, row * 3 + 2)
            for c in range(0, width, LANES):
                value = (load(sums, c) - load(rows, c) * through_mean) * factor
                store(weight_sums, into + c, fma(value, first, load(weight_sums, into + c)))
                at = into + width + c
                store(weight_sums, at, fma(value, second, load(weight_sums, at)))
                store(weight_sums, at + width, fma(value, third, load(weight_sums, at + width)))
                store(weight_sums, at + 2 * width, value + load(weight_sums, at + 2 * width))
