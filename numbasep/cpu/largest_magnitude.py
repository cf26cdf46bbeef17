"""The largest magnitude in an array, which shows whether all samples are finite."""

from __future__ import annotations

import functools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import threads
from .kernels import magnitude

CHUNK_BYTES = 1 << 18  # chunks are read twice, the second time from the second-level cache
PARALLEL_BYTES = 1 << 21


def largest_magnitude(x: NDArray[Any], workers: int = 1, *, ignore_nan: bool = False) -> float:
    """Return the largest |x| of an array; NaN if it has a NaN that is not ignored, 0 if it is empty.

    Parameters
    ----------
    x : ndarray
        Real or complex array of any layout; for complex numbers, the larger of the two parts counts.
    workers : int
        Maximum number of threads.
    ignore_nan : bool
        Whether to ignore NaN.

    Returns
    -------
    float

    Examples
    --------
    >>> largest_magnitude(np.array([[1.0, -3.0], [2.0, 0.5]]))
    3.0
    >>> largest_magnitude(np.array([1.0, np.nan]))
    nan
    """
    if not x.size:
        return 0.0
    dense = x.dtype.char in "fdFD" and x.dtype.isnative and (x.flags.c_contiguous or x.flags.f_contiguous)
    if dense and x.flags.aligned and not ignore_nan:
        return _largest_of_dense(x, workers)
    if x.dtype.kind == "c":
        parts = [largest_magnitude(part, workers, ignore_nan=ignore_nan) for part in (x.real, x.imag)]
        return max(parts) if not any(map(math.isnan, parts)) else math.nan
    chunks = _chunks(x)
    with np.errstate(invalid="ignore"):
        if workers == 1 or x.nbytes < PARALLEL_BYTES:
            return _largest(chunks, ignore_nan=ignore_nan)
        share = functools.partial(_largest, ignore_nan=ignore_nan)
        shares = [chunks[i::workers] for i in range(workers)]
        try:
            threads.check_memory(0, workers)
            with ThreadPoolExecutor(workers) as pool:
                found = list(pool.map(share, shares))
        except (RuntimeError, MemoryError):  # no threads can be started
            found = list(map(share, shares))
    return math.nan if any(map(math.isnan, found)) else max(found)


def _largest_of_dense(x: NDArray[Any], workers: int) -> float:
    """Return the largest magnitude of contiguous native floats or complex numbers by comparing bit patterns."""
    return float(_largest_of_chunks(x, workers).max())


def _largest_of_chunks(x: NDArray[Any], workers: int) -> NDArray[Any]:
    """Return the largest magnitude of each chunk of `magnitude.CHUNK` contiguous native numbers, or NaN."""
    single = x.dtype.char in "fF"
    number, integer = (np.float32, np.uint32) if single else (np.float64, np.uint64)
    bits = x.ravel(order="K").view(integer)
    mask = integer(0x7FFFFFFF if single else 0x7FFFFFFFFFFFFFFF)
    parts = np.empty(-(-bits.size // magnitude.CHUNK), integer)  # the bit patterns of NaN are the largest
    if workers == 1 or bits.nbytes < PARALLEL_BYTES:
        magnitude.largest_serial(bits, mask, parts)
    else:
        with threads.parallel_region(workers):
            magnitude.largest_parallel(bits, mask, parts)
    return parts.view(number)


def split_finite(x: NDArray[Any], workers: int = 1) -> tuple[float, NDArray[Any]]:
    """Return the largest magnitude of the finite samples of a contiguous array, and the flat indices of the others.

    Examples
    --------
    >>> split_finite(np.array([1.0, np.nan, -3.0, np.inf]))
    (3.0, array([1, 3]))
    """
    parts, flat = _largest_of_chunks(x, workers), x.reshape(-1)
    clean = np.isfinite(parts)
    largest, found = float(parts[clean].max(initial=0)), [np.empty(0, np.int64)]
    for chunk in np.flatnonzero(~clean).tolist():
        first = chunk * magnitude.CHUNK
        piece = np.abs(flat[first : first + magnitude.CHUNK])
        bad = np.flatnonzero(~np.isfinite(piece))
        piece[bad] = 0
        found.append(first + bad)
        largest = max(largest, float(piece.max()))
    return largest, np.concatenate(found)


def _chunks(x: NDArray[Any]) -> list[NDArray[Any]]:
    """Split an array along the axis of the largest stride into pieces of about CHUNK_BYTES."""
    if x.nbytes <= CHUNK_BYTES:
        return [x]
    slowest = max(range(x.ndim), key=lambda axis: abs(x.strides[axis]) if x.shape[axis] > 1 else -1)
    lines = np.moveaxis(x, slowest, 0)
    step = max(1, CHUNK_BYTES * len(lines) // x.nbytes)
    pieces = [lines[i : i + step] for i in range(0, len(lines), step)]
    if step > 1 or x.ndim == 1:
        return pieces
    return [chunk for piece in pieces for chunk in _chunks(piece[0])]


def _largest(chunks: list[NDArray[Any]], *, ignore_nan: bool) -> float:
    largest = 0.0
    for piece in chunks:
        chunk = piece.astype(piece.dtype.newbyteorder("="), copy=False)  # NumPy is slow for other byte orders
        if ignore_nan:  # fmax and fmin ignore NaN
            found = max(float(np.fmax.reduce(chunk, axis=None)), -float(np.fmin.reduce(chunk, axis=None)))
            largest = largest if math.isnan(found) else max(largest, found)
            continue
        found = max(float(chunk.max()), -float(chunk.min()))
        if math.isnan(found):
            return found
        largest = max(largest, found)
    return largest
