"""Filters along an axis of few samples, for which adjacent rows are treated as a long vector with periodic weights.

    y[i] = c[i mod P] + sum over slots s of w[s, i mod P] * x[i + d[s]],      P = elements of a row

The boundary is part of the weights: those of a row are an n x n matrix, and slot s is one of its diagonals.  Elements
of other rows have weight zero, but zero times NaN is NaN.  So blocks of vectors are first summed without masks.  If a
result is NaN, and at the ends of the array, they are summed again with masked loads that skip elements of other rows.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config

from ..intrinsics.memory import (
    Storage,
    _decode_vector,
    _elements,
    _masked_load,
    _memory,
    load_as,
    store_as,
    store_first,
)
from ..intrinsics.vectors import (
    LLVM_TYPES,
    Line,
    Vector,
    div,
    fma,
    lanes_of,
    load,
    splat,
    spread,
    vector_intrinsic,
)
from ..jit import address, kernel, named
from .pass_arguments import integers, numbers

VECTORS = 4  # vectors per block, whose sums are independent

# Tables of a pass in one block (`pass_arguments`), then the entries of SIZES_TABLE
SIZES_TABLE, SOURCES_TABLE, TARGETS_TABLE, SHIFTS_TABLE, WEIGHTS_TABLE, INSIDE_TABLE = range(6)
(
    LENGTH,  # elements of a run of rows
    PIECE,  # elements per task, whole rows
    PIECES,  # tasks per run
    SLOTS,  # rows of the tables of weights; the first has the sums over a constant boundary
    PITCH,  # elements from one slot to the next
    PERIOD,  # elements after which weights repeat
    STEP,  # elements of a block modulo PERIOD
    BEFORE,  # elements before a block that it reads
    AFTER,  # elements after a block that it reads
    SIZES,
) = range(10)


def _load_where_reference(
    memory: np.ndarray, offset: int, inside: np.ndarray, count: int, storage: Storage, like: Any
) -> np.ndarray:
    vector = np.zeros(inside.size, np.asarray(like).dtype)
    for lane in range(min(count, vector.size)):
        if inside[lane]:
            raw = _elements(memory, offset + lane, 1, storage)
            vector[lane] = (raw.byteswap() if storage.swapped else raw)[0]
    return vector


@vector_intrinsic(_load_where_reference)
def load_where(
    typingctx: Any, memory: Any, offset: Any, inside: Any, count: Any, storage: Any, like: Any
) -> Any:
    """Load as `load_as`, but only those of the first `count` lanes where `inside` is not zero; others are zero."""
    vector = Vector(like)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.VectorType(LLVM_TYPES[storage.element], vector.lanes)
        pointer = _memory(context, builder, args[0], args[1], storage.element, kind)
        wanted = builder.fcmp_ordered("!=", args[2], ir.Constant(args[2].type, [0.0] * vector.lanes))
        position = ir.Constant(ir.VectorType(args[3].type, vector.lanes), list(range(vector.lanes)))
        there = builder.icmp_signed("<", position, spread(builder, args[3], vector.lanes))
        raw = _masked_load(builder, pointer, builder.and_(wanted, there), kind)
        return _decode_vector(builder, storage, raw, context.get_value_type(vector))

    return vector(memory, types.intp, inside, types.intp, storage, like), codegen


@vector_intrinsic(lambda one, other: bool(np.isnan(one).any() or np.isnan(other).any()))
def either_nan(typingctx: Any, one: Any, other: Any) -> Any:
    """Return whether a lane of either vector is NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes = builder.fcmp_unordered("uno", *args)
        bits = builder.bitcast(lanes, ir.IntType(lanes.type.count))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(one, one), codegen


@functools.cache
def row_filter(storage_in: Storage, storage_out: Storage) -> Any:
    """Return the kernel that filters a piece of a run of rows."""

    @kernel
    @named(f"{storage_in.suffix}{storage_out.suffix}")
    def filter_rows(kernels, x, y, task, thread, block, constants):
        """Run a task, with the signature of `plane_driver.filter_tile`; `constants[0, 0]` is the divisor."""
        sizes, shifts = integers(block, SIZES_TABLE), integers(block, SHIFTS_TABLE)
        weights, inside = numbers(block, WEIGHTS_TABLE, constants), numbers(block, INSIDE_TABLE, constants)
        like, lanes, divisor = weights[0], lanes_of(weights), constants[0, 0]
        width, length, pitch, slots = VECTORS * lanes, sizes[LENGTH], sizes[PITCH], sizes[SLOTS]
        run, first = task // sizes[PIECES], task % sizes[PIECES] * sizes[PIECE]
        source, target = integers(block, SOURCES_TABLE)[run], integers(block, TARGETS_TABLE)[run]
        last = min(first + sizes[PIECE], length)
        phase, i = 0, first
        while i < last:
            done = i >= sizes[BEFORE] and i + width + sizes[AFTER] <= length and i + width <= last
            if done:
                one, two = load(weights, phase), load(weights, phase + lanes)
                three, four = load(weights, phase + 2 * lanes), load(weights, phase + 3 * lanes)
                for slot in range(1, slots):
                    at, w = source + i + shifts[slot], slot * pitch + phase
                    one = fma(load(weights, w), load_as(x, at, storage_in, like), one)
                    two = fma(load(weights, w + lanes), load_as(x, at + lanes, storage_in, like), two)
                    w, at = w + 2 * lanes, at + 2 * lanes
                    three = fma(load(weights, w), load_as(x, at, storage_in, like), three)
                    four = fma(load(weights, w + lanes), load_as(x, at + lanes, storage_in, like), four)
                done = not (either_nan(one, two) or either_nan(three, four))
                if divisor != 1:
                    by = splat(divisor)
                    one, two, three, four = div(one, by), div(two, by), div(three, by), div(four, by)
                if done:
                    store_as(y, target + i, storage_out, one)
                    store_as(y, target + i + lanes, storage_out, two)
                    store_as(y, target + i + 2 * lanes, storage_out, three)
                    store_as(y, target + i + 3 * lanes, storage_out, four)
            if not done:
                for j in range(0, min(width, last - i), lanes):
                    count, total = min(lanes, last - i - j), load(weights, phase + j)
                    for slot in range(1, slots):
                        w = slot * pitch + phase + j
                        part = load_where(
                            x, source + i + j + shifts[slot], load(inside, w), count, storage_in, like
                        )
                        total = fma(load(weights, w), part, total)
                    store_first(y, target + i + j, count, storage_out, div(total, splat(divisor)))
            i += width
            phase += sizes[STEP]
            if phase >= sizes[PERIOD]:
                phase -= sizes[PERIOD]

    return filter_rows


@functools.cache
def kernel_addresses(compute: np.dtype[Any], storage_in: Storage, storage_out: Storage) -> tuple[Any, Any]:
    """Return the addresses for the drivers of `plane_driver`."""
    memory, whole, n = Line(types.uint8), Line(types.int64), types.int64
    table = types.Array(numba.from_dtype(compute), 2, "C")
    tile = address(row_filter(storage_in, storage_out), (whole, memory, memory, n, n, whole, table))
    return tile, [0] if config.DISABLE_JIT else np.zeros(1, np.int64)
