"""Moves finished rows from the workspace to the output, past the caches.

Arrays of NumPy seldom begin at a cache line, nor do rows of any length.  A line of which parts are written is read
first, and what is written after it waits; so short rows that lie one behind the other are gathered, and whole lines of
them are written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from ..intrinsics.memory import misalignment
from ..intrinsics.row_sums import fetch_intrinsic
from ..intrinsics.vectors import LINE_BYTES, VECTOR_BYTES, pointer_to, span, vector_intrinsic
from ..jit import kernel

fetch_written = fetch_intrinsic(1, written=True)


def _copy_line_reference(source: np.ndarray, at: int, target: np.ndarray, to: int) -> None:
    span(target, to, LINE_BYTES)[:] = span(source, at, LINE_BYTES)


@vector_intrinsic(_copy_line_reference)
def copy_line(typingctx: Any, source: Any, at: Any, target: Any, to: Any) -> Any:
    """LINE_BYTES bytes, past the caches to a place that is aligned to a line."""

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


@kernel
def write_finished(rows, at, y, to, count):
    """`count` bytes from byte `at` of `rows` to byte `to` of `y`, behind which as many are written next."""
    head = min(count, -misalignment(y, to) % LINE_BYTES)
    lines = (count - head) // LINE_BYTES * LINE_BYTES
    for j in range(head):
        y[to + j] = rows[at + j]
    for j in range(head, head + lines, LINE_BYTES):
        copy_line(rows, at + j, y, to + j)
    for j in range(head + lines, count):
        y[to + j] = rows[at + j]
    fetch_written(y, to + 2 * count, 0)
