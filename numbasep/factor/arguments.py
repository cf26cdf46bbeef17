"""Checked arguments of `factorize`: the kernel as a scaled float array, and its tolerances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Relative L1 error allowed in a lossless factorization, in units of the machine epsilon of the coarsest type ...
TOLERANCE_ULPS = 16
#: ... and its upper limit, which applies to half-precision kernels.
TOLERANCE_CAP = 2.0**-10

_EPS64 = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class ScaledKernel:
    """A finite kernel ``K = values * 2**exponent``, scaled so that no product or sum can overflow."""

    values: Array
    """Float64 or complex128, C-contiguous, largest magnitude in [0.5, 1) (or all zero)."""
    exponent: int
    """Exponent of the power of two by which `values` were divided; the scaling is exact."""
    eps: float
    """Machine epsilon of the dtype in which the kernel was given; 0 for integers."""

    @property
    def l1(self) -> float:
        """Sum of the magnitudes of `values`."""
        return float(np.abs(self.values).sum())

    @property
    def nonzeros(self) -> int:
        """Number of non-zero weights."""
        return int(np.count_nonzero(self.values))


def as_kernel(kernel: npt.ArrayLike) -> ScaledKernel:
    """Check a kernel and scale it by a power of two.

    Parameters
    ----------
    kernel : array_like
        Any number of axes from one up, any bool, integer, real or complex dtype up to double precision.

    Returns
    -------
    ScaledKernel

    Raises
    ------
    TypeError
        For object, longdouble, string and other dtypes without a double-precision value.
    ValueError
        For an empty or 0-d kernel, and for NaN or infinite weights.
    """
    array = np.asarray(kernel)
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
        raise TypeError(
            f"kernel: dtype {array.dtype} cannot be factored; allowed are bool, integers, float16, float32, "
            "float64, complex64 and complex128"
        )
    if array.ndim == 0:
        raise ValueError("kernel: a 0-d array is not a kernel; at least one axis is needed")
    if array.size == 0:
        raise ValueError(f"kernel: shape {array.shape} has no elements; every axis needs at least one")
    eps = float(np.finfo(array.dtype).eps) if array.dtype.kind in "fc" else 0.0
    values = np.ascontiguousarray(array, dtype=np.complex128 if array.dtype.kind == "c" else np.float64)
    largest = float(_largest_part(values))
    if not np.isfinite(largest):
        raise ValueError("kernel: every weight must be finite; NaN or infinity found")
    exponent = int(np.frexp(largest)[1])
    return ScaledKernel(scale(values, -exponent), exponent, eps)


def scale(values: Array, exponent: int) -> Array:
    """Return ``values * 2**exponent``, exact unless the result is subnormal or overflows."""
    if values.dtype.kind == "c":
        return np.ldexp(values.view(np.float64), exponent).view(np.complex128)
    return np.ldexp(values, exponent)


def _largest_part(values: Array) -> Any:
    """Return the largest magnitude of all real and imaginary parts; NaN if any of them is NaN."""
    return np.abs(values.view(np.float64)).max()


def check_rtol(rtol: float | None) -> float | None:
    """Return `rtol` as a float, or None; raise unless it is a non-negative number."""
    if rtol is None:
        return None
    if isinstance(rtol, (bool, complex, str, bytes)) or not np.isscalar(rtol):
        raise TypeError(f"rtol: expected None or a real number, got {rtol!r}")
    value = float(rtol)  # type: ignore[arg-type]
    if not value >= 0:
        raise ValueError(f"rtol: expected None or a number >= 0, got {rtol!r}")
    return value


def check_max_rank(max_rank: int | None) -> int | None:
    """Return `max_rank` as an int, or None; raise unless it is a positive integer."""
    if max_rank is None:
        return None
    if isinstance(max_rank, bool) or not isinstance(max_rank, (int, np.integer)):
        raise TypeError(f"max_rank: expected None or an integer, got {max_rank!r}")
    if max_rank < 1:
        raise ValueError(f"max_rank: expected None or an integer >= 1, got {max_rank}")
    return int(max_rank)


def lossless_tolerance(kernel: ScaledKernel, compute_eps: float | None = None) -> float:
    """Return the largest ``||K - K_r||_1 / ||K||_1`` that counts as rounding: 16 eps of the coarsest type."""
    eps = max(kernel.eps, _EPS64, compute_eps or 0.0)
    return min(TOLERANCE_ULPS * eps, TOLERANCE_CAP)
