"""Operations a pixel of separable forms: one multiply-add or one addition counts one.

A pass along one axis with n non-zero taps is n multiply-adds.  If all taps have one magnitude, that
magnitude moves to another factor (or to the end) and n - 1 additions remain; if they also form one run, the
sum of a box of any width needs at most three additions a pixel (van Herk's block prefix and suffix sums),
or floor(log2 n) + popcount(n) - 1 by doubling.  A single tap is a shift: it costs nothing, its weight moves
elsewhere.

A pass of multiply-adds accumulates into the sum of terms for free.  A term made of additions only has to be
added to the sum, one operation, save one such term of weight one that the sum can start with.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arguments import Array


def box_operations(width: int) -> int:
    """Additions a pixel of a running box of `width` equal taps, without a drifting running sum."""
    return min(width - 1, 3, width.bit_length() + width.bit_count() - 2)


def factor_operations(factors: Array) -> tuple[Array, Array]:
    """Operations of each row of a (terms, taps) matrix, and whether the row needs multiply-adds."""
    mask = factors != 0
    count = mask.sum(axis=1)
    first = mask.argmax(axis=1)
    leading = factors[np.arange(len(factors)), first][:, None]
    equal = (factors == leading).sum(axis=1)
    uniform = equal + (factors == -leading).sum(axis=1) >= count
    last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    box = (equal == count) & (last - first + 1 == count) & (count > 0)
    operations = np.where(uniform, count - 1, count)
    for row in np.flatnonzero(box & (count > 3)):
        operations[row] = box_operations(int(count[row]))
    return operations, ~uniform


def form_operations(factors: Sequence[Array]) -> int:
    """Operations a pixel of a sum of separable terms, given one (terms, taps) matrix per axis."""
    terms = len(factors[0])
    if terms == 0:
        return 0
    per_axis = [factor_operations(f) for f in factors]
    passes = np.sum([operations for operations, _ in per_axis], axis=0)
    additive = ~np.any([multiplies for _, multiplies in per_axis], axis=0)
    accumulate = int(additive.sum())
    if terms == 1:
        # The weight of a lone additive term is the divisor of the whole; a lone shift still has to be scaled.
        accumulate = int(passes[0] == 0)
    else:
        weight = np.prod([np.abs(f).max(axis=1) for f in factors], axis=0)
        accumulate -= bool(np.any(additive & (passes > 0) & (weight == 1)))
    return int(passes.sum()) + accumulate
