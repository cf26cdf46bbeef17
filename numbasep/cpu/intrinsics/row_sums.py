"""Intrinsics for vertical sums: weighted sums of equally spaced rows.

See `vectors` for the rules of these intrinsics.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from .memory import _load_as_reference, _memory, _prefetch_reference
from .register_blocks import BlockIntrinsics, items_of, pack_items
from .vectors import LLVM_TYPES, TARGET, VECTOR_BYTES, fused, pointer_to, span, spread, vector_intrinsic

DENSE_ROWS = TARGET.dense_rows
ROWS_OF_POINTER = 4  # rows whose addresses are computed from the same pointer and multiples of the stride


zero_dense = BlockIntrinsics(DENSE_ROWS, 1).zero


class _Rows:
    """Emits loads of the rows of a run in order.

    With a `mirror`, the vector `mirror` elements further, times `sign`, is added to each.
    """

    def __init__(
        self, builder: Any, first: Any, stride: Any, kind: Any, mirror: Any = None, sign: Any = None
    ) -> None:
        self.builder, self.stride, self.kind = builder, stride, kind
        self.pointer, self.step = first, 0
        self.mirror, self.sign = mirror, sign

    def read(self) -> Any:
        """Emit the load of the next row and return its vector."""
        here = self._next()
        row = self._load(here)
        if self.mirror is not None:
            row = fused(self.builder, self.sign, self._load(self.builder.gep(here, [self.mirror])), row)
        self.step += 1
        if self.step == ROWS_OF_POINTER:
            self.restart()
        return row

    def _load(self, at: Any) -> Any:
        return self.builder.load(
            self.builder.bitcast(at, self.kind.as_pointer()), align=VECTOR_BYTES // self.kind.count
        )

    def restart(self) -> None:
        """Make the next row the base of the following addresses.

        LLVM would keep the addresses of all rows, which are more than there are registers.  An empty inline assembly
        hides how the pointer was computed.
        """
        kind = ir.FunctionType(self.pointer.type, [self.pointer.type])
        self.pointer, self.step = self.builder.asm(kind, "", "=r,0", [self._next()], False), 0

    def _next(self) -> Any:
        return self.builder.gep(self.pointer, [self.builder.mul(self.stride, self.stride.type(self.step))])


def _add_run_reference(
    total: np.ndarray, memory: np.ndarray, start: int, stride: int, storage: Any, weights: np.ndarray, at: int,
    length: int,
) -> np.ndarray:  # fmt: skip
    for tap in range(length):
        weight = span(weights, at + tap, 1)[0]
        starts = [start + (row + tap) * stride for row in range(len(total))]
        rows = [_load_as_reference(memory, here, storage, weight) for here in starts]
        total = (weight * np.stack(rows) + total).astype(total.dtype)
    return total


@vector_intrinsic(_add_run_reference)
def add_run(
    typingctx: Any, total: Any, memory: Any, start: Any, stride: Any, storage: Any, weights: Any, at: Any, length: Any
) -> Any:  # fmt: skip
    """Add `length` >= 1 rows, `stride` elements apart, times ``weights[at:]``, to each row of a block.

    The first row for row r of the block is at element ``start + r * stride`` of `memory`.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[0].type.element
        first = _memory(context, builder, args[1], args[2], storage.element, LLVM_TYPES[storage.element])
        weight_at = pointer_to(context, builder, sig.args[5], args[5], args[6], kind.element)
        return _emit_run(builder, args[0], _Rows(builder, first, args[3], kind), weight_at, args[7])

    signature = total(total, memory, types.intp, types.intp, storage, weights, types.intp, types.intp)
    return signature, codegen


def _add_folded_reference(
    total: np.ndarray, memory: np.ndarray, start: int, stride: int, storage: Any, weights: np.ndarray, at: int,
    length: int, mirror: int, fold: int,
) -> np.ndarray:  # fmt: skip
    for tap in range(length):
        weight = span(weights, at + tap, 1)[0]
        starts = [start + (row + tap) * stride for row in range(len(total))]
        near, far = (
            np.stack([_load_as_reference(memory, here + beyond, storage, weight) for here in starts])
            for beyond in (0, mirror)
        )
        total = (weight * (near + weight.dtype.type(fold) * far) + total).astype(total.dtype)
    return total


@vector_intrinsic(_add_folded_reference)
def add_folded_run(
    typingctx: Any, total: Any, memory: Any, start: Any, stride: Any, storage: Any, weights: Any, at: Any, length: Any,
    mirror: Any, fold: Any,
) -> Any:  # fmt: skip
    """Add a run like `add_run`; each row is ``row[j] + fold * row[j + mirror]``, where `fold` is 1 or -1."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[0].type.element
        first = _memory(context, builder, args[1], args[2], storage.element, LLVM_TYPES[storage.element])
        weight_at = pointer_to(context, builder, sig.args[5], args[5], args[6], kind.element)
        sign = spread(builder, builder.sitofp(args[9], kind.element), kind.count)
        rows = _Rows(builder, first, args[3], kind, args[8], sign)
        return _emit_run(builder, args[0], rows, weight_at, args[7])

    whole = types.intp
    signature = total(total, memory, whole, whole, storage, weights, whole, whole, whole, whole)
    return signature, codegen


@functools.cache
def column_intrinsics(taps: int, height: int) -> tuple[Callable[..., Any], ...]:
    """Return (zero block, intrinsic ``(total, memory, start, stride, storage, weights, at)``).

    The intrinsic is `add_run` with `taps` taps for blocks of `height` rows.  Each row is multiplied by all taps before
    the next is loaded, so that weights are kept in registers instead of a window of rows.
    """

    def reference(
        total: np.ndarray,
        memory: np.ndarray,
        start: int,
        stride: int,
        storage: Any,
        weights: np.ndarray,
        at: int,
    ) -> np.ndarray:
        return _add_run_reference(total, memory, start, stride, storage, weights, at, taps)

    def emit(
        typingctx: Any, total: Any, memory: Any, start: Any, stride: Any, storage: Any, weights: Any, at: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind, index = args[0].type.element, args[6].type
            first = _memory(context, builder, args[1], args[2], storage.element, LLVM_TYPES[storage.element])
            weight_at = pointer_to(context, builder, weights, args[5], args[6], kind.element)
            rows = _Rows(builder, first, args[3], kind)
            numbers = [builder.load(builder.gep(weight_at, [index(tap)])) for tap in range(taps)]
            spreads = [spread(builder, number, kind.count) for number in numbers]
            sums = items_of(builder, args[0])
            for k in range(height + taps - 1):
                row = rows.read()
                for tap in range(max(0, k - height + 1), min(taps, k + 1)):
                    sums[k - tap] = fused(builder, spreads[tap], row, sums[k - tap])
            return pack_items(builder, args[0].type, sums)

        whole = types.intp
        return total(total, memory, whole, whole, storage, weights, whole), codegen

    return BlockIntrinsics(height, 1).zero, vector_intrinsic(reference)(emit)


def _emit_run(builder: Any, block: Any, rows: _Rows, weight_at: Any, left: Any) -> Any:
    """Emit a loop over windows of rows, in which a row moves through the window but stays in its register.

    The loop can be left after every tap, so that any number of taps uses the same code.
    """
    index, vector = left.type, block.type.element
    opened = items_of(builder, block)
    window = [rows.read() for _ in range(DENSE_ROWS - 1)]
    rows.restart()
    entry = builder.block
    loop, done = builder.append_basic_block("run"), builder.append_basic_block("run.done")
    builder.branch(loop)

    builder.position_at_end(loop)
    carried = [*opened, *window, rows.pointer, weight_at, left]
    phis = [builder.phi(value.type) for value in carried]
    for phi, value in zip(phis, carried, strict=True):
        phi.add_incoming(value, entry)
    sums, window = phis[:DENSE_ROWS], phis[DENSE_ROWS : 2 * DENSE_ROWS - 1]
    rows.pointer, weight_at, left = phis[-3:]
    leaving = []
    for tap in range(1, DENSE_ROWS + 1):
        window = [*window, rows.read()]
        weight = builder.load(builder.gep(weight_at, [index(tap - 1)]))
        weight = spread(builder, weight, vector.count)
        sums = [fused(builder, weight, row, old) for row, old in zip(window, sums, strict=True)]
        window = window[1:]
        leaving.append((builder.block, sums))
        last = builder.icmp_signed("==", left, index(tap))
        if tap < DENSE_ROWS:
            onward = builder.append_basic_block("run.tap")
            builder.cbranch(last, done, onward)
            builder.position_at_end(onward)
    if rows.step:
        rows.restart()
    next_weight, fewer = builder.gep(weight_at, [index(DENSE_ROWS)]), builder.sub(left, index(DENSE_ROWS))
    for phi, value in zip(phis, [*sums, *window, rows.pointer, next_weight, fewer], strict=True):
        phi.add_incoming(value, builder.block)
    builder.cbranch(last, done, loop)

    builder.position_at_end(done)
    result = [builder.phi(vector) for _ in range(DENSE_ROWS)]
    for leave, values in leaving:
        for phi, value in zip(result, values, strict=True):
            phi.add_incoming(value, leave)
    return pack_items(builder, block.type, result)


def emit_fetch(builder: Any, pointer: Any, *, written: bool = False) -> None:
    """Emit the prefetch of a cache line to the second-level cache, or to the first level if it is `written` soon."""
    numbers = [ir.Constant(ir.IntType(32), value) for value in ((1, 3, 1) if written else (0, 2, 1))]
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, *[n.type for n in numbers]])
    builder.call(
        cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0"), [pointer, *numbers]
    )


@functools.cache
def fetch_intrinsic(height: int, *, written: bool = False) -> Callable[..., Any]:
    """Return the intrinsic ``(memory, at, stride)`` that prefetches `height` cache lines, `stride` bytes apart.

    Lines are fetched to the second-level cache, or to the first-level cache if they are `written` soon.  Addresses
    outside the array are harmless.
    """

    def emit(typingctx: Any, memory: Any, at: Any, stride: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pointer = pointer_to(context, builder, sig.args[0], args[0], args[1], ir.IntType(8))
            for row in range(height):
                step = builder.mul(args[2], ir.Constant(args[2].type, row))
                emit_fetch(builder, builder.gep(pointer, [step]), written=written)
            return context.get_dummy_value()

        return types.void(memory, types.intp, types.intp), codegen

    return vector_intrinsic(_prefetch_reference)(emit)
