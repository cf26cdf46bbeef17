"""One-dimensional and uniform filters of `scipy.ndimage`.

Every call is one plan.  Sums between the axes stay in floating point, and results are converted to the output
dtype once, at the end.  SciPy converts after every axis; where that rounds, results here are more accurate.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.axes import KernelShapeError, integer, normalize_axes, per_axis
from ..system.types import Array
from .axiswise import as_taps, by_axis, place_first
from .build import Taps
from .calls import FilterCall, Given, begin, run
from .docstrings import documented
from .repeated_calls import remembered


def line_call(name: str, given: Given, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FilterCall:
    """Return the `FilterCall` of `convolve1d` or `correlate1d`."""
    (axis,) = normalize_axes(integer("axis", given["axis"]), len(shape))
    taps = as_taps(given["weights"], "weights", given["origin"], given["mode"], flip=name == "convolve1d")
    is_complex = taps.weights.dtype.kind == "c"
    return begin(name, given, shape, dtype, (axis,), complex_kernel=is_complex).with_terms([{axis: taps}])


def average_call(name: str, given: Given, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FilterCall:
    """Return the `FilterCall` of `uniform_filter` or `uniform_filter1d`."""
    size = given["size"]
    if name == "uniform_filter1d":
        named = normalize_axes(integer("axis", given["axis"]), len(shape))
        sizes = {named[0]: integer("size", size)}
        if sizes[named[0]] < 1:
            raise KernelShapeError(f"incorrect filter size: size must be at least 1, got {size!r}")
    else:
        named = normalize_axes(given["axes"], len(shape))
        if isinstance(size, str):
            raise TypeError(f"size must be an integer or a sequence of integers, got {size!r}")
        sizes = by_axis(named, map(int, per_axis("size", size, len(named))))
        if any(n < 0 for n in sizes.values()):
            raise ValueError(f"size must not be negative, got {size!r}")
    call = begin(name, given, shape, dtype, named)
    origins, modes = by_axis(named, per_axis("origin", given["origin"], len(named))), call.modes
    one = name == "uniform_filter1d"
    term = {a: _box(sizes[a], origins[a], modes[a]) for a in named if one or sizes[a] > 1}
    return call.with_terms([term] if term else [], divisor=float(math.prod(sizes[a] for a in term)))


def _box(size: int, origin: Any, mode: Any) -> Taps:
    """Return `size` ones; the division comes last, so that sums of integers are exact."""
    return Taps(np.ones(size), place_first(size, origin, mode))


@remembered
@documented
def correlate1d(
    input: npt.ArrayLike,
    weights: npt.ArrayLike,
    axis: int = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    method: str = "auto",
    rtol: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    nan_policy: str = "propagate",
    mask: Any = None,
    cast: str = "truncate",
    stride: Any = 1,
) -> Array:
    """Correlate along one axis: ``out[i] = sum_j conj(weights[j]) * input[i + j - size // 2 - origin]``.

    Parameters
    ----------
    {input}
    weights : array_like
        1-D; finite.
    axis : int, optional
        Axis to filter.
    {output}
    {mode}
    {cval}
    origin : int, optional
        Shift of the centre: positive values move the result to higher positions.
    {keywords}
    {stride_1d}

    Returns
    -------
    ndarray
        The result; `output` if that is an array.  Complex if `input` or `weights` are.

    {raises}

    Examples
    --------
    >>> import numbasep
    >>> numbasep.correlate1d([2, 8, 0, 4, 1, 9, 9, 0], [1, 3])
    array([ 8, 26,  8, 12,  7, 28, 36,  9])
    """
    return run(line_call, "correlate1d", locals())


@remembered
@documented
def convolve1d(
    input: npt.ArrayLike,
    weights: npt.ArrayLike,
    axis: int = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    method: str = "auto",
    rtol: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    nan_policy: str = "propagate",
    mask: Any = None,
    cast: str = "truncate",
    stride: Any = 1,
) -> Array:
    """Convolve along one axis: ``out[i] = sum_j weights[j] * input[i - j + size // 2 + origin]``.

    Parameters
    ----------
    {input}
    weights : array_like
        1-D; finite.
    axis : int, optional
        Axis to filter.
    {output}
    {mode}
    {cval}
    origin : int, optional
        Shift of the centre: positive values move the result to lower positions.
    {keywords}
    {stride_1d}

    Returns
    -------
    ndarray
        The result; `output` if that is an array.  Complex if `input` or `weights` are.

    {raises}

    Examples
    --------
    >>> import numbasep
    >>> numbasep.convolve1d([2, 8, 0, 4, 1, 9, 9, 0], [1, 3])
    array([14, 24,  4, 13, 12, 36, 27,  0])
    """
    return run(line_call, "convolve1d", locals())


@remembered
@documented
def uniform_filter1d(
    input: npt.ArrayLike,
    size: int,
    axis: int = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    method: str = "auto",
    rtol: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    nan_policy: str = "propagate",
    mask: Any = None,
    cast: str = "truncate",
    stride: Any = 1,
) -> Array:
    """Average over a window along one axis.

    Parameters
    ----------
    {input}
    size : int
        Samples in the window, at least 1.
    axis : int, optional
        Axis to filter.
    {output}
    {mode}
    {cval}
    origin : int, optional
        Shift of the window, as `correlate1d`.
    {keywords}
    {stride_1d}

    {returns}

    {raises}

    Notes
    -----
    Sums of integers are exact and divided once.  There is no running sum along the axis: rounding errors do not
    accumulate, averages of non-negative samples are non-negative, and a NaN only affects the windows that contain
    it.

    Examples
    --------
    >>> import numbasep
    >>> numbasep.uniform_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([4, 3, 4, 1, 4, 6, 6, 3])
    """
    return run(average_call, "uniform_filter1d", locals())


@remembered
@documented
def uniform_filter(
    input: npt.ArrayLike,
    size: Any = 3,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
    method: str = "auto",
    rtol: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    nan_policy: str = "propagate",
    mask: Any = None,
    cast: str = "truncate",
    stride: Any = 1,
) -> Array:
    """Average over a box.

    Parameters
    ----------
    {input}
    size : int or sequence of int, optional
        Samples of the box along each filtered axis.  As in SciPy, fractions are dropped, and axes with less than 2
        samples are not filtered.
    {output}
    {modes}
    {cval}
    origin : int or sequence of int, optional
        Shift of the box along each filtered axis, as `correlate`.
    {axes}
    {keywords}
    {stride}

    {returns}

    {raises}

    Notes
    -----
    The sum over the box is divided once, at the end.  With integers it is exact, and the average is truncated
    (or rounded, see `cast`) once.  SciPy truncates after every axis, so that its results are up to one grey level
    per axis too low.  As in `uniform_filter1d`, there is no running sum.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> numbasep.uniform_filter(np.arange(16.0).reshape(4, 4), size=(1, 3))[0]
    array([0.33333333, 1.        , 2.        , 2.66666667])
    """
    return run(average_call, "uniform_filter", locals())
