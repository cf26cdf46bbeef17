"""`generic_laplace` and `generic_gradient_magnitude`, as in `scipy.ndimage`: the caller gives the derivative."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.arrays import as_input, make_output, result_dtype
from ..arguments.axes import normalize_axes, per_axis
from ..arguments.dispatch import dispatched
from ..system.types import Array
from .axiswise import changed, copy_input
from .calls import check_cval, make_options
from .docstrings import documented

DEFAULTS = {"method": "auto", "nan_policy": "propagate", "cast": "truncate"}
SHARED = ("method", "rtol", "workers", "device", "nan_policy", "mask", "cast")
"""Keywords of every filter, which are passed to the caller's derivative."""

Derivative = Callable[..., Any]
"""Function ``derivative(input, axis, output, mode, cval, *extra_arguments, **extra_keywords)``."""


def _derivatives(
    input: npt.ArrayLike, derivative: Derivative, output: Any, mode: Any, cval: Any, extra_arguments: Any,
    extra_keywords: Mapping[str, Any] | None, axes: Any, shared: Mapping[str, Any],
) -> tuple[Array, Array, list[Callable[[Any], Any]]]:  # fmt: skip
    """Return the input, the output, and for each axis a function of an output array or dtype that filters the axis."""
    if not callable(derivative):
        raise TypeError(f"derivative, or derivative2, must be callable, got {derivative!r}")
    x = as_input(input)
    make_options(*(shared[name] for name in ("method", "rtol", "workers", "device", "cast")))
    dtype = result_dtype(output, x.dtype, complex_result=x.dtype.kind == "c")
    check_cval(cval, complex_data=x.dtype.kind == "c")
    named = normalize_axes(axes, x.ndim)
    modes = per_axis("mode", mode, len(named))
    out = make_output(output, dtype, x.shape, x)
    x = x.copy() if len(named) > 1 and np.may_share_memory(x, out) else x
    keywords = {**changed(shared, DEFAULTS), **(extra_keywords or {})}
    calls: list[Callable[[Any], Any]] = [
        functools.partial(_call_derivative, derivative, x, axis, m, cval, tuple(extra_arguments), keywords)
        for axis, m in zip(named, modes, strict=True)
    ]
    return x, out, calls


def _call_derivative(
    derivative: Derivative, x: Array, axis: int, mode: Any, cval: Any, arguments: tuple[Any, ...],
    keywords: Mapping[str, Any], target: Any,
) -> Any:  # fmt: skip
    return derivative(x, axis, target, mode, cval, *arguments, **keywords)


@dispatched
@documented
def generic_laplace(
    input: npt.ArrayLike,
    derivative2: Derivative,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    extra_arguments: Any = (),
    extra_keywords: Any = None,
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
    """Sum of second derivatives along the axes, each computed by a function of the caller.

    Parameters
    ----------
    {input}
    derivative2 : callable
        ``derivative2(input, axis, output, mode, cval, *extra_arguments, **extra_keywords)``; writes to
        `output` if that is an array, and returns a new array of that type if it is a dtype.
    {output}
    {modes}
    {cval}
    extra_arguments : sequence, optional
        Positional arguments for `derivative2`.
    extra_keywords : mapping, optional
        Keywords for `derivative2`.
    {axes}
    method, rtol, workers, device, nan_policy, mask, cast : optional
        Passed to `derivative2` as keywords if they are not the defaults (see `correlate1d`).

    {returns}

    {raises}

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> def second(input, axis, output, mode, cval):
    ...     return numbasep.correlate1d(input, [1, -2, 1], axis, output, mode, cval)
    >>> numbasep.generic_laplace(np.arange(5.0) ** 2, second)
    array([ 1.,  2.,  2.,  2., -7.])
    """
    shared = {
        "method": method, "rtol": rtol, "workers": workers, "device": device, "nan_policy": nan_policy,
        "mask": mask, "cast": cast,
    }  # fmt: skip
    x, out, calls = _derivatives(
        input, derivative2, output, mode, cval, extra_arguments, extra_keywords, axes, shared
    )
    if not calls:
        return copy_input(x, out, cast, nan_policy, mask)
    calls[0](out)
    for call in calls[1:]:
        out += call(out.dtype)
    return out


@dispatched
@documented
def generic_gradient_magnitude(
    input: npt.ArrayLike,
    derivative: Derivative,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    extra_arguments: Any = (),
    extra_keywords: Any = None,
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
    """Square root of the sum of squared derivatives, each computed by a function of the caller.

    Parameters
    ----------
    {input}
    derivative : callable
        ``derivative(input, axis, output, mode, cval, *extra_arguments, **extra_keywords)``; writes to
        `output` if that is an array, and returns a new array of that type, which is overwritten, if it is a
        dtype.
    {output}
    {modes}
    {cval}
    extra_arguments : sequence, optional
        Positional arguments for `derivative`.
    extra_keywords : mapping, optional
        Keywords for `derivative`.
    {axes}
    method, rtol, workers, device, nan_policy, mask, cast : optional
        Passed to `derivative` as keywords if they are not the defaults (see `correlate1d`).

    {returns}

    {raises}

    Notes
    -----
    Squares are computed in the output dtype, as in SciPy: those of narrow integers wrap.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> ramp = np.add.outer(3 * np.arange(4.0), 4 * np.arange(4.0))
    >>> numbasep.generic_gradient_magnitude(ramp, numbasep.sobel)[1, 1]
    np.float64(40.0)
    """
    shared = {
        "method": method, "rtol": rtol, "workers": workers, "device": device, "nan_policy": nan_policy,
        "mask": mask, "cast": cast,
    }  # fmt: skip
    x, out, calls = _derivatives(
        input, derivative, output, mode, cval, extra_arguments, extra_keywords, axes, shared
    )
    if not calls:
        return copy_input(x, out, cast, nan_policy, mask)
    calls[0](out)
    np.multiply(out, out, out=out)
    for call in calls[1:]:
        part = call(out.dtype)
        np.multiply(part, part, out=part)
        out += part
    with np.errstate(invalid="ignore"):
        np.sqrt(out, out=out, casting="unsafe")
    return out
