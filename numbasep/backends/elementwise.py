"""Element by element arithmetic on whole arrays, in place and on all threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..kernels import magnitude
from . import threads

Array = npt.NDArray[Any]

PARALLEL_ELEMENTS = 1 << 17  # below this a thread costs more than it brings


def add_square(total: Array | None, part: Array, *, whole: bool, root: bool, workers: int | None) -> Array:
    """``total + part ** 2``, or its root, in the memory of `total`, or of `part` if that is None.

    Parameters
    ----------
    total : ndarray or None
        Sum so far; None for zero.  Same shape, type and memory order as `part`.
    part : ndarray
        float32, float64, complex64 or complex128; overwritten if `total` is None.
    whole : bool
        Truncate the part to integers first.
    root : bool
        Take the square root of the sum.
    workers : int or None
        Threads.
    """
    target = part if total is None else total
    if part.dtype.kind == "c" or not _same_order(target, part):
        return _add_square_numpy(total, part, target, root=root)
    flat_target, flat_part = target.ravel(order="K"), part.ravel(order="K")
    count = threads.thread_count(workers) if part.size >= PARALLEL_ELEMENTS else 1
    if count == 1:
        magnitude.add_square_serial(flat_target, flat_part, total is not None, whole, root)
    else:
        with threads.parallel_region(count):
            magnitude.add_square_parallel(flat_target, flat_part, total is not None, whole, root)
    return target


def _same_order(a: Array, b: Array) -> bool:
    """Whether both are dense and laid out alike, so that their memory can be walked in parallel."""
    return a.strides == b.strides and np.shares_memory(a, a.ravel(order="K"))


def _add_square_numpy(total: Array | None, part: Array, target: Array, *, root: bool) -> Array:
    square = part * part
    np.copyto(target, square if total is None else total + square)
    return np.sqrt(target, out=target) if root else target
