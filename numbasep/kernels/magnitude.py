"""Sums of squares and their root, element by element."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from .jit import inlined, parallel, serial

CHUNK = 1 << 14  # elements of a task


@inlined
def add_square_span(total, part, first, last, add, whole, root):
    """``total = sqrt?(add * total + part ** 2)`` for elements [first, last); `whole` truncates the part."""
    for i in range(first, last):
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
    add_square_span(total, part, 0, part.size, add, whole, root)


@parallel
def add_square_parallel(total, part, add, whole, root):
    """On Numba's threads."""
    for task in prange((part.size + CHUNK - 1) // CHUNK):
        add_square_span(total, part, task * CHUNK, min((task + 1) * CHUNK, part.size), add, whole, root)
