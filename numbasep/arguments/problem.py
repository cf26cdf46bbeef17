"""Canonical description of a filter call, without its arrays.

Every filter becomes the same canonical operation.  Along each filtered axis

    ``out[i] = sum_{k=0}^{taps-1} w[k] * x[i * step + first + k]``,  ``0 <= i < out_size``,

a correlation, with `x` extended beyond ``[0, size)`` by a boundary mode.  Convolution, origins, even sizes and the
modes ``"valid"`` and ``"full"`` only determine `first` and `out_size`, and `stride` is the step.  Lower layers know
only this form.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .axes import axis_strides, integer, per_axis
from .boundary import SIZES, Boundary, parse

METHODS = ("auto", "direct", "separable", "structured", "fft")
CASTS = ("truncate", "saturate")
NAN_POLICIES = ("propagate", "omit", "raise")
DEVICES = (None, "cpu", "cuda")

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
_SMALL = frozenset("?bBhHe")  # dtypes whose values are all exact in float32
_CODES = frozenset("?bBhHiIlLqQefdFD")


class UnsupportedDtypeError(TypeError, RuntimeError):
    """An unsupported dtype: a TypeError, and a RuntimeError as SciPy raises."""


@dataclass(frozen=True, slots=True)
class Window:
    """One filtered axis of the canonical operation."""

    axis: int
    """Index of the axis in the array."""
    size: int
    """Number of input samples along the axis."""
    out_size: int
    """Number of output samples along the axis."""
    taps: int
    """Number of kernel taps along the axis."""
    first: int
    """Input position of tap 0 for output 0; negative for a centred kernel."""
    boundary: Boundary
    """Boundary mode that extends the input."""
    step: int = 1
    """Distance in input samples from one output sample to the next."""

    @property
    def reach(self) -> int:
        """Number of (extended) input samples that all outputs along the axis read, from the first to the last."""
        return (self.out_size - 1) * self.step + self.taps


@dataclass(frozen=True, slots=True)
class Options:
    """Validated keyword-only arguments that all filters share."""

    method: str = "auto"
    """Name of the route, or "auto"."""
    rtol: float | None = None
    """Allowed error relative to ``||K||_1 max|x|``; None allows only rounding errors."""
    workers: int | None = None
    """Number of threads; None means all that Numba may use."""
    device: str | None = None
    """Device to run on; None means the one where the array is."""
    cast: str = "truncate"
    """Conversion of results to an integer output, see `casting.store`."""

    def __post_init__(self) -> None:
        """Check every field."""
        _one_of("method", self.method, METHODS)
        _one_of("cast", self.cast, CASTS)
        _one_of("device", self.device, DEVICES)
        if self.rtol is not None:
            rtol = _real("rtol", self.rtol)
            if not 0 <= rtol < 1:
                raise ValueError(f"rtol must be None or a number in [0, 1), got {self.rtol!r}")
        if self.workers is not None and (
            isinstance(self.workers, bool) or integer("workers", self.workers) < 1
        ):
            raise ValueError(f"workers must be None or a positive integer, got {self.workers!r}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One filter call in canonical form, without its arrays."""

    shape: tuple[int, ...]
    """Input shape."""
    out_shape: tuple[int, ...]
    """Output shape; differs from `shape` for the modes "valid" and "full", and for strides."""
    windows: tuple[Window, ...]
    """Filtered axes in ascending order; axis j of the canonical kernel acts on `windows[j]`."""
    input_dtype: np.dtype[Any]
    """Input dtype, in any byte order."""
    output_dtype: np.dtype[Any]
    """Output dtype."""
    compute_dtype: np.dtype[Any]
    """Dtype of the sums: float32, float64, complex64 or complex128."""
    cval: complex
    """Value beyond the edges, for the mode "constant"."""
    footprint: str
    """"support" (dense kernels): samples under zero weights are not read; "window" (1-D taps): all are multiplied."""
    options: Options
    """Keyword-only arguments."""
    operation: str = "correlate"
    """Name of the requested operation, for display."""

    @property
    def method(self) -> str:
        """Requested route."""
        return self.options.method

    @property
    def rtol(self) -> float | None:
        """Allowed relative error."""
        return self.options.rtol

    @property
    def workers(self) -> int | None:
        """Allowed number of threads."""
        return self.options.workers

    @property
    def device(self) -> str | None:
        """Requested device."""
        return self.options.device

    @property
    def cast(self) -> str:
        """Conversion of results to an integer output."""
        return self.options.cast

    @property
    def integer_data(self) -> bool:
        """Whether the input dtype is an integer or boolean."""
        return self.input_dtype.kind in "biu"

    @property
    def max_abs(self) -> float | None:
        """Largest magnitude in the range of the input dtype; None for floating dtypes."""
        return max_magnitude(self.input_dtype)

    @property
    def pixels(self) -> int:
        """Number of output elements."""
        return math.prod(self.out_shape)

    @property
    def taps(self) -> tuple[int, ...]:
        """Kernel shape."""
        return tuple(window.taps for window in self.windows)

    @property
    def steps(self) -> tuple[int, ...]:
        """Step of each window."""
        return tuple(window.step for window in self.windows)

    @property
    def is_strided(self) -> bool:
        """Whether any window has a step above 1."""
        return any(window.step > 1 for window in self.windows)

    @property
    def real_dtype(self) -> np.dtype[Any]:
        """Dtype of the real and imaginary parts of the sums: float32 or float64."""
        return _SINGLE if self.compute_dtype.char in "fF" else _DOUBLE


# --------------------------------------------------------------------------- arguments


def _one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    if not any(value is a or value == a for a in allowed):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def _real(name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None


def check_dtype(dtype: np.dtype[Any], name: str) -> np.dtype[Any]:
    """Return `dtype` if it is supported: bool, integers, float16 to float64, complex64 or complex128."""
    if dtype.char not in _CODES:
        raise UnsupportedDtypeError(
            f"array type not supported: {name} has dtype {dtype}; allowed are bool, (u)int8 to (u)int64, "
            "float16, float32, float64, complex64 and complex128"
        )
    return dtype


def max_magnitude(dtype: np.dtype[Any]) -> float | None:
    """Return the largest magnitude in the range of an integer dtype; None for floating dtypes."""
    if dtype.kind == "b":
        return 1.0
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return float(max(info.max, -int(info.min)))
    return None


DEFAULT_OPTIONS = Options()


# --------------------------------------------------------------------------- canonical form


def first_tap(taps: int, origin: int, *, flip: bool) -> int:
    """Return the input position of tap 0 of the canonical correlation, for output 0.

    SciPy's rule: ``correlate`` puts tap ``taps // 2 + origin`` on the output; ``convolve`` is ``correlate`` with
    reversed taps, the origin negated and, for an even number of taps, moved by one.

    Raises
    ------
    ValueError
        If the origin would move the centre out of the kernel.
    """
    given = origin
    if flip:
        origin = -origin - (1 - taps % 2)
    if not -(taps // 2) <= origin <= (taps - 1) // 2:
        raise ValueError(
            "Invalid origin; origin must satisfy -(weights.shape[k] // 2) <= origin[k] <= "
            f"(weights.shape[k]-1) // 2{' for the reversed kernel' * flip}; got origin={given} for {taps} taps"
        )
    return -(taps // 2 + origin)


def make_window(
    axis: int, size: int, taps: int, origin: int, mode: object, *, flip: bool, stride: int = 1
) -> Window:
    """Return the canonical form of one filtered axis."""
    if isinstance(mode, str) and mode in SIZES:
        if origin:
            raise ValueError(f"origin must be 0 along an axis with mode={mode!r}, got {origin}")
        if mode == "full":
            whole = Window(axis, size, size + taps - 1 if size else 0, taps, 1 - taps, Boundary.CONSTANT)
        else:
            whole = Window(axis, size, max(size - taps + 1, 0), taps, 0, Boundary.NEAREST)
    else:
        whole = Window(axis, size, size, taps, first_tap(taps, origin, flip=flip), parse(mode))
    return whole if stride == 1 else every(whole, stride)


def every(window: Window, stride: int) -> Window:
    """Return the window of every `stride`-th output; the step is 1 if only one output remains."""
    count = -(-window.out_size // stride)
    return replace(window, out_size=count, step=stride if count > 1 else 1)


def make_windows(
    shape: Sequence[int],
    axes: Sequence[int],
    taps: Sequence[int],
    mode: object,
    origin: object,
    *,
    flip: bool,
    stride: object = 1,
) -> tuple[Window, ...]:
    """Return windows in ascending order of axes; `taps`, `mode`, `origin` and `stride` are in the order of `axes`."""
    modes = per_axis("mode", mode, len(axes))
    origins = per_axis("origin", origin, len(axes))
    windows = [
        make_window(axis, shape[axis], n, integer("origin", o), m, flip=flip, stride=s)
        for axis, n, m, o, s in zip(axes, taps, modes, origins, axis_strides(stride, len(axes)), strict=True)
    ]
    return tuple(sorted(windows, key=lambda window: window.axis))


def compute_type(
    input_dtype: np.dtype[Any], output_dtype: np.dtype[Any], *, complex_kernel: bool, integer_l1: float | None
) -> np.dtype[Any]:
    """Return the dtype of the sums.

    It is float32 if every value of the input and output dtypes is exact in float32, else float64.  With an integer
    kernel and integer data it is also float64 if float32 could round, that is if ``||K||_1 max|x| > 2**24``.

    Parameters
    ----------
    integer_l1 : float or None
        ``||K||_1`` of a kernel of integers; None if its weights are not integers.
    """
    single = input_dtype.char in _SMALL | {"f", "F"} and output_dtype.char in _SMALL | {"f", "F"}
    largest = max_magnitude(input_dtype)
    if single and integer_l1 is not None and largest is not None:
        single = integer_l1 * largest <= 2.0**24
    if complex_kernel or input_dtype.kind == "c":
        return np.dtype(np.complex64 if single else np.complex128)
    return np.dtype(np.float32 if single else np.float64)


def make_problem(
    shape: Sequence[int],
    input_dtype: np.dtype[Any],
    output_dtype: np.dtype[Any],
    windows: tuple[Window, ...],
    *,
    cval: complex,
    footprint: str,
    options: Options,
    operation: str,
    complex_kernel: bool,
    integer_l1: float | None,
) -> Problem:
    """Return the `Problem` with the given, checked parts."""
    out_shape = list(shape)
    for window in windows:
        out_shape[window.axis] = window.out_size
    check_dtype(input_dtype, "input")
    check_dtype(output_dtype, "output")
    compute = compute_type(input_dtype, output_dtype, complex_kernel=complex_kernel, integer_l1=integer_l1)
    return Problem(
        shape=tuple(shape),
        out_shape=tuple(out_shape),
        windows=windows,
        input_dtype=input_dtype,
        output_dtype=output_dtype,
        compute_dtype=compute,
        cval=complex(cval),
        footprint=footprint,
        options=options,
        operation=operation,
    )
