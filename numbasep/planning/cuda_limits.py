"""Which filters one pass over a plane can take on a GPU: shared by the planner, which must not load Numba."""

from __future__ import annotations

TAP_CLASSES = tuple(range(3, 34, 2))
"""Numbers of taps that are compiled when they are needed; others take the next one, with the tap that is too many
masked out, which more than doubles the instructions."""
MOST_TERMS = 3
"""Separable terms of one pass."""
MOST_STEP = 4
"""Interleaved channels of one pass."""


def tap_class(taps: int) -> int | None:
    """The compiled number of taps that serves `taps`, or None if that is too many.

    Examples
    --------
    >>> tap_class(4), tap_class(9), tap_class(65)
    (5, 9, None)
    """
    return next((n for n in TAP_CLASSES if n >= taps), None)
