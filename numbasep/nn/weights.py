"""Depthwise filters in the layout of the kernels, and their separation into columns and rows."""

import math
from typing import Any

import numpy as np

from ..system.types import Array

CACHE_LINE = 64  # bytes
LOSSLESS = 16.0  # error, in epsilons of the dtype, up to which a factorization is within rounding


def padded_channels(channels: int, lanes: int) -> int:
    """Round the number of channels up to whole vectors."""
    return -(-channels // lanes) * lanes


def write_tap_major(taps: Array, lanes: int, flat: Array) -> None:
    """Write (taps, C, M) into `flat` as [M][taps][C rounded up to vectors], of the dtype of `flat`."""
    count, channels, multiplier = taps.shape
    padded = flat.reshape(multiplier, count, padded_channels(channels, lanes))
    padded[:, :, :channels] = taps[None, :, :, 0] if multiplier == 1 else np.moveaxis(taps, 2, 0)
    if padded.shape[2] > channels:
        padded[:, :, channels:] = 0


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Allocate an array aligned to a cache line, so that no vector straddles two lines."""
    count = math.prod(shape)
    raw = np.empty(count + CACHE_LINE // dtype.itemsize, dtype)
    skip = -raw.ctypes.data % CACHE_LINE // dtype.itemsize
    return raw[skip : skip + count].reshape(shape)


def spatial_factors(filters: Array) -> tuple[Array, float] | None:
    """Return the columns and rows of all depthwise filters, (kh + kw, C, M), and the largest error, or None.

    The cross through the largest tap of a filter, ``K[:, q] K[p, :] / K[p, q]``, equals the filter if its rank is
    1.  The error is ``||K - K_1||_1 / ||K||_1``, a relative bound for the output.  None means that a filter has a
    higher rank.
    """
    kh, kw, channels, multiplier = filters.shape
    flat = filters.reshape(kh, kw, -1).astype(np.float64)
    if _cross(flat[:, :, :1], LOSSLESS * np.finfo(filters.dtype).eps) is None:
        return None  # the first filter decides most cases
    found = _cross(flat, LOSSLESS * np.finfo(filters.dtype).eps)
    if found is None:
        return None
    columns, rows, error = found
    stacked = np.concatenate([columns, rows]).reshape(kh + kw, channels, multiplier)
    return stacked, error


def _cross(flat: Array, tolerance: float) -> tuple[Array, Array, float] | None:
    kh, kw, n = flat.shape
    which = np.arange(n)
    if not np.isfinite(flat).all():
        return None
    p, q = np.divmod(np.abs(flat).reshape(kh * kw, n).argmax(axis=0), kw)
    pivot = flat[p, q, which]
    columns = flat[:, q, which]
    rows = flat[p, :, which].T / np.where(pivot == 0, 1, pivot)
    residual = np.abs(flat - columns[:, None] * rows[None]).sum(axis=(0, 1))
    total = np.abs(flat).sum(axis=(0, 1))
    error = float((residual / np.where(total == 0, 1, total)).max(initial=0.0))
    return (columns, rows, error) if error <= tolerance else None
