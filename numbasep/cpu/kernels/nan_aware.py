"""Normalized convolution inside a pass: NaN samples get weight zero, and the other weights are rescaled.

A pass sees the array as *values* (NaN is 0), as *presence* (NaN is 0, all else 1), or both as two sources; the filtered
values are divided by the share of the weights that fell on valid samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from ..intrinsics.vectors import call_intrinsic, lanes_of, load, spread, store, suffix, vector_intrinsic
from ..jit import kernel

AS_STORED, VALUES, PRESENCE, BOTH = range(
    4
)  # how a pass sees its input; BOTH: values, presence as its two sources
WEIGHT, LEAST, CLOSE = range(
    3
)  # normal[...]: sum of the kernel; least share that counts; share that is rounding only

LEAST_WEIGHT = {
    4: 1e-5,
    8: 1e-12,
}  # by bytes of the compute type: share of the weights below which a result is NaN


def emit_view(builder: Any, vector: Any, view: int) -> Any:
    """The vector as a pass sees it."""
    if view == AS_STORED:
        return vector
    zero = ir.Constant(vector.type, [0.0] * vector.type.count)
    one = ir.Constant(vector.type, [1.0] * vector.type.count)
    valid = builder.fcmp_ordered("ord", vector, vector)
    return builder.select(valid, vector if view == VALUES else one, zero)


def view_reference(vector: np.ndarray, view: int) -> np.ndarray:
    """`emit_view` in NumPy."""
    if view == AS_STORED:
        return vector
    return np.where(np.isnan(vector), 0, vector if view == VALUES else 1).astype(vector.dtype)


def emit_normalised(builder: Any, total: Any, share: Any, weight: Any, least: Any, close: Any) -> Any:
    """``total / (share / weight)``; NaN where the quotient is at most `least`, `total` where it is about 1."""
    kind, count = total.type, total.type.count
    part = builder.fdiv(share, spread(builder, weight, count))
    size = call_intrinsic(builder, f"llvm.fabs.{suffix(kind)}", kind, part)
    one = ir.Constant(kind, [1.0] * count)
    off = call_intrinsic(builder, f"llvm.fabs.{suffix(kind)}", kind, builder.fsub(part, one))
    result = builder.fdiv(total, part)
    result = builder.select(builder.fcmp_ordered("<=", off, spread(builder, close, count)), total, result)
    nothing = builder.fcmp_ordered("<=", size, spread(builder, least, count))
    return builder.select(nothing, ir.Constant(kind, [float("nan")] * count), result)


def normalised_reference(
    total: np.ndarray, share: np.ndarray, weight: Any, least: Any, close: Any
) -> np.ndarray:
    """`emit_normalised` in NumPy."""
    with np.errstate(divide="ignore", invalid="ignore"):
        part = share / weight
        result = np.where(np.abs(part - 1) <= close, total, total / part)
        return np.where(np.abs(part) <= least, np.nan, result).astype(total.dtype)


@vector_intrinsic(lambda vector: view_reference(vector, VALUES))
def values_of(typingctx: Any, vector: Any) -> Any:
    """Zero for NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit_view(builder, args[0], VALUES)

    return vector(vector), codegen


@vector_intrinsic(lambda vector: view_reference(vector, PRESENCE))
def presence_of(typingctx: Any, vector: Any) -> Any:
    """Zero for NaN, one for all else."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit_view(builder, args[0], PRESENCE)

    return vector(vector), codegen


@vector_intrinsic(lambda vector, gone: np.where(gone != 0, np.nan, vector).astype(vector.dtype))
def hidden(typingctx: Any, vector: Any, gone: Any) -> Any:
    """NaN where `gone` is not zero."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[0].type
        zero = ir.Constant(kind, [0.0] * kind.count)
        kept = builder.fcmp_ordered("==", args[1], zero)
        return builder.select(kept, args[0], ir.Constant(kind, [float("nan")] * kind.count))

    return vector(vector, gone), codegen


@vector_intrinsic(lambda vector, gone: (np.isnan(vector) & (gone == 0)).astype(vector.dtype))
def spoilt(typingctx: Any, vector: Any, gone: Any) -> Any:
    """1 where the vector is NaN and `gone` is zero."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[0].type
        zero, one = (ir.Constant(kind, [number] * kind.count) for number in (0.0, 1.0))
        kept = builder.fcmp_ordered("==", args[1], zero)
        nan = builder.fcmp_unordered("uno", args[0], args[0])
        return builder.select(builder.and_(kept, nan), one, zero)

    return vector(vector, gone), codegen


@vector_intrinsic(normalised_reference)
def normalised(typingctx: Any, total: Any, share: Any, weight: Any, least: Any, close: Any) -> Any:
    """See `emit_normalised`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit_normalised(builder, *args)

    return total(total, share, weight, least, close), codegen


@kernel
def view_row(work, at, count, presence):
    """Whole vectors of a packed row of `count` numbers: their values or, if `presence`, their presence."""
    for j in range(at, at + count, lanes_of(work)):
        row = load(work, j)
        store(work, j, presence_of(row) if presence else values_of(row))


@kernel
def normalise_row(work, total, share, count, normal):
    """Whole vectors of `count` sums at `work[total]`, divided by the share at `work[share]`."""
    weight, least, close = normal[WEIGHT], normal[LEAST], normal[CLOSE]
    for j in range(0, count, lanes_of(work)):
        sums = normalised(load(work, total + j), load(work, share + j), weight, least, close)
        store(work, total + j, sums)
