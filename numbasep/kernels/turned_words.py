"""Words on turned stripes, whose vectors are columns: those of `stripes`, for what stands in a workspace.

See `simd` for the rules of the vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config

from .blocks import BlockWords, pack_items
from .simd import VECTOR_BYTES, Block, Vector, lanes, pointer_to, span, word
from .stripes import STRIPE_ROWS
from .windows import emit_sweep, emit_tail

# whether a turn in registers costs less than packing rows
TURNS = VECTOR_BYTES >= 32 or bool(config.DISABLE_JIT)

_sweep, _stripe, _column = BlockWords(STRIPE_ROWS, 1), BlockWords(0, 1), BlockWords(1, 1)
write_rows, write_spread = _sweep.write_adjacent, _sweep.write
read_stripe, write_columns, turn_stripe = _stripe.read_adjacent, _stripe.write_adjacent, _stripe.transpose
zero_column, write_column = _column.zero, _column.write_adjacent


def _column_vector(context: Any, builder: Any, sig: Any, args: Any, column: int, vector: Vector) -> Any:
    """The vector `column` steps behind ``work[at]``."""
    work, at, step = args
    here = builder.add(at, builder.mul(step, ir.Constant(step.type, column)))
    pointer = pointer_to(context, builder, sig.args[0], work, here, context.get_value_type(vector))
    return builder.load(pointer, align=vector.dtype.bitwidth // 8)


def _open_twin(work: np.ndarray, at: int, step: int) -> np.ndarray:
    columns = [span(work, at + step * column, lanes(work.dtype)) for column in range(STRIPE_ROWS - 1)]
    return np.stack([np.full_like(columns[0], np.nan), *columns])


@word(_open_twin)
def open_columns(typingctx: Any, work: Any, at: Any, step: Any) -> Any:
    """A window of vectors `step` elements apart, the first undefined: it is pushed out."""
    block = Block(work.dtype, STRIPE_ROWS, 1)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = context.get_value_type(block)
        columns = range(STRIPE_ROWS - 1)
        items = [_column_vector(context, builder, sig, args, column, block.vector) for column in columns]
        return pack_items(builder, kind, [ir.Constant(kind.element, ir.Undefined), *items])

    return block(work, types.intp, types.intp), codegen


def _push_twin(window: np.ndarray, work: np.ndarray, at: int) -> np.ndarray:
    return np.concatenate([window[1:], span(work, at, window.shape[1])[None]])


def _sweep_twin(
    total: np.ndarray, window: np.ndarray, work: np.ndarray, at: int, step: int, weights: np.ndarray, tap: int
) -> tuple[np.ndarray, np.ndarray]:
    for k in range(STRIPE_ROWS):
        window = _push_twin(window, work, at + k * step)
        total = (span(weights, tap + k, 1)[0] * window + total).astype(total.dtype)
    return total, window


@word(_sweep_twin)
def sweep_columns(
    typingctx: Any, total: Any, window: Any, work: Any, at: Any, step: Any, weights: Any, tap: Any
) -> Any:
    """Push STRIPE_ROWS vectors and add to `total` what each window weighs; no register is moved."""
    pair = types.UniTuple(total, 2)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        shifted = total(*sig.args[2:5])

        def newest(k: int) -> Any:
            return _column_vector(context, builder, shifted, args[2:5], k, window.vector)

        return emit_sweep(context, builder, pair, weights, args[0], args[1], args[5], args[6], newest)

    return pair(total, window, work, types.intp, types.intp, weights, types.intp), codegen


def _tail_twin(
    total: np.ndarray, window: np.ndarray, work: np.ndarray, at: int, step: int, weights: np.ndarray, tap: int,
    count: int,
) -> np.ndarray:  # fmt: skip
    for k in range(count):
        window = _push_twin(window, work, at + k * step)
        total = (span(weights, tap + k, 1)[0] * window + total).astype(total.dtype)
    return total


@word(_tail_twin)
def tail_columns(
    typingctx: Any, total: Any, window: Any, work: Any, at: Any, step: Any, weights: Any, tap: Any, count: Any
) -> Any:
    """As `sweep_columns` for the last `count` taps, fewer than STRIPE_ROWS."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        shifted = total(*sig.args[2:5])

        def newest(k: int) -> Any:
            return _column_vector(context, builder, shifted, args[2:5], k, window.vector)

        return emit_tail(context, builder, weights, args[0], args[1], args[5], args[6], args[7], newest)

    whole = types.intp
    return total(total, window, work, whole, whole, weights, whole, whole), codegen
