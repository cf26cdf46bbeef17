"""Filters made of derivatives of Gaussians, as in `scipy.ndimage`: Laplacian and gradient magnitude."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import execute
from ..arrays import as_input
from ..axes import KernelShapeError, normalize_axes
from ..planner import PlannedFilter
from ..problem import Options
from .axiswise import copy_input
from .bodies import check_cval, make_options
from .gaussian import GaussianAxis, filter_gaussian, gaussian_axes, gaussian_term, output_type
from .shortcuts import remembered, shortcuts
from .words import documented

Array = npt.NDArray[Any]


def taps_keywords(kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """`truncate` and `radius`, the only further keywords of the filters that are built from derivatives."""
    truncate, radius = kwargs.pop("truncate", 4.0), kwargs.pop("radius", None)
    if kwargs:
        raise TypeError(f"unexpected keywords {', '.join(kwargs)}; allowed are truncate and radius")
    return truncate, radius


def _derivative_axes(
    x: Array, sigma: Any, mode: Any, axes: Any, spacing: Any, kwargs: dict[str, Any]
) -> list[GaussianAxis] | None:
    """Axes of a filter that needs a derivative along each of them; None if there are none."""
    truncate, radius = taps_keywords(kwargs)
    named = normalize_axes(axes, x.ndim)
    filtered = gaussian_axes(named, sigma, mode, truncate, radius, spacing)
    if filtered and len(filtered) < len(named):
        raise ValueError(f"sigma must be positive along every filtered axis, got {sigma!r}")
    return filtered or None


@remembered
@documented
def gaussian_laplace(
    input: npt.ArrayLike,
    sigma: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    *,
    axes: Any = None,
    method: str = "auto",
    rtol: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    nan_policy: str = "propagate",
    mask: Any = None,
    cast: str = "truncate",
    spacing: Any = None,
    **kwargs: Any,
) -> Array:
    """Laplacian of Gaussian: the sum of the second derivatives of the smoothed array.

    Parameters
    ----------
    input : array_like
        Any number of dimensions; bool, integer, float16 to float64, complex64 or complex128; any layout.
    sigma : float or sequence of float
        Standard deviation in samples, once or for each filtered axis.
    {output}
    {modes}
    {cval}
    {axes}
    {keywords}
    {spacing}
    **kwargs
        `truncate` and `radius`, as `gaussian_filter`.

    Returns
    -------
    ndarray
        The result; `output` if that is an array.

    {raises}

    Notes
    -----
    One plan with a term for each axis.  For an integer result and ``cast="truncate"`` each second derivative
    is truncated before they are added, which is how SciPy defines it; ``cast="saturate"`` rounds the exact
    sum once. Where the modes of the axes differ, the second derivative along an axis takes the mode of that
    axis for all axes, as in SciPy.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> numbasep.gaussian_laplace(np.arange(20.0) ** 2, 1.0)[8:10].round(2)
    array([1.99, 1.99])
    """
    x = as_input(input)
    filtered = _derivative_axes(x, sigma, mode, axes, spacing, kwargs)
    options = make_options(method, rtol, workers, device, cast)
    if filtered is None:
        return copy_input(x, output, options.cast, nan_policy, mask)
    dtype = output_type(output, x)
    shared: dict[str, Any] = {
        "options": options, "nan_policy": nan_policy, "mask": mask, "operation": "gaussian_laplace",
        "derivative": True,
    }  # fmt: skip
    one_mode = len({a.mode for a in filtered}) == 1
    if len(filtered) == 1 or (one_mode and (dtype.kind not in "biu" or cast != "truncate")):
        terms = [gaussian_term(filtered, {a.axis: 2}, x.dtype, dtype, cast) for a in filtered]
        return filter_gaussian(x, terms, filtered, output, cval, remember=shortcuts.keep, **shared)
    # SciPy's definition, which these cases can tell apart: the sum of results, each with the mode of its axis
    from ..backends import elementwise

    part_type = magnitude_type(x.dtype, dtype) if dtype.kind in "biu" and cast != "truncate" else dtype
    total: Array | None = None
    for a in filtered:
        same = [replace(b, mode=a.mode) for b in filtered]
        part = filter_gaussian(
            x, [gaussian_term(same, {a.axis: 2}, x.dtype, part_type, cast)], same, part_type, cval, **shared
        )
        total = part if total is None else elementwise.add(total, part)
    assert total is not None
    return elementwise.stored(total, output, dtype, x, cast)


@remembered
@documented
def gaussian_gradient_magnitude(
    input: npt.ArrayLike,
    sigma: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    *,
    axes: Any = None,
    method: str = "auto",
    rtol: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    nan_policy: str = "propagate",
    mask: Any = None,
    cast: str = "truncate",
    spacing: Any = None,
    **kwargs: Any,
) -> Array:
    """Length of the gradient of the smoothed array.

    Parameters
    ----------
    input : array_like
        Any number of dimensions; bool, integer, float16 to float64, complex64 or complex128; any layout.
    sigma : float or sequence of float
        Standard deviation in samples, once or for each filtered axis.
    {output}
    {modes}
    {cval}
    {axes}
    {keywords}
    {spacing}
    **kwargs
        `truncate` and `radius`, as `gaussian_filter`.

    Returns
    -------
    ndarray
        The result; `output` if that is an array.

    {raises}

    Notes
    -----
    Only `axes` are smoothed and differentiated; SciPy, given fewer axes than the array has, smooths along
    all. Squares and their sum are taken in floating point, so that they do not wrap for narrow integers as in
    SciPy. For an integer result and ``cast="truncate"`` each derivative is truncated first, which is how
    SciPy defines it; ``cast="saturate"`` rounds the exact magnitude once.  Where the modes of the axes
    differ, the derivative along an axis takes the mode of that axis for all axes, as in SciPy.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> ramp = np.add.outer(3 * np.arange(32.0), 4 * np.arange(32.0))
    >>> numbasep.gaussian_gradient_magnitude(ramp, 2)[16, 16].round(2)
    np.float64(5.0)
    """
    x = as_input(input)
    filtered = _derivative_axes(x, sigma, mode, axes, spacing, kwargs)
    options = make_options(method, rtol, workers, device, cast)
    if filtered is None:
        return copy_input(x, output, options.cast, nan_policy, mask)
    is_complex = x.dtype.kind == "c"
    dtype = output_type(output, x)
    check_cval(cval, complex_data=is_complex)
    number = magnitude_type(x.dtype, dtype)

    plans: list[PlannedFilter] = []

    def derivative(a: GaussianAxis) -> Array:
        same = [replace(b, mode=a.mode) for b in filtered]  # all axes in the mode of this one, as SciPy
        return filter_gaussian(
            x, [gaussian_term(same, {a.axis: 1}, x.dtype, number, cast)], same, number, cval, options=options,
            nan_policy=nan_policy, mask=mask, operation="gaussian_gradient_magnitude",
            derivative=True, remember=plans.append,
        )  # fmt: skip

    result = _length(map(derivative, filtered), x, output, dtype, options)
    if len(plans) == len(filtered):
        shortcuts.keep(functools.partial(_length_again, tuple(plans), dtype, options))
    return result


def _length(parts: Iterable[Array], x: Array, output: Any, dtype: np.dtype[Any], options: Options) -> Array:
    """Length of the gradient with these parts, stored as `output` wants it."""
    whole = dtype.kind in "biu" and options.cast == "truncate"
    total = magnitude(parts, whole=whole, workers=options.workers)
    if output is None and total.dtype == dtype:
        return total
    from ..backends import elementwise

    return elementwise.stored(total, output, dtype, x, options.cast)


def _length_again(
    plans: Sequence[PlannedFilter], dtype: np.dtype[Any], options: Options, x: Array, output: Any
) -> Array:
    """What a repeated call runs."""
    return _length((execute.filter_array(plan, x, None) for plan in plans), x, output, dtype, options)


def magnitude_type(input_dtype: np.dtype[Any], output_dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Type of the derivatives whose squares are summed: single precision where that holds both types."""
    narrow = {input_dtype.char, output_dtype.char} <= set("?bBhHefF")
    if input_dtype.kind == "c":
        return np.dtype("F" if narrow else "D")
    return np.dtype("f" if narrow else "d")


def magnitude(parts: Any, *, whole: bool, workers: int | None) -> Array:
    """``sqrt(sum of squares)`` of arrays that may be overwritten, two of which exist at a time.

    `whole` truncates the parts to integers first.  Complex parts are squared, not multiplied by their
    conjugates, as in SciPy.
    """
    from ..backends import elementwise

    total: Array | None = None
    last: Array | None = None
    for part in parts:
        if last is not None:
            total = elementwise.add_square(total, last, whole=whole, root=False, workers=workers)
        last = part
    if last is None:
        raise KernelShapeError("axes must not be empty")
    return elementwise.add_square(total, last, whole=whole, root=True, workers=workers)
