"""Which axes are filtered as short rows (`kernels.short_rows`): one rule for the planner and the backends.

An axis of few samples, with few adjacent numbers inside, is worse than no axis to kernels that fill vectors along rows.
A run of such rows is filtered as one long vector whose weights repeat.  Plain integers only.
"""

from __future__ import annotations

TABLE_BYTES = 20 << 10  # of the weights: they stay in a first-level cache
LONGEST_ROW = 64  # numbers of a short row; longer ones fill vectors as they are
LEAST_NUMBERS = 2048  # of a run of rows; in fewer, ends are most of it
BLOCK_BYTES = 256  # of a block of vectors, at most
PEELED_BYTES = 128  # of a row up to which its axis is filtered on its own, behind the others


def slot_count(size: int, taps: int, *, wraps: bool) -> int:
    """Diagonals of the matrix that `taps` taps and a boundary make of an axis of `size` samples, about.

    Examples
    --------
    >>> slot_count(100, 9, wraps=False), slot_count(100, 9, wraps=True), slot_count(3, 9, wraps=False)
    (9, 17, 5)
    """
    return max(1, min(2 * taps - 1 if wraps else taps, 2 * size - 1))


def are_short(size: int, inner: int, slots: int, item: int, run: int) -> bool:
    """Whether an axis is filtered as short rows.

    Parameters
    ----------
    size : int
        Samples of the axis; as many of output.
    inner : int
        Adjacent numbers of each.
    slots : int
        `slot_count`, times the intermediates that are read.
    item : int
        Bytes of a number as sums are taken.
    run : int
        Numbers of rows that lie one behind the other.

    Examples
    --------
    >>> are_short(3, 1, 5, 4, 1 << 20), are_short(100, 1, 9, 4, 1 << 20)
    (True, False)
    """
    fits = size * inner <= LONGEST_ROW and run >= LEAST_NUMBERS
    return fits and (slots + 1) * (size * inner * item + BLOCK_BYTES) <= TABLE_BYTES


def is_peeled(size: int, inner: int, item: int) -> bool:
    """Whether a short last axis is filtered on its own, behind the others."""
    return size * inner * item <= PEELED_BYTES
