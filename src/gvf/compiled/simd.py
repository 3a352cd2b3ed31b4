"""Sixteen float32 lanes as one value inside numba functions.

Numba leaves vectorising to LLVM's guesses; inner loops that branch or add up are too much for those. `F32x16` maps to
LLVM's `<16 x float>`: one AVX-512 register, two AVX2 registers or four NEON registers, whatever the machine has.
Arithmetic between two vectors, or a vector and a scalar, uses the ordinary operators; the rest are functions below.
Arithmetic may contract to fused multiply-adds, nothing else is reordered: results depend on the machine alone.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, attr-defined"

from __future__ import annotations

import operator

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic, models, overload, register_model

from gvf.compiled.kernels import helper

LANES = 16
BLOCK = 4  # sixteen lanes as a square of pixels, row by row

_FLOAT = ir.FloatType()
_INT = ir.IntType(32)
_F32X16 = ir.VectorType(_FLOAT, LANES)
_I32X16 = ir.VectorType(_INT, LANES)
_I16X16 = ir.VectorType(ir.IntType(16), LANES)
_I1X16 = ir.VectorType(ir.IntType(1), LANES)
_FLAGS = ("contract",)


class _VectorType(types.Type):
    def __init__(self) -> None:
        super().__init__("f32x16")


class _MaskType(types.Type):
    def __init__(self) -> None:
        super().__init__("mask16")


F32x16 = _VectorType()
Mask16 = _MaskType()


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type) -> None:
        super().__init__(dmm, fe_type, _F32X16)


@register_model(_MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type) -> None:
        super().__init__(dmm, fe_type, _I1X16)


def _broadcast(builder, scalar):
    lane0 = builder.insert_element(ir.Constant(_F32X16, ir.Undefined), scalar, ir.Constant(_INT, 0))
    return builder.shuffle_vector(lane0, ir.Constant(_F32X16, ir.Undefined), ir.Constant(_I32X16, [0] * LANES))


def _as_vector(context, builder, ty, value):
    return value if ty is F32x16 else _broadcast(builder, context.cast(builder, value, ty, types.float32))


def _constant(value: float):
    return ir.Constant(_F32X16, [value] * LANES)


def _operand(ty) -> bool:
    return ty is F32x16 or isinstance(ty, (types.Number, types.Literal))


def _elementwise(result, emit):
    """Return an intrinsic of two operands, one perhaps a scalar: emit(builder, a, b) makes the code, `result` is its type."""

    @intrinsic
    def operation(typingctx, a, b):
        if not (_operand(a) and _operand(b)):
            return None

        def codegen(context, builder, signature, args):
            return emit(builder, *(_as_vector(context, builder, ty, v) for ty, v in zip(signature.args, args)))

        return result(types.unliteral(a), types.unliteral(b)), codegen

    return operation


def _arithmetic(instruction: str):
    return _elementwise(F32x16, lambda builder, a, b: getattr(builder, instruction)(a, b, flags=_FLAGS))


def _comparison(predicate: str):
    return _elementwise(Mask16, lambda builder, a, b: builder.fcmp_ordered(predicate, a, b))


def _register(function, operation) -> None:
    @overload(function, inline="always")
    def implementation(a, b):
        if (a is F32x16 or b is F32x16) and _operand(a) and _operand(b):
            return lambda a, b: operation(a, b)
        return None


for _function, _instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _register(_function, _arithmetic(_instruction))
for _function, _predicate in ((operator.ge, ">="), (operator.gt, ">"), (operator.le, "<="), (operator.lt, "<")):
    _register(_function, _comparison(_predicate))


divide = _arithmetic("fdiv")


@intrinsic
def splat(typingctx, scalar):
    """Return a vector of sixteen equal lanes."""
    if not isinstance(scalar, (types.Number, types.Literal)):
        return None

    def codegen(context, builder, signature, args):
        return _as_vector(context, builder, signature.args[0], args[0])

    return F32x16(types.unliteral(scalar)), codegen


def _pointer(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, value=array).data
    return builder.gep(data, [index])


def _is_array(ty, *dtypes) -> bool:
    return isinstance(ty, types.Array) and ty.dtype in dtypes and ty.ndim == 1 and ty.layout == "C"


def _is_float_array(ty) -> bool:
    return _is_array(ty, types.float32)


@intrinsic
def load(typingctx, array, index):
    """Load sixteen consecutive values of a flat array from `index` on; uint16 stands for bfloat16. Unchecked."""
    if not (_is_array(array, types.float32, types.uint16) and isinstance(index, types.Integer)):
        return None

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], *args)
        if signature.args[0].dtype == types.float32:
            return builder.load(builder.bitcast(pointer, _F32X16.as_pointer()), align=4, typ=_F32X16)
        halves = builder.load(builder.bitcast(pointer, _I16X16.as_pointer()), align=2, typ=_I16X16)
        bits = builder.shl(builder.zext(halves, _I32X16), ir.Constant(_I32X16, [16] * LANES))
        return builder.bitcast(bits, _F32X16)

    return F32x16(array, index), codegen


@intrinsic
def load_one(typingctx, array, index):
    """Load value `index` of a flat float32 array into all lanes. Unchecked."""
    if not (_is_float_array(array) and isinstance(index, types.Integer)):
        return None

    def codegen(context, builder, signature, args):
        return _broadcast(builder, builder.load(_pointer(context, builder, signature.args[0], *args)))

    return F32x16(array, index), codegen


@intrinsic
def store(typingctx, array, index, vector):
    """Write the lanes to sixteen consecutive values of a flat array from `index` on. Unchecked.

    In an array of uint16 they are written as bfloat16, rounded to nearest, ties to even.
    """
    if not (_is_array(array, types.float32, types.uint16) and isinstance(index, types.Integer) and vector is F32x16):
        return None

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        if signature.args[0].dtype == types.float32:
            builder.store(args[2], builder.bitcast(pointer, _F32X16.as_pointer()), align=4)
            return context.get_dummy_value()
        sixteen, one, almost_half = (ir.Constant(_I32X16, [number] * LANES) for number in (16, 1, 0x7FFF))
        bits = builder.bitcast(args[2], _I32X16)
        odd = builder.and_(builder.lshr(bits, sixteen), one)
        rounded = builder.lshr(builder.add(bits, builder.add(odd, almost_half)), sixteen)
        builder.store(builder.trunc(rounded, _I16X16), builder.bitcast(pointer, _I16X16.as_pointer()), align=2)
        return context.get_dummy_value()

    return types.void(array, index, vector), codegen


@intrinsic
def prefetch(typingctx, array, index):
    """Prefetch the cache line of value `index` of a flat float32 array, which will be read soon. Unchecked."""
    if not (_is_float_array(array) and isinstance(index, types.Integer)):
        return None

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], *args)
        byte = ir.IntType(8).as_pointer()
        ask = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, _INT, _INT, _INT]), "llvm.prefetch.p0"
        )
        builder.call(ask, [builder.bitcast(pointer, byte), *(ir.Constant(_INT, flag) for flag in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, index), codegen


@intrinsic
def fma(typingctx, a, b, c):
    """Return a b + c, rounded once where the machine can."""
    if not (_operand(a) and _operand(b) and _operand(c)):
        return None

    def codegen(context, builder, signature, args):
        values = [_as_vector(context, builder, ty, v) for ty, v in zip(signature.args, args)]
        name = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_F32X16, [_F32X16] * 3), "llvm.fmuladd.v16f32"
        )
        return builder.call(name, values)

    return F32x16(types.unliteral(a), types.unliteral(b), types.unliteral(c)), codegen


@intrinsic
def select(typingctx, mask, a, b):
    """Return a in the lanes where `mask` holds, b elsewhere."""
    if not (mask is Mask16 and _operand(a) and _operand(b)):
        return None

    def codegen(context, builder, signature, args):
        left, right = (_as_vector(context, builder, ty, v) for ty, v in zip(signature.args[1:], args[1:]))
        return builder.select(args[0], left, right)

    return F32x16(mask, types.unliteral(a), types.unliteral(b)), codegen


@helper
def smaller(a, b):
    return select(a < b, a, b)


@helper
def larger(a, b):
    return select(a > b, a, b)


@helper
def lane_positions(offset):
    """Return x and y of a point in each of the sixteen pixels of a block, `offset` from their corners; the block's is 0."""
    positions = np.empty(2 * LANES, np.float32)
    for lane in range(LANES):
        positions[lane] = np.float32(lane % BLOCK) + offset
        positions[LANES + lane] = np.float32(lane // BLOCK) + offset
    return load(positions, 0), load(positions, LANES)


@intrinsic
def square_root(typingctx, x):
    """Return the correctly rounded square root."""
    if x is not F32x16:
        return None

    def codegen(context, builder, signature, args):
        name = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_F32X16, [_F32X16]), "llvm.sqrt.v16f32")
        return builder.call(name, args)

    return F32x16(x), codegen


@intrinsic
def interval_bits(typingctx, ends):
    """Return eight intervals of bits, one per byte: byte b has bits first..last-1 set, none where last <= first.

    ends: F32x16 in [0, 8], truncated to integers; lane b is `first` of byte b, lane 8 + b its `last`. Returns uint64.
    """
    if ends is not F32x16:
        return None

    def codegen(context, builder, signature, args):
        powers = builder.shl(ir.Constant(_I32X16, [1] * LANES), builder.fptosi(args[0], _I32X16))
        half = ir.VectorType(_INT, 8)
        low, high = (
            builder.shuffle_vector(powers, powers, ir.Constant(half, list(range(first, first + 8)))) for first in (0, 8)
        )
        bits = builder.select(builder.icmp_signed(">", high, low), builder.sub(high, low), ir.Constant(half, [0] * 8))
        return builder.bitcast(builder.trunc(bits, ir.VectorType(ir.IntType(8), 8)), ir.IntType(64))

    return types.uint64(ends), codegen


@intrinsic
def any_lane(typingctx, mask):
    """Return whether `mask` holds in any lane."""
    if mask is not Mask16:
        return None

    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(mask), codegen


def _reduction(name: str, start: float | None):
    """Return an intrinsic that turns a vector into one float by LLVM's reduction of this name."""

    @intrinsic
    def operation(typingctx, vector):
        if vector is not F32x16:
            return None

        def codegen(context, builder, signature, args):
            given = [] if start is None else [ir.Constant(_FLOAT, start)]
            kinds = [value.type for value in given] + [_F32X16]
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(_FLOAT, kinds), f"llvm.vector.reduce.{name}.v16f32"
            )
            return builder.call(function, [*given, args[0]], fastmath=("reassoc",))

        return types.float32(vector), codegen

    return operation


add_lanes = _reduction("fadd", -0.0)  # the sum of the sixteen lanes, in one fixed order
largest_lane = _reduction("fmax", None)


# 2^f for f in [-1/2, 1/2]: minimax polynomial of degree 5 for the relative error, coefficients from f^5 down.
EXP2_COEFFICIENTS = (1.32764876e-3, 9.67554096e-3, 5.55071309e-2, 2.40221202e-1, 6.93146944e-1, 1.0)
_ROUND = 12582912.0  # 1.5 * 2^23: adding it leaves the nearest integer in the low bits of a float32


@intrinsic
def exp2(typingctx, x):
    """Return 2^x with a relative error below 3e-7, for -120 <= x <= 120."""
    if x is not F32x16:
        return None

    def codegen(context, builder, signature, args):
        (value,) = args
        rounded = builder.fadd(value, _constant(_ROUND))
        fraction = builder.fsub(value, builder.fsub(rounded, _constant(_ROUND)))
        muladd = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_F32X16, [_F32X16] * 3), "llvm.fmuladd.v16f32"
        )
        power = _constant(EXP2_COEFFICIENTS[0])
        for coefficient in EXP2_COEFFICIENTS[1:]:
            power = builder.call(muladd, [power, fraction, _constant(coefficient)])
        exponent = builder.shl(builder.bitcast(rounded, _I32X16), ir.Constant(_I32X16, [23] * LANES))
        return builder.bitcast(builder.add(builder.bitcast(power, _I32X16), exponent), _F32X16)

    return F32x16(x), codegen


def _shuffle(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(_I32X16, list(lanes)))


def _fold(builder, a, b, low, high):
    """Return the sum of two shuffles of (a, b): each call halves the lanes that still have to be added up."""
    return builder.fadd(_shuffle(builder, a, b, low), _shuffle(builder, a, b, high), flags=_FLAGS)


def _fold_halves(builder, a, b):
    return _fold(builder, a, b, [*range(8), *range(16, 24)], [*range(8, 16), *range(24, 32)])


def _fold_quarters(builder, a, b):
    low = [*range(0, 4), *range(8, 12), *range(16, 20), *range(24, 28)]
    return _fold(builder, a, b, low, [i + 4 for i in low])


def _fold_pairs(builder, a, b):
    low = [4 * k + i for k in range(4) for i in (0, 1, 16, 17)]
    return _fold(builder, a, b, low, [i + 2 for i in low])


def _fold_ones(builder, a, b):
    low = [4 * k + i for k in range(4) for i in (0, 2, 16, 18)]
    return _fold(builder, a, b, low, [i + 1 for i in low])


@intrinsic
def sum_lanes(typingctx, vectors):
    """Return the sums over the lanes of up to sixteen vectors at once: lane 4 (i % 4) + i // 4 holds the sum of vector i.

    vectors: tuple of F32x16. Missing ones count as zero. Cheaper than one sum after another, in a fixed order.
    """
    if not (isinstance(vectors, types.UniTuple) and vectors.dtype is F32x16 and vectors.count <= LANES):
        return None
    count = vectors.count

    def codegen(context, builder, signature, args):
        zero = _constant(0.0)
        given = [builder.extract_value(args[0], i) for i in range(count)] + [zero] * (LANES - count)
        quads = []
        for first in range(0, LANES, 4):
            if first >= count:
                quads.append(zero)
                continue
            halves = [_fold_halves(builder, given[first + i], given[first + i + 1]) for i in (0, 2)]
            quads.append(_fold_quarters(builder, *halves))
        return _fold_ones(
            builder,
            _fold_pairs(builder, quads[0], quads[1]),
            _fold_pairs(builder, quads[2], quads[3]),
        )

    return F32x16(vectors), codegen


@intrinsic
def transpose_square(typingctx, source, first, row, target, target_first, target_row):
    """Copy 16 x 16 values of a flat float32 array with rows and columns exchanged. Unchecked.

    Value j of row i is at first + i row + j, and goes to target_first + j target_row + i.
    """
    indices = (first, row, target_first, target_row)
    if not (_is_float_array(source) and _is_float_array(target)):
        return None
    if not all(isinstance(index, types.Integer) for index in indices):
        return None

    def codegen(context, builder, signature, args):
        kinds = signature.args

        def place(array, start, step, i):
            start, step = (context.cast(builder, args[k], kinds[k], types.int64) for k in (start, step))
            index = builder.add(start, builder.mul(step, ir.Constant(ir.IntType(64), i)))
            pointer = _pointer(context, builder, kinds[array], args[array], index)
            return builder.bitcast(pointer, _F32X16.as_pointer())

        rows = [builder.load(place(0, 1, 2, i), align=4, typ=_F32X16) for i in range(LANES)]
        for step in (1, 2, 4, 8):  # exchange the off-diagonal blocks of this size
            low = [k if not k & step else LANES + k - step for k in range(LANES)]
            high = [k + step if not k & step else LANES + k for k in range(LANES)]
            for i in range(LANES):
                if not i & step:
                    a, b = rows[i], rows[i + step]
                    rows[i], rows[i + step] = _shuffle(builder, a, b, low), _shuffle(builder, a, b, high)
        for i in range(LANES):
            builder.store(rows[i], place(3, 4, 5, i), align=4)
        return context.get_dummy_value()

    return types.void(source, *indices[:2], target, *indices[2:]), codegen


@intrinsic
def take_next(typingctx, counter):
    """Atomically read counter[0] (int64) and add one: how threads share out work items."""
    if not (isinstance(counter, types.Array) and counter.dtype == types.int64 and counter.layout == "C"):
        return None

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, value=args[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(counter), codegen
