"""Words on the lanes of two stripes that stand side by side: what starts anywhere in the first and ends in the second.

Only where `stripes.SLIDES`.  See `simd` for the rules of the vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types

from .blocks import items_of, pack_items
from .simd import VECTOR_BYTES, Block, Vector, call_intrinsic, lanes, pointer_to, span, word
from .stripes import STRIPE_ROWS
from .windows import merged, spread_weight, weigh


def permute(builder: Any, near: Any, index: Any, far: Any) -> Any:
    """Lanes of a pair of vectors, by number."""
    kind = "ps" if near.type.element == ir.FloatType() else "pd"
    return call_intrinsic(builder, f"llvm.x86.avx512.vpermi2var.{kind}.512", near.type, near, index, far)


def index_type(vector: Vector) -> Any:
    """What `permute` takes lanes by."""
    return ir.VectorType(ir.IntType(vector.dtype.bitwidth), vector.lanes)


def counting(builder: Any, vector: Vector) -> Any:
    """Pointer to 0, 1, 2, ... in the code's constants."""
    kind = ir.ArrayType(ir.IntType(vector.dtype.bitwidth), 3 * vector.lanes)
    name = f"numbasep.counting.{vector.dtype.bitwidth}"
    if name not in builder.module.globals:
        numbers = ir.GlobalVariable(builder.module, kind, name)
        numbers.initializer = ir.Constant(kind, list(range(kind.count)))
        numbers.global_constant = True
        numbers.linkage = "internal"
        numbers.align = VECTOR_BYTES
    return builder.module.globals[name]


@word(lambda near, far, shift: np.concatenate([near, far], axis=1)[:, shift : shift + near.shape[1]])
def slide_stripe(typingctx: Any, near: Any, far: Any, shift: Any) -> Any:
    """The stripe that starts `shift` columns, at most a vector, behind the start of `near`; `far` follows it."""
    vector = near.vector

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        one, other, distance = args
        first = builder.gep(counting(builder, vector), [ir.Constant(ir.IntType(32), 0), distance])
        pointer = builder.bitcast(first, index_type(vector).as_pointer())
        index = builder.load(pointer, align=vector.dtype.bitwidth // 8)
        pairs = zip(items_of(builder, one), items_of(builder, other), strict=True)
        return pack_items(builder, one.type, [permute(builder, a, index, b) for a, b in pairs])

    return near(near, far, types.intp), codegen


def _add_aligned(builder: Any, near: Any, far: Any, shift: int, weight: Any, total: Any) -> Any:
    """`total` plus `weight` times the vector that starts `shift` lanes behind the start of `near`; `far` follows it.

    By assembly: for shuffles of floats LLVM chooses permutes, which take a table and a copy of an operand, and sums
    that are phis at the ends of many blocks it copies before it adds to them.
    """
    binding.initialize_native_asmparser()
    kind = ir.FunctionType(ir.LiteralStructType([near.type] * 2), [near.type] * 4)
    word, number = ("d", "ps") if near.type.element == ir.FloatType() else ("q", "pd")
    text = f"valign{word} $${shift}, $3, $4, $1\n\tvfmadd231{number} $5, $1, $0"
    both = builder.asm(kind, text, "=v,=&v,0,v,v,v", (total, near, far, weight), False)
    return builder.extract_value(both, 0)


def _add_shifted(builder: Any, weight: Any, shift: int, pairs: list[Any], sums: list[Any]) -> list[Any]:
    """`sums`, if there are any, plus `weight` times what starts `shift` lanes behind the start of a pair of vectors."""
    if shift in (0, weight.type.count):
        return weigh(builder, weight, [pair[shift > 0] for pair in pairs], sums)
    return [_add_aligned(builder, *pair, shift, weight, old) for pair, old in zip(pairs, sums, strict=True)]


def _adjacent_twin(
    total: np.ndarray, near: np.ndarray, far: np.ndarray, weights: np.ndarray, at: int, first: int, count: int
) -> np.ndarray:
    both = np.concatenate([near, far], axis=1)
    for k in range(count):
        shifted = both[:, first + k : first + k + near.shape[1]]
        total = (span(weights, at + k, 1)[0] * shifted + total).astype(near.dtype)
    return total


@word(_adjacent_twin)
def add_adjacent(
    typingctx: Any, total: Any, near: Any, far: Any, weights: Any, at: Any, first: Any, count: Any
) -> Any:  # fmt: skip
    """`total` plus what `count` taps weigh, at least one, that lie side by side along the columns.

    The first lies on the columns that start `first` behind those of `near`, which `far` follows, the last no further
    than on `far`.  As distances are known to the compiler, its instructions need neither tables nor copies.
    """
    lanes = near.vector.lanes

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pairs = list(zip(items_of(builder, args[1]), items_of(builder, args[2]), strict=True))

        table, at, first, count = args[3:]
        at, stop = builder.sub(at, first), builder.add(first, count)
        start, finished = items_of(builder, args[0]), builder.append_basic_block("taps.finished")
        blocks = [builder.append_basic_block(f"tap.{k}") for k in range(lanes + 1)]
        entry, ways = builder.block, []
        switch = builder.switch(first, blocks[0])
        for k, block in enumerate(blocks):
            if k:
                switch.add_case(ir.Constant(first.type, k), block)
            builder.position_at_end(block)
            came = [(entry, start), *ways[-1:]]
            sums = [merged(builder, came, row) for row in range(len(start))]
            weight = spread_weight(context, builder, weights, table, at, k, lanes)
            sums = _add_shifted(builder, weight, k, pairs, sums)
            ways.append((builder.block, sums))
            if k < lanes:
                more = builder.icmp_signed(">", stop, ir.Constant(stop.type, k + 1))
                builder.cbranch(more, blocks[k + 1], finished)
            else:
                builder.branch(finished)
        builder.position_at_end(finished)
        return pack_items(builder, args[0].type, [merged(builder, ways, row) for row in range(len(start))])

    whole = types.intp
    return total(total, near, far, weights, whole, whole, whole), codegen


@functools.cache
def weigh_columns_word(taps: int, step: int) -> Callable[..., Any]:
    """The word ``(near, far, weights, at)``: what `taps` taps weigh, `step` columns apart.

    The first lies on the columns of `near`, which `far` follows, the last no further than on `far`.
    """

    def twin(near: np.ndarray, far: np.ndarray, weights: np.ndarray, at: int) -> np.ndarray:
        total = np.zeros_like(near)
        for k in range(taps):
            total = _adjacent_twin(total, near, far, weights, at + k, k * step, 1)
        return total

    def emit(typingctx: Any, near: Any, far: Any, weights: Any, at: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pairs = list(zip(items_of(builder, args[0]), items_of(builder, args[1]), strict=True))
            sums: list[Any] = []
            for k in range(taps):
                weight = spread_weight(context, builder, weights, *args[2:], k, near.vector.lanes)
                sums = _add_shifted(builder, weight, k * step, pairs, sums)
            return pack_items(builder, args[0].type, sums)

        return near(near, far, weights, types.intp), codegen

    return word(twin)(emit)


def _mix_twin(work: np.ndarray, ends: int, table: np.ndarray, at: int) -> np.ndarray:
    n = lanes(work.dtype)
    index = span(table, at, n)
    both = np.hstack(span(work, ends, 2 * STRIPE_ROWS * n).reshape(2, STRIPE_ROWS, n))
    return np.where(index >= 0, both[:, np.maximum(index, 0)], 0).astype(work.dtype)


@word(_mix_twin)
def mix_stripes(typingctx: Any, work: Any, ends: Any, table: Any, at: Any) -> Any:
    """Columns of the two stripes at `work[ends]`, by their numbers in ``table[at:]``; zero where that is negative."""
    block = Block(work.dtype, STRIPE_ROWS, 1)
    vector = block.vector

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        wide = ir.VectorType(ir.IntType(64), vector.lanes)
        pointer = pointer_to(context, builder, sig.args[2], args[2], args[3], wide)
        index = builder.load(pointer, align=8)
        inside = builder.icmp_signed(">=", index, ir.Constant(wide, [0] * vector.lanes))
        if index_type(vector) != wide:
            index = builder.trunc(index, index_type(vector))
        kind = context.get_value_type(block)
        zero = ir.Constant(kind.element, [0.0] * vector.lanes)
        first = pointer_to(context, builder, sig.args[0], args[0], args[1], kind.element)
        mixed = []
        for row in range(STRIPE_ROWS):
            pair = []
            for side in range(2):
                at = builder.gep(first, [ir.Constant(ir.IntType(32), side * STRIPE_ROWS + row)])
                pair.append(builder.load(at, align=vector.dtype.bitwidth // 8))
            mixed.append(builder.select(inside, permute(builder, pair[0], index, pair[1]), zero))
        return pack_items(builder, kind, mixed)

    return block(work, types.intp, table, types.intp), codegen
