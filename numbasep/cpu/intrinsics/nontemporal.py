"""Non-temporal stores of rows that do not start at vector boundaries.

Whole cache lines are written, each combined from the end of a row's last vector and the start of the next one, so the
last vector is kept in a workspace.  Rows start with `open_rows`, continue with `stream_rows` for each further whole
vector, and end with `close_rows`.  They need `register_tiles.SLIDES`.  Rows that are converted when they are stored are
never streamed, so no code is emitted for them.  See `vectors` for the rules of these intrinsics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from .memory import _mask, _masked_store, _memory
from .register_blocks import items_of
from .register_tiles import SLIDES, _row_offset, _whole_reference, _write_rows
from .vectors import VECTOR_BYTES, Vector, call_intrinsic, pointer_to, vector_intrinsic


def permute(builder: Any, near: Any, index: Any, far: Any) -> Any:
    """Select lanes of a pair of vectors by their numbers."""
    kind = "ps" if near.type.element == ir.FloatType() else "pd"
    return call_intrinsic(builder, f"llvm.x86.avx512.vpermi2var.{kind}.512", near.type, near, index, far)


def index_type(vector: Vector) -> Any:
    """Return the type of the lane numbers for `permute`."""
    return ir.VectorType(ir.IntType(vector.dtype.bitwidth), vector.lanes)


def counting(builder: Any, vector: Vector) -> Any:
    """Return a pointer to the constants 0, 1, 2, ..., as long as elements of the vector."""
    kind = ir.ArrayType(ir.IntType(vector.dtype.bitwidth), 3 * vector.lanes)
    name = f"numbasep.counting.{vector.dtype.bitwidth}"
    if name not in builder.module.globals:
        numbers = ir.GlobalVariable(builder.module, kind, name)
        numbers.initializer = ir.Constant(kind, list(range(kind.count)))
        numbers.global_constant = True
        numbers.linkage = "internal"
        numbers.align = VECTOR_BYTES
    return builder.module.globals[name]


_ADDRESS = ir.IntType(64)
_ROWS = 16  # maximum rows of a stripe


def _has_code(storage: Any, number: Any) -> bool:
    """Return whether rows of this storage can be streamed; kernels call the intrinsics even if they cannot."""
    return SLIDES and storage.element == number and not storage.storage.swapped


def _kept_pointer(
    context: Any, builder: Any, sig: Any, args: Any, kind: Any, row: int, position: int = -2
) -> Any:
    """Return a pointer to the kept vector of a row; arguments `position` and the next are `work` and its offset."""
    at = builder.add(args[position + 1], ir.Constant(args[position + 1].type, row * kind.count))
    return pointer_to(context, builder, sig.args[position], args[position], at, kind)


class _Row:
    """The address of a row's next element, and its position relative to cache lines."""

    def __init__(self, context: Any, builder: Any, sig: Any, args: Any, vector: Any, row: int) -> None:
        memory, offset, stride = args[:3]
        self.pointer = _memory(
            context, builder, memory, _row_offset(builder, offset, stride, row), sig.args[4].element, vector
        )
        self._builder, self._vector = builder, vector
        self._address = builder.ptrtoint(self.pointer, _ADDRESS)
        self._ahead = builder.and_(builder.neg(self._address), ir.Constant(_ADDRESS, VECTOR_BYTES - 1))

    def elements_ahead(self, item: int) -> Any:
        """Return the number of elements before the next cache line."""
        return self._builder.lshr(self._ahead, ir.Constant(_ADDRESS, item.bit_length() - 1))

    def lanes_ahead(self, vector: Vector) -> Any:
        """Return the lane numbers, in two adjacent vectors, from the next cache line on."""
        kind = index_type(vector)
        number = self._builder.ptrtoint(counting(self._builder, vector), _ADDRESS)
        pointer = self._builder.inttoptr(self._builder.add(number, self._ahead), kind.as_pointer())
        return self._builder.load(pointer, align=kind.element.width // 8)

    def line_before(self) -> Any:
        """Return a pointer to the last cache line that starts before the next element."""
        one, mask = ir.Constant(_ADDRESS, 1), ir.Constant(_ADDRESS, -VECTOR_BYTES)
        start = self._builder.and_(self._builder.sub(self._address, one), mask)
        return self._builder.inttoptr(start, self._vector.as_pointer())


def _write_reference(
    memory: np.ndarray, offset: int, stride: int, rows: int, storage: Any, stripe: np.ndarray, *_: Any
) -> None:
    _whole_reference(memory, offset, stride, rows, storage, stripe)


def _row_intrinsic(write: Callable[..., None]) -> Callable[..., Any]:
    """Return an intrinsic (memory, offset, stride, rows, storage, stripe, work, kept) that calls `write` per row."""

    def emit(
        typingctx: Any, memory: Any, offset: Any, stride: Any, rows: Any, storage: Any, stripe: Any, work: Any,
        kept: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            item = storage.element.bitwidth // 8

            def write_row(row: int, vector: Any) -> None:
                here = _Row(context, builder, sig, args, vector.type, row)
                place = _kept_pointer(context, builder, sig, args, vector.type, row)
                write(builder, here, vector, place, item, stripe.vector)
                builder.store(vector, place, align=item)

            if _has_code(storage, work.dtype):
                _write_rows(builder, args[3], items_of(builder, args[5]), write_row)
            return context.get_dummy_value()

        whole = types.intp
        return types.void(memory, whole, whole, whole, storage, stripe, work, whole), codegen

    return vector_intrinsic(_write_reference)(emit)


def _open_row(builder: Any, here: _Row, vector: Any, place: Any, item: int, kind: Vector) -> None:
    """Store the part of the first vector that belongs to a cache line that starts before it."""
    _masked_store(builder, vector, here.pointer, _mask(builder, here.elements_ahead(item), kind.lanes))


def _stream_row(builder: Any, here: _Row, vector: Any, place: Any, item: int, kind: Vector) -> None:
    """Store the cache line that starts in the kept vector, with a non-temporal store."""
    last = builder.load(place, align=item)
    line = permute(builder, last, here.lanes_ahead(kind), vector)
    nontemporal = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
    stored = builder.store(line, here.line_before(), align=VECTOR_BYTES)
    stored.set_metadata("nontemporal", nontemporal)


open_rows, stream_rows = (
    _row_intrinsic(_open_row),
    _row_intrinsic(_stream_row),
)  # both keep the last vectors at ``work[kept]``


@vector_intrinsic(lambda *_: None)
def close_rows(
    typingctx: Any, memory: Any, offset: Any, stride: Any, rows: Any, storage: Any, work: Any, kept: Any
) -> Any:
    """Store the remaining lanes of the kept vectors, which end before element `offset`."""
    vector = Vector(work.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind, item = context.get_value_type(vector), storage.element.bitwidth // 8

        def write(row: int, _: Any) -> None:
            here = _Row(context, builder, sig, args, kind, row)
            last = builder.load(_kept_pointer(context, builder, sig, args, kind, row), align=item)
            rest = permute(builder, last, here.lanes_ahead(vector), last)
            count = builder.sub(ir.Constant(_ADDRESS, kind.count), here.elements_ahead(item))
            _masked_store(builder, rest, here.line_before(), _mask(builder, count, kind.count))

        if _has_code(storage, work.dtype):
            _write_rows(builder, args[3], [None] * _ROWS, write)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(memory, whole, whole, whole, storage, work, whole), codegen
