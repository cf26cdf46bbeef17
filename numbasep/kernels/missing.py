"""Taking missing samples out of an array, and dividing by the weight of the others, element by element."""

from __future__ import annotations

import numpy as np
from numba import prange

from .jit import inlined, parallel, serial

CHUNK = 1 << 15  # elements of a task


@inlined
def split_span(x, mask, omit, first, last, filled, present):
    """Valid samples, and 1 where there is one, else 0; how many are missing.  An empty `mask` is none."""
    missing = 0
    for i in range(first, last):
        value = x[i]
        out = omit and value != value
        if mask.size:
            out = out or mask[i]
        filled[i] = 0 if out else value
        present[i] = 0 if out else 1
        missing += out
    return missing


@serial
def split_serial(x, mask, omit, filled, present):
    """On the calling thread."""
    return split_span(x, mask, omit, 0, x.size, filled, present)


@parallel
def split_parallel(x, mask, omit, filled, present):
    """On Numba's threads."""
    missing = 0
    for task in prange((x.size + CHUNK - 1) // CHUNK):
        stop = min((task + 1) * CHUNK, x.size)
        missing += split_span(x, mask, omit, task * CHUNK, stop, filled, present)
    return missing


@inlined
def normalise_span(total, share, weight, least, first, last):
    """``total / (share / weight)``; NaN where no more than `least` of the weight falls on valid samples."""
    for i in range(first, last):
        part = share[i] / weight
        total[i] = total[i] / part if abs(part) > least else np.nan


@serial
def normalise_serial(total, share, weight, least):
    """On the calling thread."""
    normalise_span(total, share, weight, least, 0, total.size)


@parallel
def normalise_parallel(total, share, weight, least):
    """On Numba's threads."""
    for task in prange((total.size + CHUNK - 1) // CHUNK):
        normalise_span(total, share, weight, least, task * CHUNK, min((task + 1) * CHUNK, total.size))
