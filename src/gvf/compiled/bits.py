"""Bits of integers and of float32 values inside numba functions."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from gvf.compiled.kernels import helper


@intrinsic
def lowest_bit(typingctx, bits):
    """Return the index of the lowest set bit of a uint64 that is not zero."""
    if bits != types.uint64:
        return None

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(bits), codegen


@intrinsic
def float_bits(typingctx, value):
    """Return the 32 bits of a float32 as uint32; for positive values they sort like the values."""
    if value != types.float32:
        return None

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(32))

    return types.uint32(value), codegen


@helper
def transpose_bits(bits, first):
    """Turn 64 values of uint64 from `first` on into each other's bits: bit b of value k becomes bit k of value b."""
    half = 32
    mask = np.uint64(0xFFFFFFFF)
    while half > 0:
        shift = np.uint64(half)
        for group in range(first, first + 64, 2 * half):
            for k in range(group, group + half):
                swapped = ((bits[k] >> shift) ^ bits[k + half]) & mask
                bits[k] ^= swapped << shift
                bits[k + half] ^= swapped
        half //= 2
        mask ^= mask << np.uint64(half)
