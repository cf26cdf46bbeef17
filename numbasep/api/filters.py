"""The linear filters of `scipy.ndimage` that are given axis by axis: single lines and averages.

Every call is one plan: all axes and all terms in one pass over memory, sums between the axes in floating
point, one conversion at the end.  SciPy converts to the output type after every axis; where that rounds,
results here are nearer to the exact ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import as_input
from ..axes import KernelShapeError, axis_strides, integer, normalize_axes, per_axis
from ..problem import first_tap
from .axiswise import by_axis, copy_input, every_sample, first_in_window
from .bodies import as_taps, filter_terms, make_options
from .build import Taps
from .shortcuts import remembered, shortcuts
from .words import documented

Array = npt.NDArray[Any]


def _filter_line(
    input: npt.ArrayLike, weights: npt.ArrayLike, axis: int, output: Any, mode: Any, cval: Any, origin: Any,
    *, flip: bool, shared: tuple[Any, ...], nan_policy: str, mask: Any, stride: Any,
) -> Array:  # fmt: skip
    operation = "convolve1d" if flip else "correlate1d"
    x = as_input(input)
    (axis,) = normalize_axes(integer("axis", axis), x.ndim)
    taps = as_taps(weights, "weights", origin, mode, flip=flip)
    return filter_terms(
        x, [{axis: taps}], output, {axis: mode}, cval, options=make_options(*shared), nan_policy=nan_policy,
        mask=mask, operation=operation, strides={axis: axis_strides(stride, 1)[0]},
        remember=shortcuts.keep,
    )  # fmt: skip


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
    input : array_like
        Any number of dimensions; bool, integer, float16 to float64, complex64 or complex128; any layout.
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
    return _filter_line(
        input, weights, axis, output, mode, cval, origin, flip=False,
        shared=(method, rtol, workers, device, cast), nan_policy=nan_policy, mask=mask,
        stride=stride,
    )  # fmt: skip


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
    input : array_like
        Any number of dimensions; bool, integer, float16 to float64, complex64 or complex128; any layout.
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
    return _filter_line(
        input, weights, axis, output, mode, cval, origin, flip=True,
        shared=(method, rtol, workers, device, cast), nan_policy=nan_policy, mask=mask,
        stride=stride,
    )  # fmt: skip


# --------------------------------------------------------------------------- averages


def _box(size: int, origin: Any, mode: Any) -> Taps:
    """`size` ones: the sum is divided once, at the end, so that sums of integers are exact."""
    shift = integer("origin", origin)
    first = first_tap(size, shift, flip=False)
    if mode in ("valid", "full"):
        if shift:
            raise ValueError(f"origin must be 0 along an axis with mode={mode!r}, got {shift}")
        first = first_in_window(size, mode)
    return Taps(np.ones(size), first)


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
    input : array_like
        Any number of dimensions; bool, integer, float16 to float64, complex64 or complex128; any layout.
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

    Returns
    -------
    ndarray
        The result; `output` if that is an array.

    {raises}

    Notes
    -----
    Sums of integers are exact and divided once.  No running sum is carried along the axis: rounding errors do
    not pile up, averages of non-negative samples are non-negative, and a NaN spoils only the windows that
    hold it.

    Examples
    --------
    >>> import numbasep
    >>> numbasep.uniform_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([4, 3, 4, 1, 4, 6, 6, 3])
    """
    shared = (method, rtol, workers, device, cast)
    x = as_input(input)
    (axis,) = normalize_axes(integer("axis", axis), x.ndim)
    length = integer("size", size)
    if length < 1:
        raise KernelShapeError(f"incorrect filter size: size must be at least 1, got {size!r}")
    return filter_terms(
        x, [{axis: _box(length, origin, mode)}], output, {axis: mode}, cval, nan_policy=nan_policy, mask=mask,
        options=make_options(*shared), operation="uniform_filter1d", divisor=float(length),
        strides={axis: axis_strides(stride, 1)[0]},
        remember=shortcuts.keep,
    )  # fmt: skip


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
    input : array_like
        Any number of dimensions; bool, integer, float16 to float64, complex64 or complex128; any layout.
    size : int or sequence of int, optional
        Samples of the box along each filtered axis; fractions are dropped, and axes with less than 2 samples
        are left alone, as in SciPy.
    {output}
    {modes}
    {cval}
    origin : int or sequence of int, optional
        Shift of the box along each filtered axis, as `correlate`.
    {axes}
    {keywords}
    {stride}

    Returns
    -------
    ndarray
        The result; `output` if that is an array.

    {raises}

    Notes
    -----
    The sum over the box is divided once, at the end.  With integers it is exact, and the average is truncated
    (or rounded, see `cast`) once; SciPy truncates after every axis and so is up to one grey level an axis too
    low.  As `uniform_filter1d`, there is no running sum that drifts or that a NaN spoils.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> numbasep.uniform_filter(np.arange(16.0).reshape(4, 4), size=(1, 3))[0]
    array([0.33333333, 1.        , 2.        , 2.66666667])
    """
    x = as_input(input)
    named = normalize_axes(axes, x.ndim)
    if isinstance(size, str):
        raise TypeError(f"size must be an integer or a sequence of integers, got {size!r}")
    sizes = by_axis(named, map(int, per_axis("size", size, len(named))))
    origins = by_axis(named, per_axis("origin", origin, len(named)))
    modes = by_axis(named, per_axis("mode", mode, len(named)))
    filtered = [axis for axis in named if sizes[axis] > 1]
    if any(n < 0 for n in sizes.values()):
        raise ValueError(f"size must not be negative, got {size!r}")
    options = make_options(method, rtol, workers, device, cast)
    strides = by_axis(named, axis_strides(stride, len(named)))
    thinned = {a: n for a, n in strides.items() if n > 1 and a not in filtered}
    if thinned:
        x, mask = every_sample(x, mask, nan_policy, thinned)
    if not filtered:
        return copy_input(x, output, options.cast, nan_policy, mask)
    return filter_terms(
        x, [{a: _box(sizes[a], origins[a], modes[a]) for a in filtered}], output,
        {a: modes[a] for a in filtered}, cval, options=options, nan_policy=nan_policy, mask=mask,
        operation="uniform_filter", strides={a: strides[a] for a in filtered},
        divisor=float(math.prod(sizes[a] for a in filtered)),
        remember=None if thinned else shortcuts.keep,  # the plan is one for fewer samples than the input has
    )  # fmt: skip
