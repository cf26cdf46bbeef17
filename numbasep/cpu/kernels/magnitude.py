"""Sums of squares and their square root, element by element; the largest magnitude."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from ..jit import inlined, parallel, serial

CHUNK = 1 << 14  # elements of a task


@inlined
def add_square_of(total, part, add, whole, root):
    """``total = sqrt?(add * total + part ** 2)``, element by element; `whole` truncates the part."""
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
    """On the calling thread."""
    add_square_of(total, part, add, whole, root)


@parallel
def add_square_parallel(total, part, add, whole, root):
    """On Numba's threads."""
    for task in prange((part.size + CHUNK - 1) // CHUNK):
        first = task * CHUNK  # of a slice, LLVM knows that no index is negative: only then it makes vectors
        add_square_of(total[first : first + CHUNK], part[first : first + CHUNK], add, whole, root)


@inlined
def largest_of(bits, mask):
    """Largest of floating numbers without their signs, by their bits: they order as integers do."""
    largest = bits[0] & mask
    for i in range(1, bits.size):
        value = bits[i] & mask
        largest = value if value > largest else largest
    return largest


@serial
def largest_serial(bits, mask):
    """On the calling thread; `bits` is not empty."""
    return largest_of(bits, mask)


@parallel
def largest_parallel(bits, mask, found):
    """On Numba's threads: the largest of each chunk of CHUNK elements."""
    for task in prange(found.size):
        first = task * CHUNK
        found[task] = largest_of(bits[first : first + CHUNK], mask)
