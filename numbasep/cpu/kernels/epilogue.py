"""Epilogue of the separable kernel: divide or normalize a block of sums, convert and store it.

Blocks are rows of adjacent vectors (`register_blocks`); rows of the output are `stride` elements apart, and only the
first `rows` of a block are stored.  See `vectors` for the rules of these intrinsics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from ..intrinsics.memory import (
    _encode_vector,
    _mask,
    _masked_store,
    _memory,
    _ordered,
    _store_as_reference,
    _stream_reference,
)
from ..intrinsics.narrowing import pack_vectors, packable
from ..intrinsics.register_blocks import items_of, pack_items
from ..intrinsics.vectors import VECTOR_BYTES, spread, vector_intrinsic
from .nan_aware import emit_normalised, normalised_reference


@vector_intrinsic(lambda block, divisor: block / divisor)
def divide(typingctx: Any, block: Any, divisor: Any) -> Any:
    """Divide all elements of a block by `divisor`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        divisors = spread(builder, args[1], block.vector.lanes)
        return pack_items(
            builder, args[0].type, [builder.fdiv(v, divisors) for v in items_of(builder, args[0])]
        )

    return block(block, divisor), codegen


@vector_intrinsic(normalised_reference)
def normalise(typingctx: Any, block: Any, share: Any, weight: Any, least: Any, close: Any) -> Any:
    """Divide sums by the share of the weights of valid samples; see `nan_aware`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pairs = zip(items_of(builder, args[0]), items_of(builder, args[1]), strict=True)
        return pack_items(
            builder, args[0].type, [emit_normalised(builder, t, s, *args[2:]) for t, s in pairs]
        )

    return block(block, share, weight, least, close), codegen


def _joined(builder: Any, vectors: list[Any]) -> Any:
    """Concatenate adjacent vectors, so that LLVM converts them together."""
    while len(vectors) > 1:
        count = 2 * vectors[0].type.count
        mask = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(count)))
        vectors = [
            builder.shuffle_vector(a, b, mask) for a, b in zip(vectors[::2], vectors[1::2], strict=True)
        ]
    return vectors[0]


def encode_vectors(builder: Any, storage: Any, vectors: list[Any]) -> list[Any]:
    """Convert adjacent vectors to the storage type, to as many vectors or fewer."""
    if isinstance(storage.element, types.Integer) and not storage.half:
        if packable(storage, vectors):
            return [_ordered(builder, storage, vector) for vector in pack_vectors(builder, storage, vectors)]
        vectors = [_joined(builder, vectors)]
    return [_encode_vector(builder, storage, vector) for vector in vectors]


def _each_row(
    context: Any, builder: Any, sig: Any, args: Any, write: Callable[[Any, list[Any]], None]
) -> Any:
    """Call ``write(offset, vectors)`` for the first `rows` rows of ``(memory, offset, stride, rows, ..., block)``."""
    _, offset, stride, rows, *_, block = args
    kind, items = sig.args[-1], items_of(builder, block)
    for row in range(kind.rows):
        vectors = items[row * kind.columns : (row + 1) * kind.columns]
        at = builder.add(offset, builder.mul(stride, ir.Constant(stride.type, row)))
        if row == 0:
            write(at, vectors)
            continue
        with builder.if_then(builder.icmp_signed("<", ir.Constant(rows.type, row), rows), likely=True):
            write(at, vectors)
    return context.get_dummy_value()


def _rows_reference(block: np.ndarray, rows: int) -> np.ndarray:
    return block[:rows]


def _store_reference(
    memory: np.ndarray, offset: int, stride: int, rows: int, storage: Any, block: np.ndarray
) -> None:
    for r, row in enumerate(_rows_reference(block, rows)):
        _store_as_reference(memory, offset + r * stride, storage, row)


@vector_intrinsic(_store_reference)
def store_rows(
    typingctx: Any, memory: Any, offset: Any, stride: Any, rows: Any, storage: Any, block: Any
) -> Any:
    """Convert and store whole rows of a block, from element `offset` on."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def write(at: Any, vectors: list[Any]) -> None:
            for i, stored in enumerate(encode_vectors(builder, storage, vectors)):
                here = builder.add(at, ir.Constant(at.type, i * stored.type.count))
                builder.store(
                    stored, _memory(context, builder, args[0], here, storage.element, stored.type), align=1
                )

        return _each_row(context, builder, sig, args, write)

    return types.void(memory, types.intp, types.intp, types.intp, storage, block), codegen


def _stream_rows_reference(
    memory: np.ndarray, offset: int, stride: int, rows: int, block: np.ndarray
) -> None:
    for r, row in enumerate(_rows_reference(block, rows)):
        _stream_reference(memory, offset + r * stride, row)


@vector_intrinsic(_stream_rows_reference)
def stream_rows(typingctx: Any, memory: Any, offset: Any, stride: Any, rows: Any, block: Any) -> Any:
    """Store whole rows of the compute type with non-temporal stores; they must be aligned to a vector."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])

        def write(at: Any, vectors: list[Any]) -> None:
            for i, vector in enumerate(vectors):
                here = builder.add(at, ir.Constant(at.type, i * vector.type.count))
                pointer = _memory(context, builder, args[0], here, block.vector.dtype, vector.type)
                builder.store(vector, pointer, align=VECTOR_BYTES).set_metadata("nontemporal", one)

        return _each_row(context, builder, sig, args, write)

    return types.void(memory, types.intp, types.intp, types.intp, block), codegen


def _store_part_reference(
    memory: np.ndarray, offset: int, stride: int, rows: int, count: int, streamed: int, block: np.ndarray
) -> None:
    for r, row in enumerate(_rows_reference(block, rows)):
        memory.view(block.dtype)[offset + r * stride :][:count] = row[:count]


@vector_intrinsic(_store_part_reference)
def store_part(
    typingctx: Any, memory: Any, offset: Any, stride: Any, rows: Any, count: Any, streamed: Any, block: Any
) -> Any:
    """Store the first `count` elements of each row in the compute type; write nothing else.

    If `streamed`, whole vectors are written with non-temporal stores and must be aligned.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        past = builder.icmp_signed("!=", args[5], ir.Constant(args[5].type, 0))

        def write(at: Any, vectors: list[Any]) -> None:
            for i, vector in enumerate(vectors):
                done = ir.Constant(at.type, i * vector.type.count)
                pointer = _memory(
                    context, builder, args[0], builder.add(at, done), block.vector.dtype, vector.type
                )
                left = builder.sub(args[4], done)
                whole = builder.icmp_signed(">=", left, ir.Constant(left.type, vector.type.count))
                with builder.if_else(builder.and_(past, whole)) as (then, otherwise):
                    with then:
                        builder.store(vector, pointer, align=VECTOR_BYTES).set_metadata("nontemporal", one)
                    with (
                        otherwise,
                        builder.if_then(builder.icmp_signed(">", left, ir.Constant(left.type, 0))),
                    ):  # an empty masked store is slow
                        _masked_store(builder, vector, pointer, _mask(builder, left, vector.type.count))

        return _each_row(context, builder, sig, args, write)

    whole = types.intp
    return types.void(memory, whole, whole, whole, whole, whole, block), codegen
