"""Filters along an axis of few samples, for which adjacent rows are treated as a long vector with periodic weights.

    y[i] = c[i mod P] + sum over slots s of w[s, i mod P] * x[i + d[s]],      P = elements of a row

The boundary is part of the weights: those of a row are an n x n matrix, and slot s is one of its diagonals.  Elements
of other rows have weight zero, but zero times NaN is NaN.  So blocks of vectors are first summed without masks.  If a
result is NaN, and at the ends of the array, they are summed again with masked loads that skip elements of other rows.

Away from the ends of the array, GROUP periods are filtered together, as they share the weights.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config

from ..intrinsics.adjacent import from_element
from ..intrinsics.memory import (
    Storage,
    _decode_vector,
    _elements,
    _load_as_reference,
    _masked_load,
    _memory,
    load_as,
    misalignment,
    prefetch,
    store_as,
    store_first,
)
from ..intrinsics.register_blocks import BlockIntrinsics, items_of, pack_items
from ..intrinsics.vectors import (
    LINE_BYTES,
    LLVM_TYPES,
    Line,
    Vector,
    div,
    fma,
    fused,
    lanes_of,
    load,
    pointer_to,
    span,
    splat,
    spread,
    vector_intrinsic,
)
from ..jit import address, inlined, kernel, named
from .epilogue import divide, store_rows
from .finished_rows import KEPT_BYTES, kept_bytes, write_kept
from .horizontal import PAIRED
from .pass_arguments import integers, numbers

VECTORS = 4  # vectors per block, whose sums are independent
GROUP, ACROSS = 4, 2  # periods that are filtered together, and vectors of each in a block

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
    GROUPED,  # whether GROUP periods are filtered together
    PAIRS,  # pairs of slots, the first ones, that read adjacent elements
    STREAM,  # bytes of an element of the output, for non-temporal stores; 0 without
    SIZES,
) = range(13)


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


def _add_slots(count: int) -> Any:
    """Return the intrinsic that adds a slot, or two slots that read adjacent elements, to the sums of a block."""

    def reference(total, x, at, apart, storage, weights, w, pitch):
        lanes, total = total.shape[1] // ACROSS, total.copy()
        for slot in range(count):
            weight = span(weights, w + slot * pitch, ACROSS * lanes)
            for r in range(GROUP):
                starts = (at + r * apart + slot + c * lanes for c in range(ACROSS))
                parts = [_load_as_reference(x, here, storage, total[0, 0]) for here in starts]
                total[r] = weight * np.concatenate(parts) + total[r]
        return total

    def emit(
        typingctx: Any,
        total: Any,
        x: Any,
        at: Any,
        apart: Any,
        storage: Any,
        weights: Any,
        w: Any,
        pitch: Any,
    ) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            block, memory, at_, apart_, _, weights_, w_, pitch_ = args
            kind, index, n = block.type.element, ir.IntType(64), total.vector.lanes
            raw = ir.VectorType(LLVM_TYPES[storage.element], kind.count)
            sums, weight = items_of(builder, block), []
            for slot in range(count):
                here = builder.add(w_, builder.mul(pitch_, index(slot)))
                pointer = pointer_to(context, builder, sig.args[5], weights_, here, kind)
                weight.append([
                    builder.load(builder.gep(pointer, [index(c)]), align=weights.dtype.bitwidth // 8)
                    for c in range(ACROSS)
                ])  # fmt: skip

            def read(r: int, element: int) -> Any:
                here = builder.add(builder.add(at_, builder.mul(apart_, index(r))), index(element))
                loaded = builder.load(_memory(context, builder, memory, here, storage.element, raw), align=1)
                return _decode_vector(builder, storage, loaded, kind)

            for r in range(GROUP):
                loaded = [read(r, c * n) for c in range(ACROSS + (PAIRED and count > 1))]
                for c in range(ACROSS):
                    at_sum = r * ACROSS + c
                    sums[at_sum] = fused(builder, weight[0][c], loaded[c], sums[at_sum])
                    if count > 1:
                        shifted = (
                            from_element(builder, *loaded[c : c + 2], 1) if PAIRED else read(r, c * n + 1)
                        )
                        sums[at_sum] = fused(builder, weight[1][c], shifted, sums[at_sum])
            return pack_items(builder, block.type, sums)

        n = types.int64
        return total(total, x, n, n, storage, weights, n, n), codegen

    return vector_intrinsic(reference)(emit)


add_slot, add_pair = _add_slots(1), _add_slots(2)
zero_block = BlockIntrinsics(GROUP, ACROSS).zero


@vector_intrinsic(lambda block, weights, at: np.tile(span(weights, at, block.shape[1]), (GROUP, 1)))
def constant_rows(typingctx: Any, block: Any, weights: Any, at: Any) -> Any:
    """Return a block like `block`, each row of which is ``weights[at:]``."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_to(context, builder, weights, args[1], args[2], args[0].type.element)
        row = [
            builder.load(builder.gep(pointer, [ir.IntType(64)(c)]), align=weights.dtype.bitwidth // 8)
            for c in range(ACROSS)
        ]
        return pack_items(builder, args[0].type, row * GROUP)

    return block(block, weights, types.int64), codegen


@vector_intrinsic(lambda block: bool(np.isnan(block).any()))
def any_nan(typingctx: Any, block: Any) -> Any:
    """Return whether an element of a block is NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        items = items_of(builder, args[0])
        lanes = [builder.fcmp_unordered("uno", *pair) for pair in zip(items[::2], items[1::2], strict=True)]
        found = functools.reduce(builder.or_, lanes)
        bits = builder.bitcast(found, ir.IntType(found.type.count))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(block), codegen


@inlined
def sum_masked(x, y, source, target, count, phase, storages, sizes, shifts, weights, inside, divisor):
    """Sum `count` elements with masked loads that skip elements of other rows."""
    storage_in, storage_out = storages
    lanes, pitch = lanes_of(weights), sizes[PITCH]
    for j in range(0, count, lanes):
        n, total = min(lanes, count - j), load(weights, phase + j)
        for slot in range(1, sizes[SLOTS]):
            w = slot * pitch + phase + j
            part = load_where(x, source + j + shifts[slot], load(inside, w), n, storage_in, weights[0])
            total = fma(load(weights, w), part, total)
        store_first(y, target + j, n, storage_out, div(total, splat(divisor)))


@functools.cache
def row_filter(storage_in: Storage, storage_out: Storage) -> Any:
    """Return the kernel that filters a piece of a run of rows."""
    storages, per_line = (storage_in, storage_out), LINE_BYTES // storage_in.dtype.itemsize

    @inlined
    def sum_group(x, y, source, target, sizes, shifts, weights, inside, divisor):
        """Sum GROUP periods, and prefetch the next ones."""
        lanes, pitch, period = lanes_of(weights), sizes[PITCH], sizes[PERIOD]
        slots, paired, width = sizes[SLOTS], 1 + 2 * sizes[PAIRS], ACROSS * lanes
        for j in range(0, period, width):
            phase = min(j, period - width)  # the last block may overlap the previous one
            for e in range(0, GROUP * width, per_line):
                prefetch(x, source + GROUP * (period + j) + e, storage_in)
            total = constant_rows(zero_block(weights[0]), weights, phase)
            for slot in range(1, paired, 2):
                at = source + phase + shifts[slot]
                total = add_pair(total, x, at, period, storage_in, weights, slot * pitch + phase, pitch)
            for slot in range(paired, slots):
                at = source + phase + shifts[slot]
                total = add_slot(total, x, at, period, storage_in, weights, slot * pitch + phase, pitch)
            if any_nan(total):
                for r in range(GROUP):
                    here = r * period + phase
                    sum_masked(
                        x, y, source + here, target + here, width, phase, storages, sizes, shifts, weights, inside,
                        divisor,
                    )  # fmt: skip
                continue
            if divisor != 1:
                total = divide(total, divisor)
            store_rows(y, target + phase, period, GROUP, storage_out, total)

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
        # element i is stored at ``written[shift + i]``
        written, shift, item, skipped = y, target, sizes[STREAM], 0
        if item and misalignment(y, 0) % item == 0:
            skipped = misalignment(y, (target + first) * item)
            written, shift = kept_bytes(), skipped // item - first
        else:
            item = 0
        grouped, group = 1 << 62, GROUP * sizes[PERIOD]
        if sizes[GROUPED]:
            grouped = first if first >= sizes[BEFORE] else first + sizes[PERIOD]
            limit = min(last, length - sizes[AFTER] - lanes) - group
            grouped = grouped if grouped <= limit else 1 << 62
        phase, i = 0, first
        while i < last:
            if i == grouped:
                sum_group(x, written, source + i, shift + i, sizes, shifts, weights, inside, divisor)
                i, phase = i + group, 0
                if i <= limit:
                    grouped = i
            else:
                stop = min(last, grouped) if grouped > i else last
                done = i >= sizes[BEFORE] and i + width + sizes[AFTER] <= length and i + width <= stop
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
                        store_as(written, shift + i, storage_out, one)
                        store_as(written, shift + i + lanes, storage_out, two)
                        store_as(written, shift + i + 2 * lanes, storage_out, three)
                        store_as(written, shift + i + 3 * lanes, storage_out, four)
                if not done:
                    sum_masked(
                        x, written, source + i, shift + i, min(width, stop - i), phase, storages, sizes, shifts,
                        weights, inside, divisor,
                    )  # fmt: skip
                i = min(i + width, stop)
                phase += sizes[STEP]
                if phase >= sizes[PERIOD]:
                    phase -= sizes[PERIOD]
            if item and ((shift + i + group) * item >= KEPT_BYTES or i >= last):
                left = write_kept(written, skipped, (shift + i) * item, y, (target - shift) * item, i >= last)
                skipped, shift = 0, left // item - i

    return filter_rows


@functools.cache
def kernel_addresses(compute: np.dtype[Any], storage_in: Storage, storage_out: Storage) -> tuple[Any, Any]:
    """Return the addresses for the drivers of `plane_driver`."""
    memory, whole, n = Line(types.uint8), Line(types.int64), types.int64
    table = types.Array(numba.from_dtype(compute), 2, "C")
    tile = address(row_filter(storage_in, storage_out), (whole, memory, memory, n, n, whole, table))
    return tile, [0] if config.DISABLE_JIT else np.zeros(1, np.int64)
