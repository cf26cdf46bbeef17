"""Copies finished rows from the workspace to the output with non-temporal stores.

NumPy arrays and their rows seldom begin at a cache line.  A line is read before a part of it is overwritten, and later
stores wait for that.  Therefore short adjacent rows are gathered in the workspace and written as whole lines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import populate_array

from ..intrinsics.memory import misalignment
from ..intrinsics.row_sums import fetch_intrinsic
from ..intrinsics.vectors import LINE_BYTES, VECTOR_BYTES, Line, pointer_to, span, vector_intrinsic
from ..jit import inlined, kernel

KEPT_BYTES = 8 << 10  # most bytes that are kept before whole lines are written
KEPT_SIZE = KEPT_BYTES + 1024  # these, a line before them and a block of vectors after them

fetch_written = fetch_intrinsic(1, written=True)


def _copy_line_reference(source: np.ndarray, at: int, target: np.ndarray, to: int) -> None:
    span(target, to, LINE_BYTES)[:] = span(source, at, LINE_BYTES)


@vector_intrinsic(_copy_line_reference)
def copy_line(typingctx: Any, source: Any, at: Any, target: Any, to: Any) -> Any:
    """Copy LINE_BYTES bytes with non-temporal stores; the target must be aligned to a cache line."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        kind, index = ir.VectorType(ir.IntType(8), VECTOR_BYTES), ir.IntType(32)
        here, there = (pointer_to(context, builder, sig.args[i], args[i], args[i + 1], kind) for i in (0, 2))
        for part in range(LINE_BYTES // VECTOR_BYTES):
            vector = builder.load(builder.gep(here, [index(part)]), align=1)
            stored = builder.store(vector, builder.gep(there, [index(part)]), align=VECTOR_BYTES)
            stored.set_metadata("nontemporal", one)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), codegen


@vector_intrinsic(lambda: np.zeros(KEPT_SIZE, np.uint8))
def kept_bytes(typingctx: Any) -> Any:
    """Return KEPT_SIZE bytes of the stack, which begin at a cache line."""
    kind = Line(types.uint8)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(ir.IntType(8), KEPT_SIZE))
        memory.align = LINE_BYTES
        size, one = ir.IntType(64)(KEPT_SIZE), ir.IntType(64)(1)
        array = context.make_array(kind)(context, builder)
        populate_array(
            array, data=builder.bitcast(memory, ir.IntType(8).as_pointer()), shape=cgutils.pack_array(builder, [size]),
            strides=cgutils.pack_array(builder, [one]), itemsize=one, meminfo=None,
        )  # fmt: skip
        return array._getvalue()

    return kind(), codegen


@inlined
def write_kept(kept, first, stop, y, to, last):
    """Copy the whole lines of ``kept[first:stop]`` to ``y[to + first:]``; return the number of bytes that stay.

    ``y[to]`` is the start of a cache line.  Bytes of a line that is not complete move to the start of `kept`, but the
    `last` ones are written.
    """
    begin, whole = 0, stop // LINE_BYTES * LINE_BYTES
    if first:
        begin = min(LINE_BYTES, stop)
        for j in range(first, begin):
            y[to + j] = kept[j]
    for j in range(begin, whole, LINE_BYTES):
        copy_line(kept, j, y, to + j)
    for j in range(max(begin, whole), stop):
        if last:
            y[to + j] = kept[j]
        else:
            kept[j - whole] = kept[j]
    return stop - whole


@kernel
def write_finished(rows, at, y, to, count):
    """Copy `count` bytes from ``rows[at:]`` to ``y[to:]``, and prefetch the end of the `count` bytes after these."""
    head = min(count, -misalignment(y, to) % LINE_BYTES)
    lines = (count - head) // LINE_BYTES * LINE_BYTES
    for j in range(head):
        y[to + j] = rows[at + j]
    for j in range(head, head + lines, LINE_BYTES):
        copy_line(rows, at + j, y, to + j)
    for j in range(head + lines, count):
        y[to + j] = rows[at + j]
    fetch_written(y, to + 2 * count, 0)
