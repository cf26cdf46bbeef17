"""Filters along an axis of few samples: adjacent rows are one long vector with repeating weights.

    y[i] = c[i mod P] + sum over slots s of w[s, i mod P] * x[i + d[s]],      P the numbers of a row

The boundary is part of the weights: those of a row are an n x n matrix, of which slot s holds a diagonal.  A number of
another row weighs nothing, but nothing times NaN would be NaN.  So blocks of vectors are summed as they are, and those
that come out with a NaN once more, with such numbers left out of the load; so are those at the ends of the array.
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

VECTORS = 4  # of a block; their sums do not wait for each other

# Tables of a pass in one block (`tables`); numbers of SIZES_TABLE
SIZES_TABLE, SOURCES_TABLE, TARGETS_TABLE, SHIFTS_TABLE, WEIGHTS_TABLE, INSIDE_TABLE = range(6)
(
    LENGTH,  # numbers of a run of rows
    PIECE,  # of these, in a task: whole rows
    PIECES,  # tasks of a run
    SLOTS,  # rows of the tables of weights; the first is what lies beyond a constant boundary
    PITCH,  # numbers from one slot to the next
    PERIOD,  # numbers after which weights are read from the start again
    STEP,  # what a block goes on in them
    BEFORE,  # numbers before a block that it reads
    AFTER,  # and behind it
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
    """As `load_as`, of the first `count` lanes those where `inside` is not zero; nothing else is read, and is zero."""
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
    """Whether a lane of two vectors is NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes = builder.fcmp_unordered("uno", *args)
        bits = builder.bitcast(lanes, ir.IntType(lanes.type.count))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(one, one), codegen


@functools.cache
def row_filter(storage_in: Storage, storage_out: Storage) -> Any:
    """The kernel that filters a piece of a run of rows."""

    @kernel
    @named(f"{storage_in.suffix}{storage_out.suffix}")
    def filter_rows(kernels, x, y, task, thread, block, constants):
        """Task `task`; `constants[0, 0]` divides all sums.  Called as `plane.filter_tile` is."""
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
    """What the drivers of `plane` call."""
    memory, whole, n = Line(types.uint8), Line(types.int64), types.int64
    table = types.Array(numba.from_dtype(compute), 2, "C")
    tile = address(row_filter(storage_in, storage_out), (whole, memory, memory, n, n, whole, table))
    return tile, [0] if config.DISABLE_JIT else np.zeros(1, np.int64)
