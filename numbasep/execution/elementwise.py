"""Elementwise arithmetic on whole arrays, in place and on several threads."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..arguments.arrays import make_output
from ..arguments.casting import store
from ..arguments.placeholders import held
from ..cpu import threads
from ..cpu.intrinsics.vectors import VECTOR_BYTES
from ..cpu.kernels import magnitude, missing_samples
from ..system.types import Array

PARALLEL_ELEMENTS = 1 << 17  # with fewer elements, threads cost more time than they save


def add(total: Array, part: Array) -> Array:
    """Return ``total + part`` in the memory of `total`; both have the same shape and dtype."""
    if (handle := held(total)) is not None:
        from ..cuda import elementwise

        return elementwise.add(handle, total, part)
    return np.add(total, part, out=total)


def add_square(total: Array | None, part: Array, *, whole: bool, root: bool, workers: int | None) -> Array:
    """Return ``total + part ** 2`` or its root, in the memory of `total`, or of `part` if `total` is None.

    Parameters
    ----------
    total : ndarray or None
        Sum so far, with the shape and dtype of `part`; None for zero.
    part : ndarray
        Array of float32, float64, complex64 or complex128; overwritten if `total` is None.
    whole : bool
        Whether to truncate `part` to integers first.
    root : bool
        Whether to take the square root of the sum.
    workers : int or None
        Threads.
    """
    if (handle := held(part)) is not None:
        from ..cuda import elementwise

        return elementwise.add_square(total, part, handle, whole=whole, root=root)
    target = part if total is None else total
    if part.dtype.kind == "c" or not _same_order(target, part):
        return _add_square_numpy(total, np.trunc(part) if whole else part, target, root=root)
    flat_target, flat_part = target.ravel(order="K"), part.ravel(order="K")
    count = threads.thread_count(workers) if part.size >= PARALLEL_ELEMENTS else 1
    if count == 1:
        magnitude.add_square_serial(flat_target, flat_part, total is not None, whole, root)
    else:
        with threads.parallel_region(count):
            magnitude.add_square_parallel(flat_target, flat_part, total is not None, whole, root)
    return target


def _same_order(a: Array, b: Array) -> bool:
    """Return whether both arrays have the same strides and no gaps, so that flat loops match their elements."""
    return a.strides == b.strides and np.shares_memory(a, a.ravel(order="K"))


def _add_square_numpy(total: Array | None, part: Array, target: Array, *, root: bool) -> Array:
    square = part * part
    np.copyto(target, square if total is None else total + square)
    return np.sqrt(target, out=target) if root else target


def split_missing(
    x: Array, mask: Array | None, number: np.dtype[Any], *, omit: bool, workers: int | None
) -> tuple[Array, Array, int]:
    """Return the valid samples, ones on these, both with 0 for missing samples, and the number of missing samples.

    Parameters
    ----------
    x : ndarray
        Real or complex input.
    mask : ndarray of bool or None
        Mask with True on missing samples.
    number : numpy.dtype
        Dtype of the valid samples: float32, float64, complex64 or complex128.  The ones have its real dtype.
    omit : bool
        Whether NaN samples are missing, too.
    workers : int or None
        Threads.
    """
    if (handle := held(x)) is not None:
        from ..cuda import elementwise

        return elementwise.split_missing(handle, x, mask, number, omit=omit)
    real = np.dtype(np.float32 if number.char in "fF" else np.float64)
    if x.dtype.kind == "c":
        missing = np.isnan(x) & omit if mask is None else (np.isnan(x) & omit) | mask
        return np.where(missing, 0, x).astype(number), (~missing).astype(real), int(missing.sum())
    turned = x.flags.f_contiguous and not x.flags.c_contiguous
    source = np.ascontiguousarray(x.T if turned else x, x.dtype.newbyteorder("="))
    if source.dtype.char not in "fd":
        source = source.astype(number)
    marks = np.zeros(0, np.bool_)
    if mask is not None:
        marks = np.ascontiguousarray(mask.T if turned else mask).reshape(-1)
    filled, present = np.empty(source.shape, number), np.empty(source.shape, real)
    arguments = (source.reshape(-1), marks, omit, filled.reshape(-1), present.reshape(-1))
    count = threads.thread_count(workers) if source.size >= PARALLEL_ELEMENTS else 1
    if count == 1:
        missing = missing_samples.split_serial(*arguments)
    else:
        with threads.parallel_region(count):
            missing = missing_samples.split_parallel(*arguments)
    return (filled.T, present.T, int(missing)) if turned else (filled, present, int(missing))


@contextlib.contextmanager
def missing_marked(
    x: Array, mask: Array, number: np.dtype[Any], *, omit: bool, workers: int | None
) -> Iterator[Array | None]:
    """Yield the samples as `number` (float32 or float64) in scratch memory, with NaN where `mask` is True.

    Yield None if another sample is NaN and `omit` is False, as NaN then does not identify the masked samples.
    """
    turned = x.flags.f_contiguous and not x.flags.c_contiguous
    source = np.ascontiguousarray(x.T if turned else x, number)
    marks = np.ascontiguousarray(mask.T if turned else mask).reshape(-1).view(np.uint8)
    count = threads.thread_count(workers) if source.size >= PARALLEL_ELEMENTS else 1
    tasks = -(-source.size // missing_samples.CHUNK) if count > 1 else 1
    unmarked = np.zeros(tasks * VECTOR_BYTES // number.itemsize, number)
    with threads.borrow(source.size * number.itemsize) as buffer:
        marked = buffer[: source.size * number.itemsize].view(number)
        arguments = (source.reshape(-1), marks, marked, unmarked)
        if count == 1:
            missing_samples.mark_serial(*arguments)
        else:
            with threads.parallel_region(count):
                missing_samples.mark_parallel(*arguments)
        shaped = marked.reshape(source.shape)
        yield None if unmarked.any() and not omit else shaped.T if turned else shaped


def normalise(total: Array, share: Array, weight: complex, least: float, *, workers: int | None) -> Array:
    """Return ``total / (share / weight)`` in the memory of `total`; NaN where ``share / weight`` is at most `least`."""
    if (handle := held(total)) is not None:
        from ..cuda import elementwise

        return elementwise.normalise(handle, total, share, weight.real, least)
    if total.dtype != share.dtype or total.dtype.kind == "c" or not _same_order(total, share):
        with np.errstate(divide="ignore", invalid="ignore"):
            part = share / (weight if share.dtype.kind == "c" else weight.real)
            np.copyto(total, np.where(np.abs(part) > least, total / part, np.nan), casting="same_kind")
        return total
    number = total.dtype.type
    arguments = (total.ravel(order="K"), share.ravel(order="K"), number(weight.real), number(least))
    count = threads.thread_count(workers) if total.size >= PARALLEL_ELEMENTS else 1
    if count == 1:
        missing_samples.normalise_serial(*arguments)
    else:
        with threads.parallel_region(count):
            missing_samples.normalise_parallel(*arguments)
    return total


def stored(values: Array, output: Any, dtype: np.dtype[Any], like: Array, cast: str) -> Array:
    """Return values as `dtype`, in `output` if it is an array, else in a new array in the memory order of `like`."""
    if (handle := held(values)) is not None:
        from ..cuda import elementwise

        return elementwise.stored(handle, values, output, dtype, cast)
    out = make_output(output, dtype, values.shape, like)
    if values.dtype == dtype:
        out[...] = values
    else:
        store(values, out, cast)
    return out


def nan_count(x: Array) -> int:
    """Return the number of NaN samples; on a GPU, 1 if there are any."""
    if (handle := held(x)) is not None:
        from ..cuda import elementwise

        return int(elementwise.has_nan(handle, x))
    return int(np.isnan(x).sum()) if x.size and np.isnan(x.min()) else 0
