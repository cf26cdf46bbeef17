"""Elementwise sums of squares and their square roots; the largest magnitude of an array."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from ..jit import inlined, parallel, serial

CHUNK = 1 << 14  # elements per task


@inlined
def add_square_of(total, part, add, whole, root):
    """Set ``total = add * total + part ** 2`` or, if `root`, its square root; `whole` truncates `part` first."""
    for i in range(part.size):
        value = part[i]
        if whole:
            value = np.trunc(value)
        value = value * value
        if add:
            value += total[i]
        total[i] = math.sqrt(value) if root else value


@serial
def add_square_serial(total, part, add, whole, root):
    """Call `add_square_of` on the calling thread."""
    add_square_of(total, part, add, whole, root)


@parallel
def add_square_parallel(total, part, add, whole, root):
    """Call `add_square_of` on Numba's threads."""
    for task in prange((part.size + CHUNK - 1) // CHUNK):
        first = task * CHUNK  # LLVM vectorizes slices, whose indices it knows are not negative
        add_square_of(total[first : first + CHUNK], part[first : first + CHUNK], add, whole, root)


@inlined
def largest_of(bits, mask):
    """Return the largest bit pattern of floats without their signs; these compare like integers."""
    largest = bits[0] & mask
    for i in range(1, bits.size):
        value = bits[i] & mask
        largest = value if value > largest else largest
    return largest


@serial
def largest_serial(bits, mask, found):
    """Write the largest bit pattern of each chunk of CHUNK elements to `found`."""
    for task in range(found.size):
        first = task * CHUNK
        found[task] = largest_of(bits[first : first + CHUNK], mask)


@parallel
def largest_parallel(bits, mask, found):
    """Call `largest_of` on chunks as `largest_serial`, on Numba's threads."""
    for task in prange(found.size):
        first = task * CHUNK
        found[task] = largest_of(bits[first : first + CHUNK], mask)
