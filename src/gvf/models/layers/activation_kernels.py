"""GELU and GEGLU, compiled for CPUs: one pass over the values forward, one backward, nothing kept but the input.

Torch's tanh and erf take 8.7 ms for the two million values of a feed-forward layer that 2.4 suffice for, and a gated
unit needs three more passes and a concatenation. Arrays are flat, float32 or bfloat16 as uint16 (see `simd.load`).
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import math

import numpy as np

from gvf.compiled.kernels import helper, kernel
from gvf.compiled.simd import LANES, divide, exp2, fma, larger, load, select, smaller, splat, store, take_next

SLAB = 8192  # values of a work item
LOG2_E = 1.0 / math.log(2.0)
# tanh form: x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)), here with the exponent to base 2
LINEAR = np.float32(-2.0 * math.sqrt(2.0 / math.pi) * LOG2_E)
CUBIC = np.float32(-2.0 * math.sqrt(2.0 / math.pi) * LOG2_E * 0.044715)
FARTHEST = np.float32(80.0)  # exponents of `exp2`: beyond, the sigmoid is 0 or 1 in float32
# erfc(y) = (A1 t + ... + A5 t^5) exp(-y^2), t = 1 / (1 + P y): Abramowitz and Stegun 7.1.26, error below 1.5e-7
P = np.float32(0.3275911 / math.sqrt(2.0))
A = tuple(np.float32(0.5 * a) for a in (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429))
A1, A2, A3, A4, A5 = A
HALF_SQUARE = np.float32(-0.5 * LOG2_E)
DENSITY = np.float32(1.0 / math.sqrt(2.0 * math.pi))
EDGE = np.float32(12.0)  # deviations, beyond which the normal density is 0 in float32
INNER, CUBE = np.float32(2.0 * math.sqrt(2.0 / math.pi)), np.float32(6.0 * math.sqrt(2.0 / math.pi) * 0.044715)


@helper
def sigmoid_of_gelu(x):
    """Return the factor of x in the tanh form of GELU."""
    exponent = x * fma(x * x, CUBIC, LINEAR)
    return divide(1.0, exp2(smaller(larger(exponent, -FARTHEST), FARTHEST)) + 1.0)


@helper
def normal_distribution(x):
    """Return the standard normal's distribution function and density."""
    size = smaller(larger(x, x * -1.0), EDGE)
    bell = exp2(size * size * HALF_SQUARE)
    t = divide(1.0, fma(size, P, 1.0))
    tail = bell * t * fma(t, fma(t, fma(t, fma(t, A5, A4), A3), A2), A1)
    return select(x < 0.0, tail, splat(1.0) - tail), bell * DENSITY


@kernel
def gelu_forward(counter, x, out):
    """Write the tanh form of GELU; x and out: a multiple of sixteen values."""
    while True:
        first = take_next(counter) * SLAB
        if first >= len(x):
            return
        for i in range(first, min(first + SLAB, len(x)), LANES):
            value = load(x, i)
            store(out, i, value * sigmoid_of_gelu(value))


@kernel
def gelu_backward(counter, x, gradient, out):
    """Write the gradient of `gelu_forward`."""
    while True:
        first = take_next(counter) * SLAB
        if first >= len(x):
            return
        for i in range(first, min(first + SLAB, len(x)), LANES):
            value = load(x, i)
            share = sigmoid_of_gelu(value)
            slope = value * fma(value * value, CUBE, INNER)
            store(out, i, load(gradient, i) * share * fma(slope, splat(1.0) - share, 1.0))


@kernel
def geglu_forward(counter, x, width, out):
    """Write values times the exact GELU of gates. x: rows of `width` values and as many gates; out: rows of `width`."""
    rows = len(out) // width
    count = max(1, SLAB // width)
    while True:
        first = take_next(counter) * count
        if first >= rows:
            return
        for row in range(first, min(first + count, rows)):
            for c in range(0, width, LANES):
                gate = load(x, row * 2 * width + width + c)
                share, _ = normal_distribution(gate)
                store(out, row * width + c, load(x, row * 2 * width + c) * gate * share)


@kernel
def geglu_backward(counter, x, width, gradient, out):
    """Write the gradient of `geglu_forward`."""
    rows = len(gradient) // width
    count = max(1, SLAB // width)
    while True:
        first = take_next(counter) * count
        if first >= rows:
            return
        for row in range(first, min(first + count, rows)):
            for c in range(0, width, LANES):
                at = row * 2 * width + c
                gate, upstream = load(x, at + width), load(gradient, row * width + c)
                share, density = normal_distribution(gate)
                store(out, at, upstream * gate * share)
                store(out, at + width, upstream * load(x, at) * fma(gate, density, share))
