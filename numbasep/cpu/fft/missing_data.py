"""FFT filters of data with NaN or infinities: replace these by zeros first, mark the outputs they affect afterwards.

By direct summation, these outputs are NaN or infinite (`marks`).  So no sum needs to be recomputed.  Along contiguous
rows, only what a few samples reach is looked at (`row_gaps`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...arguments.problem import Problem
from ...planning.operators import Operator
from .. import threads
from . import overlap_save, row_gaps
from .marks import Marks
from .thread_pool import ThreadTeam

Array = NDArray[Any]

PIECE_BYTES = 1 << 18  # part of the array that a thread copies at a time
SHARED_BYTES = 16 << 20  # of arrays that are copied faster than Python starts threads


def correlate(
    operator: Operator, problem: Problem, x: Array, out: Array, workers: int, largest_sample: float
) -> bool:
    """Filter real `x` into `out` as `overlap_save.correlate`, with the NaN and infinities of direct summation.

    Return False, without writing, if the magnitude of a finite sample exceeds `largest_sample`.
    """
    if row_gaps.is_simple(problem, x, out) and row_gaps.correlate(
        operator, problem, x, out, workers, largest_sample
    ):
        return True
    bytes_ = x.size * problem.real_dtype.itemsize
    with threads.borrow(bytes_) as buffer:
        axes = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
        filled = buffer[:bytes_].view(problem.real_dtype).reshape([x.shape[axis] for axis in axes])
        filled = filled.transpose(np.argsort(axes))  # in the memory order of x
        nonfinite = np.empty_like(filled, bool)
        if _filled(x, filled, nonfinite, axes[0], workers) > largest_sample:
            return False
        marks = Marks(operator, problem, workers).of(x, nonfinite)
        if not (marks.nan.size == problem.pixels and marks.nan.all()):
            overlap_save.correlate(filled, operator.weights, problem, out, workers)
    region = (out.real if out.dtype.kind == "c" else out)[marks.box]
    if out.dtype.kind == "c":
        out[marks.box].imag = 0
    marks.write(region)
    return True


def _filled(x: Array, filled: Array, nonfinite: Array, slowest: int, workers: int) -> float:
    """Copy `x` with zeros for samples that are not finite, mark these in `nonfinite`; return the largest magnitude."""
    rows = x.shape[slowest]
    step = max(1, PIECE_BYTES * rows // max(filled.nbytes, 1))
    found = []

    def copy(start: int) -> None:
        piece = (slice(None),) * slowest + (slice(start, start + step),)
        np.copyto(filled[piece], x[piece], casting="unsafe")
        np.isfinite(filled[piece], out=nonfinite[piece])
        np.logical_not(nonfinite[piece], out=nonfinite[piece])
        np.copyto(filled[piece], 0, where=nonfinite[piece])
        found.append(max(float(filled[piece].max()), -float(filled[piece].min())))

    with np.errstate(all="ignore"), ThreadTeam(workers if filled.nbytes > SHARED_BYTES else 1) as team:
        team.share(copy, range(0, rows, step))
    return max(found)
