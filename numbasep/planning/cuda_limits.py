"""Which filters one pass over a plane can take on a GPU: shared by the planner, which must not load Numba."""

TAP_CLASSES = tuple(range(3, 34, 2))
"""Numbers of taps for which kernels are compiled, on first use.  Other numbers use the next larger kernel with the
extra tap masked out, which more than doubles the instructions."""
MOST_TERMS = 3
"""Largest number of separable terms in one pass."""
MOST_STEP = 4
"""Largest number of interleaved channels in one pass."""


def tap_class(taps: int) -> int | None:
    """Return the smallest compiled number of taps that is at least `taps`, or None if there is none.

    Examples
    --------
    >>> tap_class(4), tap_class(9), tap_class(65)
    (5, 9, None)
    """
    return next((n for n in TAP_CLASSES if n >= taps), None)
