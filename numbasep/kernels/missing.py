"""Taking missing samples out of an array, and dividing by the weight of the others, element by element."""

from __future__ import annotations

import numpy as np
from numba import prange

from .jit import inlined, parallel, serial

CHUNK = 1 << 15  # elements of a task


@inlined
def split_of(x, mask, omit, filled, present):
    """Valid samples, and 1 where there is one, else 0; how many are missing.  An empty `mask` is none."""
    missing = 0
    for i in range(x.size):
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
    return split_of(x, mask, omit, filled, present)


@parallel
def split_parallel(x, mask, omit, filled, present):
    """On Numba's threads."""
    missing = 0
    for task in prange((x.size + CHUNK - 1) // CHUNK):
        start, stop = task * CHUNK, (task + 1) * CHUNK  # of slices, LLVM knows that no index is negative
        missing += split_of(x[start:stop], mask[start:stop], omit, filled[start:stop], present[start:stop])
    return missing


@inlined
def normalise_of(total, share, weight, least):
    """``total / (share / weight)``; NaN where no more than `least` of the weight falls on valid samples."""
    for i in range(total.size):
        part = share[i] / weight
        total[i] = total[i] / part if abs(part) > least else np.nan


@serial
def normalise_serial(total, share, weight, least):
    """On the calling thread."""
    normalise_of(total, share, weight, least)


@parallel
def normalise_parallel(total, share, weight, least):
    """On Numba's threads."""
    for task in prange((total.size + CHUNK - 1) // CHUNK):
        start, stop = task * CHUNK, (task + 1) * CHUNK
        normalise_of(total[start:stop], share[start:stop], weight, least)
