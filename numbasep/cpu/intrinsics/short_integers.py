"""Intrinsics that write 16-bit integers to a workspace of float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from .vectors import Vector, lanes, pointer_to, span, vector_intrinsic


def _shorts(work: np.ndarray, target: int, count: int) -> np.ndarray:
    return span(work.view(np.uint16), target, count)


def _short_pointer(context: Any, builder: Any, sig: Any, args: Any, kind: Any) -> Any:
    """Return the pointer to 16-bit integer `args[2]` of the array `args[0]`."""
    whole = ir.IntType(64)
    start = pointer_to(context, builder, sig, args[0], whole(0), ir.IntType(16))
    return builder.bitcast(builder.gep(start, [args[2]]), kind.as_pointer())


def _narrow_reference(work: np.ndarray, source: int, target: int) -> None:
    count = 2 * lanes(work.dtype)
    _shorts(work, target, count)[:] = span(work, source, count).astype(np.int64)


@vector_intrinsic(_narrow_reference)
def narrow_vectors(typingctx: Any, work: Any, source: Any, target: Any) -> Any:
    """Convert two vectors of float32, integers from 0 to 65535, to 16-bit integers at index `target` of `work`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        size = Vector(work.dtype).lanes
        number = ir.VectorType(ir.FloatType(), 2 * size)
        wide = builder.load(pointer_to(context, builder, sig.args[0], args[0], args[1], number), align=4)
        integers = builder.fptosi(wide, ir.VectorType(ir.IntType(32), 2 * size))
        small = builder.trunc(integers, ir.VectorType(ir.IntType(16), 2 * size))
        builder.store(small, _short_pointer(context, builder, sig.args[0], args, small.type), align=2)
        return context.get_dummy_value()

    return types.void(work, types.intp, types.intp), codegen


def _widen_reference(work: np.ndarray, memory: np.ndarray, target: int, source: int) -> None:
    count = 2 * lanes(work.dtype)
    _shorts(work, target, count)[:] = span(memory, source, count)


@vector_intrinsic(_widen_reference)
def widen_bytes(typingctx: Any, work: Any, memory: Any, target: Any, source: Any) -> Any:
    """Convert bytes of `memory` from `source` on, two per float32 lane, to 16-bit integers at index `target`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        size = 2 * Vector(work.dtype).lanes
        kinds = [ir.VectorType(ir.IntType(bits), size) for bits in (8, 16)]
        byte = builder.load(pointer_to(context, builder, sig.args[1], args[1], args[3], kinds[0]), align=1)
        place = _short_pointer(context, builder, sig.args[0], args, kinds[1])
        builder.store(builder.zext(byte, kinds[1]), place, align=2)
        return context.get_dummy_value()

    return types.void(work, memory, types.intp, types.intp), codegen
