"""Normalized convolution inside a pass: NaN samples get weight zero, and the other weights are rescaled.

The input mode of a pass is *values* (NaN is read as 0), *presence* (NaN is read as 0, all else as 1), or both as two
sources.  The filtered values are divided by the share of the weights that belong to valid samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from ..intrinsics.vectors import (
    add,
    call_intrinsic,
    lanes_of,
    load,
    spread,
    store,
    sub,
    suffix,
    vector_intrinsic,
)
from ..jit import inlined, kernel

# input modes; BOTH: values and presence are two sources
AS_STORED, VALUES, PRESENCE, BOTH = range(4)

# normal[...]: sum of the kernel; share up to which results are NaN; deviation of a share from 1 that is rounding error
WEIGHT, LEAST, CLOSE = range(3)

# share of the weights up to which results are NaN, by the size of the compute dtype in bytes
LEAST_WEIGHT = {4: 1e-5, 8: 1e-12}


def emit_view(builder: Any, vector: Any, view: int) -> Any:
    """Emit `vector` as read in input mode `view`."""
    if view == AS_STORED:
        return vector
    zero = ir.Constant(vector.type, [0.0] * vector.type.count)
    one = ir.Constant(vector.type, [1.0] * vector.type.count)
    valid = builder.fcmp_ordered("ord", vector, vector)
    return builder.select(valid, vector if view == VALUES else one, zero)


def view_reference(vector: np.ndarray, view: int) -> np.ndarray:
    """Reference implementation of `emit_view`."""
    if view == AS_STORED:
        return vector
    return np.where(np.isnan(vector), 0, vector if view == VALUES else 1).astype(vector.dtype)


def emit_normalised(builder: Any, total: Any, share: Any, weight: Any, least: Any, close: Any) -> Any:
    """Emit ``total / part`` with ``part = share / weight``; NaN if ``abs(part) <= least``, `total` if it is about 1."""
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
    """Reference implementation of `emit_normalised`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        part = share / weight
        result = np.where(np.abs(part - 1) <= close, total, total / part)
        return np.where(np.abs(part) <= least, np.nan, result).astype(total.dtype)


@vector_intrinsic(lambda vector: view_reference(vector, VALUES))
def values_of(typingctx: Any, vector: Any) -> Any:
    """Replace NaN by 0."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit_view(builder, args[0], VALUES)

    return vector(vector), codegen


@inlined
def finite_of(vector):
    """Replace NaN and infinities, which minus themselves are NaN, by 0: transforms would spread them."""
    return values_of(add(vector, sub(vector, vector)))


@vector_intrinsic(lambda vector: view_reference(vector, PRESENCE))
def presence_of(typingctx: Any, vector: Any) -> Any:
    """Replace NaN by 0, and all else by 1."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit_view(builder, args[0], PRESENCE)

    return vector(vector), codegen


@vector_intrinsic(lambda vector, marked: np.where(marked != 0, np.nan, vector).astype(vector.dtype))
def nan_where(typingctx: Any, vector: Any, marked: Any) -> Any:
    """Replace elements by NaN where `marked` is not zero."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[0].type
        zero = ir.Constant(kind, [0.0] * kind.count)
        kept = builder.fcmp_ordered("==", args[1], zero)
        return builder.select(kept, args[0], ir.Constant(kind, [float("nan")] * kind.count))

    return vector(vector, marked), codegen


@vector_intrinsic(lambda vector, marked: (np.isnan(vector) & (marked == 0)).astype(vector.dtype))
def is_unmarked_nan(typingctx: Any, vector: Any, marked: Any) -> Any:
    """Return 1 where `vector` is NaN and `marked` is zero, 0 elsewhere."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[0].type
        zero, one = (ir.Constant(kind, [number] * kind.count) for number in (0.0, 1.0))
        kept = builder.fcmp_ordered("==", args[1], zero)
        nan = builder.fcmp_unordered("uno", args[0], args[0])
        return builder.select(builder.and_(kept, nan), one, zero)

    return vector(vector, marked), codegen


@vector_intrinsic(normalised_reference)
def normalised(typingctx: Any, total: Any, share: Any, weight: Any, least: Any, close: Any) -> Any:
    """Divide `total` by the share of valid weights; see `emit_normalised`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit_normalised(builder, *args)

    return total(total, share, weight, least, close), codegen


@kernel
def view_row(work, at, count, presence):
    """Replace the numbers of a packed row, in whole vectors, by their values or, if `presence`, their presence."""
    for j in range(at, at + count, lanes_of(work)):
        row = load(work, j)
        store(work, j, presence_of(row) if presence else values_of(row))


@kernel
def normalise_row(work, total, share, count, normal):
    """Divide `count` sums at ``work[total]``, in whole vectors, by the shares of the weights at ``work[share]``."""
    weight, least, close = normal[WEIGHT], normal[LEAST], normal[CLOSE]
    for j in range(0, count, lanes_of(work)):
        sums = normalised(load(work, total + j), load(work, share + j), weight, least, close)
        store(work, total + j, sums)
