"""Derivatives with fixed small kernels, as in `scipy.ndimage`: Sobel, Prewitt, Laplace."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import as_input
from ..axes import integer, normalize_axes, per_axis
from .axiswise import axis_sum, by_axis, centred, copy_input
from .bodies import filter_terms, make_options
from .shortcuts import remembered, shortcuts
from .words import documented

Array = npt.NDArray[Any]


def _difference(
    input: npt.ArrayLike, axis: int, smooth: list[float], output: Any, mode: Any, cval: Any,
    *, operation: str, shared: tuple[Any, ...], nan_policy: str, mask: Any,
) -> Array:  # fmt: skip
    """Central difference along one axis, `smooth` along all others."""
    x = as_input(input)
    (axis,) = normalize_axes(integer("axis", axis), x.ndim)
    modes = by_axis(range(x.ndim), per_axis("mode", mode, x.ndim))
    weights = {a: np.array([-1.0, 0.0, 1.0] if a == axis else smooth) for a in modes}
    return filter_terms(
        x, [{a: centred(taps, modes[a]) for a, taps in weights.items()}], output, modes, cval,
        options=make_options(*shared), nan_policy=nan_policy, mask=mask, operation=operation,
        remember=shortcuts.keep,
    )  # fmt: skip


@remembered
@documented
def sobel(
    input: npt.ArrayLike,
    axis: int = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    *,
    method: str = "auto",
    rtol: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    nan_policy: str = "propagate",
    mask: Any = None,
    cast: str = "truncate",
) -> Array:
    """Sobel's derivative: ``[-1, 0, 1]`` along one axis, ``[1, 2, 1]`` along all others.

    Parameters
    ----------
    input : array_like
        Any number of dimensions; bool, integer, float16 to float64, complex64 or complex128; any layout.
    axis : int, optional
        Axis of the derivative.
    {output}
    {modes}
    {cval}
    {keywords}

    Returns
    -------
    ndarray
        The result; `output` if that is an array.

    {raises}

    Notes
    -----
    Results of an unsigned or narrow integer type wrap, as in SciPy; ask for ``output=float`` or a wider type.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> numbasep.sobel(np.arange(12).reshape(3, 4))
    array([[4, 8, 8, 4],
           [4, 8, 8, 4],
           [4, 8, 8, 4]])
    """
    return _difference(
        input, axis, [1.0, 2.0, 1.0], output, mode, cval, operation="sobel",
        shared=(method, rtol, workers, device, cast), nan_policy=nan_policy, mask=mask,
    )  # fmt: skip


@remembered
@documented
def prewitt(
    input: npt.ArrayLike,
    axis: int = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    *,
    method: str = "auto",
    rtol: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    nan_policy: str = "propagate",
    mask: Any = None,
    cast: str = "truncate",
) -> Array:
    """Prewitt's derivative: ``[-1, 0, 1]`` along one axis, ``[1, 1, 1]`` along all others.

    Parameters
    ----------
    input : array_like
        Any number of dimensions; bool, integer, float16 to float64, complex64 or complex128; any layout.
    axis : int, optional
        Axis of the derivative.
    {output}
    {modes}
    {cval}
    {keywords}

    Returns
    -------
    ndarray
        The result; `output` if that is an array.

    {raises}

    Notes
    -----
    Results of an unsigned or narrow integer type wrap, as in SciPy; ask for ``output=float`` or a wider type.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> numbasep.prewitt(np.arange(12).reshape(3, 4), axis=0)
    array([[12, 12, 12, 12],
           [24, 24, 24, 24],
           [12, 12, 12, 12]])
    """
    return _difference(
        input, axis, [1.0, 1.0, 1.0], output, mode, cval, operation="prewitt",
        shared=(method, rtol, workers, device, cast), nan_policy=nan_policy, mask=mask,
    )  # fmt: skip


@remembered
@documented
def laplace(
    input: npt.ArrayLike,
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
) -> Array:
    """Sum of the second differences ``[1, -2, 1]`` along the axes.

    Parameters
    ----------
    input : array_like
        Any number of dimensions; bool, integer, float16 to float64, complex64 or complex128; any layout.
    {output}
    {modes}
    {cval}
    {axes}
    {keywords}

    Returns
    -------
    ndarray
        The result; `output` if that is an array.

    {raises}

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> numbasep.laplace(np.arange(5.0) ** 2)
    array([ 1.,  2.,  2.,  2., -7.])
    """
    x = as_input(input)
    named = normalize_axes(axes, x.ndim)
    modes = by_axis(named, per_axis("mode", mode, len(named)))
    options = make_options(method, rtol, workers, device, cast)
    if not named:
        return copy_input(x, output, options.cast, nan_policy, mask)
    second = np.array([1.0, -2.0, 1.0])
    return filter_terms(
        x, axis_sum(dict.fromkeys(named, second), modes), output, modes, cval, options=options,
        nan_policy=nan_policy, mask=mask, operation="laplace",
        remember=shortcuts.keep,
    )  # fmt: skip
