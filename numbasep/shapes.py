"""How axes of unusual length are filtered: rules that the planner and the backends share.

An axis of few samples, with few adjacent numbers inside, is worse than no axis to kernels that fill vectors along rows.
A run of such rows is filtered as one long vector whose weights repeat (`kernels.short_rows`).  Few long rows are cut
into many (`backends.long_rows`).  Plain integers only.
"""

from __future__ import annotations

TABLE_BYTES = 20 << 10  # of the weights: they stay in a first-level cache
LONGEST_ROW = 160  # numbers of a short row; longer ones fill vectors as they are
LEAST_NUMBERS = 2048  # of a run of rows; in fewer, ends are most of it
BLOCK_BYTES = 256  # of a block of vectors, at most
LONG_INNER = 64  # adjacent unfiltered numbers that go with the samples of a row; more are rows themselves
FULL_ROWS = 8  # rows that blocks of vertical sums are made of
LEAST_CUT = 1 << 17  # products along a row from which it is cut
CUT_NUMBERS = 4096  # of the rows that it is cut into
CUT_ROWS = 16  # as many of these at least
LINE_NUMBERS = 16  # of a cache line


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
    >>> are_short(3, 1, 5, 4, 1 << 20), are_short(300, 1, 9, 4, 1 << 20)
    (True, False)
    """
    fits = size * inner <= LONGEST_ROW and run >= LEAST_NUMBERS
    return fits and (slots + 1) * (size * inner * item + BLOCK_BYTES) <= TABLE_BYTES


def cut_rows(samples: int, inner: int, taps: int, others: int) -> tuple[int, int]:
    """How many rows long ones are cut into, and how many samples each of these has; (0, 0) if they are not.

    Rows that lie an odd number of cache lines apart do not meet in one set of a cache.

    Parameters
    ----------
    samples : int
        Samples of a row whose windows lie in it.
    inner : int
        Adjacent numbers of each.
    taps : int
        Samples of a window.
    others : int
        Rows that there are.

    Examples
    --------
    >>> cut_rows(1_000_000, 1, 9, 1)
    (243, 4112)
    >>> cut_rows(1_000_000, 1, 9, 100)
    (0, 0)
    """
    if others >= FULL_ROWS or inner > LONG_INNER or samples * inner * taps < LEAST_CUT:
        return 0, 0
    length = max(min(CUT_NUMBERS // inner, samples // CUT_ROWS), 4 * taps)
    length = length // LINE_NUMBERS // 2 * 2 * LINE_NUMBERS + LINE_NUMBERS
    count = samples // length
    return (count, length) if count >= FULL_ROWS else (0, 0)


def are_in_turn(inner: int) -> bool:
    """Whether the last two filtered axes are filtered one after the other, as so many adjacent numbers lie inside."""
    return inner > LONG_INNER
