"""Operations of separable forms per output element: a multiply-add or an addition counts as one.

A pass along one axis with n non-zero taps takes n multiply-adds.  If all taps have the same magnitude, the
magnitude moves to another factor (or to the end) and n - 1 additions remain.  If these taps also have the same
sign and are adjacent, the sum of a box of any width takes at most three additions (van Herk's block prefix and
suffix sums), or floor(log2 n) + popcount(n) - 1 by doubling.  A single tap is a shift: it costs nothing, and its
weight moves to another factor.

A pass of multiply-adds accumulates into the sum of terms for free.  A term of additions only must be added to
the sum, which is one operation, except for one such term of weight one with which the sum can start.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arguments import Array

_FEW = 6  # number of terms up to which plain lists are faster than arrays


def box_operations(width: int) -> int:
    """Return the additions per output element of a box of `width` equal taps, without a running sum that drifts."""
    return min(width - 1, 3, width.bit_length() + width.bit_count() - 2)


def tap_operations(taps: list[complex]) -> tuple[int, bool]:
    """Return the operations of one pass, and whether they are multiply-adds (which accumulate for free)."""
    weights = [w for w in taps if w]
    count = len(weights)
    if count <= 1:
        return 0, False
    first = weights[0]
    if any(w != first and w != -first for w in weights):
        return count, True
    start = taps.index(first)
    if weights.count(first) == count == len([w for w in taps[start : start + count] if w]):
        return box_operations(count), False
    return count - 1, False


def _add_passes(matrix: Array, passes: list[int], additive: list[bool]) -> None:
    """Add the results of `tap_operations` for all terms to `passes` and `additive`, by array operations."""
    nonzero = matrix != 0
    first = nonzero.argmax(axis=1)
    level = matrix[np.arange(len(matrix)), first][:, None]
    same = (matrix == level) & nonzero
    counts = nonzero.sum(axis=1)
    alike = (same | ((matrix == -level) & nonzero)).sum(axis=1) == counts
    spans = matrix.shape[1] - nonzero[:, ::-1].argmax(axis=1) - first
    boxes = (spans == counts) & (same.sum(axis=1) == counts)
    rows = zip(counts.tolist(), alike.tolist(), boxes.tolist(), strict=True)
    for t, (count, level_only, box) in enumerate(rows):
        if count > 1:
            additive[t] &= level_only
            passes[t] += box_operations(count) if box else count - level_only


def form_operations(factors: Sequence[Array]) -> int:
    """Return the operations per output element of a sum of terms, given one (terms, taps) matrix per axis."""
    terms = len(factors[0])
    if terms == 0:
        return 0
    passes = [0] * terms
    additive = [True] * terms
    for matrix in factors:
        if terms > _FEW:
            _add_passes(matrix, passes, additive)
            continue
        for t, taps in enumerate(matrix.tolist()):
            operations, multiplies = tap_operations(taps)
            passes[t] += operations
            additive[t] &= not multiplies
    if terms == 1:
        # The weight of a single additive term goes into the final division; a single shift must still be scaled.
        return passes[0] or 1
    sums = [t for t in range(terms) if additive[t] and passes[t]]
    first = any(np.prod([np.abs(f[t]).max() for f in factors]) == 1 for t in sums)
    return sum(passes) + sum(additive) - first
