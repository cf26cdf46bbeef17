"""Flat kernels: what the planner and the CPU must agree about, such as whether sums are 16-bit integers."""

from __future__ import annotations

from ..arguments.boundary import Boundary
from ..arguments.problem import Problem

ROWS_IN_REGISTERS = (
    4  # output rows that are computed together if sums stay in registers; even, as pairs share rows
)
BYTE_ROWS = 8  # output rows of bytes that are computed between packing steps
FIRST_LEVEL_BYTES = 32 << 10  # size of the first-level cache, which the row buffers fit
MOST_BYTES = 65535 // 255  # number of bytes whose sum fits 16 bits

VECTORS = {0: (6, 4), 1: (6, 4), 2: (6, 4), 3: (6, 4), 4: (5, 4)}
"""Vectors of results per block, by the number of vectors by which sums in registers are wider: the results and sums of
two output rows leave two registers free.  The smaller block may waste less of a narrow array."""


def sums_bytes(problem: Problem) -> bool:
    """Return whether the samples, and the constant beyond the edges, are unsigned bytes, and results float32."""
    if problem.input_dtype.kind not in "bu" or problem.input_dtype.itemsize > 1:
        return False
    outside = any(window.boundary == Boundary.CONSTANT for window in problem.windows)
    cval = problem.cval
    fits = not outside or (cval.imag == 0 and 0 <= cval.real <= 255 and cval.real == int(cval.real))
    return fits and problem.real_dtype.itemsize == 4


def has_few_ends(end_operations: int, paired_operations: int) -> bool:
    """Return whether bytes are summed by differences of output rows even if other sums would stay in registers.

    Then columns have few ends, as those of narrow rotated ellipses, whose rows have little in common.
    """
    return 0 < 2 * end_operations < paired_operations
