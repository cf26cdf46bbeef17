"""Conversion of computed values to the output type, for every backend that stores by NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_THROUGH_INT32 = 4  # SciPy's C cast of a double to an integer narrower than this goes through int32


def store(values: NDArray[Any], out: NDArray[Any], cast: str = "truncate") -> None:
    """Write `values` to `out`, converted to its dtype.

    Parameters
    ----------
    values : ndarray
        Results in float32, float64, complex64 or complex128.
    out : ndarray
        Array of the same shape, of any supported dtype and layout.
    cast : {"truncate", "saturate"}
        Conversion to an integer `out`. "truncate" is C's cast, which truncates towards zero and wraps, as in
        `scipy.ndimage`. "saturate" rounds half to even and clips, with 0 for NaN. Values for a floating `out`
        are rounded to nearest with both.

    Raises
    ------
    TypeError
        If complex values would lose their imaginary part.

    Examples
    --------
    >>> pixels = np.zeros(3, np.uint8)
    >>> store(np.array([650.0, -50.0, 2.5]), pixels)
    >>> pixels
    array([138, 206,   2], dtype=uint8)
    >>> store(np.array([650.0, -50.0, 2.5]), pixels, "saturate")
    >>> pixels
    array([255,   0,   2], dtype=uint8)
    """
    if values.dtype.kind == "c" and out.dtype.kind != "c":
        raise TypeError(f"complex results cannot be stored in an output of dtype {out.dtype}")
    if out.dtype.kind not in "biu":
        with np.errstate(over="ignore"):
            np.copyto(out, values, casting="unsafe")
        return
    target = out.view(np.uint8) if out.dtype.kind == "b" else out
    dtype = target.dtype.newbyteorder("=")
    np.copyto(target, _saturate(values, dtype) if cast == "saturate" else _truncate(values, dtype))


def _truncate(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert as C's cast does on 64-bit machines, in explicit steps, as NumPy's cast depends on its version."""
    with np.errstate(invalid="ignore"):
        if dtype == np.uint64:
            magnitude: NDArray[Any] = np.abs(values).astype(np.uint64)
            np.negative(magnitude, out=magnitude, where=values <= -1)
            return magnitude
        wide = np.int32 if dtype.itemsize < _THROUGH_INT32 or dtype == np.int32 else np.int64
        narrowed: NDArray[Any] = values.astype(wide).astype(dtype)
        return narrowed


def _saturate(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    limits = np.iinfo(dtype)
    rounded = np.rint(np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=-np.inf))
    # The largest 64-bit integers are not floating-point numbers: compare first, then convert only values in range.
    low, high = rounded <= float(limits.min), rounded >= float(limits.max)
    inside: NDArray[Any] = np.where(low | high, 0, rounded).astype(dtype)
    inside[low], inside[high] = limits.min, limits.max
    return inside
