"""Register tiles: a vector of each of several rows, stored to arrays.

A stripe is a `vectors.Block` of one column and any number of rows.  See `vectors` for the rules of these
intrinsics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils, config

from .memory import _encode_vector, _mask, _masked_store, _memory, _store_first_reference
from .register_blocks import items_of, pack_items
from .vectors import LLVM_TYPES, VECTOR_BYTES, opaque, spread, vector_intrinsic

SLIDES = bool(config.DISABLE_JIT) or (
    VECTOR_BYTES == 64 and binding.get_default_triple().startswith("x86_64")
)  # whether a single instruction extracts any vector from two adjacent ones


# --------------------------------------------------------------------------- writing


@vector_intrinsic(lambda stripe, divisor: stripe / divisor)
def divide_stripe(typingctx: Any, stripe: Any, divisor: Any) -> Any:
    """Divide all numbers of a stripe by `divisor`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        divisors = spread(builder, args[1], stripe.vector.lanes)
        return pack_items(
            builder, args[0].type, [builder.fdiv(v, divisors) for v in items_of(builder, args[0])]
        )

    return stripe(stripe, divisor), codegen


def _write_rows(builder: Any, rows: Any, vectors: list[Any], write: Callable[[int, Any], None]) -> None:
    """Call `write` for the first `rows` vectors."""
    for row, vector in enumerate(vectors):
        with cgutils.if_likely(builder, builder.icmp_signed(">", rows, ir.Constant(rows.type, row))):
            write(row, vector)


def _row_offset(builder: Any, offset: Any, stride: Any, row: int) -> Any:
    return builder.add(offset, builder.mul(stride, ir.Constant(stride.type, row)))


def _write_reference(
    memory: np.ndarray, offset: int, stride: int, rows: int, count: int, storage: Any, stripe: np.ndarray
) -> None:
    for row in range(rows):
        _store_first_reference(memory, offset + row * stride, count, storage, stripe[row])


def _whole_reference(
    memory: np.ndarray, offset: int, stride: int, rows: int, storage: Any, stripe: np.ndarray
) -> None:
    _write_reference(memory, offset, stride, rows, stripe.shape[1], storage, stripe)


def _whole_stripe(nontemporal: bool) -> Callable[..., Any]:
    def emit(
        typingctx: Any, memory: Any, offset: Any, stride: Any, rows: Any, storage: Any, stripe: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            element = LLVM_TYPES[storage.element]
            first = opaque(builder, _memory(context, builder, args[0], args[1], storage.element, element))

            def write(row: int, vector: Any) -> None:
                stored = _encode_vector(builder, storage, vector)
                at = builder.mul(args[2], ir.Constant(args[2].type, row))
                pointer = builder.bitcast(builder.gep(first, [at]), stored.type.as_pointer())
                wide = stored.type.count * storage.element.bitwidth // 8
                instruction = builder.store(stored, pointer, align=wide if nontemporal else 1)
                if nontemporal:
                    one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
                    instruction.set_metadata("nontemporal", one)

            _write_rows(builder, args[3], items_of(builder, args[5]), write)
            return context.get_dummy_value()

        return types.void(memory, types.intp, types.intp, types.intp, storage, stripe), codegen

    return vector_intrinsic(_whole_reference)(emit)


write_stripe = _whole_stripe(nontemporal=False)
stream_stripe = _whole_stripe(
    nontemporal=True
)  # with non-temporal stores; each row must be aligned to the stored vectors


@vector_intrinsic(_write_reference)
def write_first(
    typingctx: Any, memory: Any, offset: Any, stride: Any, rows: Any, count: Any, storage: Any, stripe: Any
) -> Any:
    """Store the first `count` columns of the first `rows` rows."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        mask = _mask(builder, args[4], stripe.vector.lanes)

        def write(row: int, vector: Any) -> None:
            stored = _encode_vector(builder, storage, vector)
            at = _row_offset(builder, args[1], args[2], row)
            pointer = _memory(context, builder, args[0], at, storage.element, stored.type)
            _masked_store(builder, stored, pointer, mask)

        _write_rows(builder, args[3], items_of(builder, args[6]), write)
        return context.get_dummy_value()

    return types.void(memory, types.intp, types.intp, types.intp, types.intp, storage, stripe), codegen
