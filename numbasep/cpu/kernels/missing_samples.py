"""Elementwise replacement of missing samples, and division by the sum of the remaining weights."""

from __future__ import annotations

import numpy as np
from numba import prange

from ..intrinsics.memory import Storage, load_as
from ..intrinsics.vectors import VECTOR_BYTES, add, load, store
from ..jit import inlined, parallel, serial
from .nan_aware import is_unmarked_nan, nan_where

CHUNK = 1 << 15  # elements per task
BYTES = Storage("u1")


@inlined
def split_of(x, mask, omit, filled, present):
    """Set `filled` to the valid samples and `present` to 1, or both to 0; return the number of missing samples.

    Samples are missing where `mask` is set, unless it is empty, and where they are NaN if `omit`.
    """
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
    """Call `split_of` on the calling thread."""
    return split_of(x, mask, omit, filled, present)


@parallel
def split_parallel(x, mask, omit, filled, present):
    """Call `split_of` on Numba's threads."""
    missing = 0
    for task in prange((x.size + CHUNK - 1) // CHUNK):
        start, stop = task * CHUNK, (task + 1) * CHUNK  # LLVM knows that indices of slices are not negative
        missing += split_of(x[start:stop], mask[start:stop], omit, filled[start:stop], present[start:stop])
    return missing


@inlined
def mark_span(x, mask, first, last, marked, unmarked, found):
    """Copy samples, with NaN where `mask` is not zero; the vector at `unmarked[found]` counts other NaN."""
    lanes = VECTOR_BYTES // x.itemsize
    whole = first + (last - first) // lanes * lanes
    count = load(unmarked, found)
    for i in range(first, whole, lanes):
        row, flags = load(x, i), load_as(mask, i, BYTES, x[0])
        store(marked, i, nan_where(row, flags))
        count = add(count, is_unmarked_nan(row, flags))
    store(unmarked, found, count)
    for i in range(whole, last):
        marked[i] = np.nan if mask[i] else x[i]
        unmarked[found] += x[i] != x[i] and not mask[i]


@serial
def mark_serial(x, mask, marked, unmarked):
    """Call `mark_span` on the calling thread."""
    mark_span(x, mask, 0, x.size, marked, unmarked, 0)


@parallel
def mark_parallel(x, mask, marked, unmarked):
    """Call `mark_span` on Numba's threads; `unmarked` has a vector for each task of CHUNK elements."""
    for task in prange((x.size + CHUNK - 1) // CHUNK):
        lanes = VECTOR_BYTES // x.itemsize
        mark_span(x, mask, task * CHUNK, min((task + 1) * CHUNK, x.size), marked, unmarked, task * lanes)


@inlined
def normalise_of(total, share, weight, least):
    """Set ``total`` to ``total / (share / weight)``, or NaN where the valid share is at most `least`."""
    for i in range(total.size):
        part = share[i] / weight
        total[i] = total[i] / part if abs(part) > least else np.nan


@serial
def normalise_serial(total, share, weight, least):
    """Call `normalise_of` on the calling thread."""
    normalise_of(total, share, weight, least)


@parallel
def normalise_parallel(total, share, weight, least):
    """Call `normalise_of` on Numba's threads."""
    for task in prange((total.size + CHUNK - 1) // CHUNK):
        start, stop = task * CHUNK, (task + 1) * CHUNK
        normalise_of(total[start:stop], share[start:stop], weight, least)
