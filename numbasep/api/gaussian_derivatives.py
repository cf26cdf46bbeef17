"""Laplacian and gradient magnitude by derivatives of Gaussians, as in `scipy.ndimage`."""

import functools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.axes import KernelShapeError, normalize_axes
from ..system.types import Array
from .calls import FilterCall, Given, begin, run
from .docstrings import documented
from .gaussian import gaussian_axes, gaussian_call, gaussian_term
from .repeated_calls import remembered


def taps_keywords(kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Return `truncate` and `radius`; raise a TypeError for any other further keyword."""
    truncate, radius = kwargs.pop("truncate", 4.0), kwargs.pop("radius", None)
    if kwargs:
        raise TypeError(f"unexpected keywords {', '.join(kwargs)}; allowed are truncate and radius")
    return truncate, radius


def derivatives_call(name: str, given: Given, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FilterCall:
    """Return the `FilterCall` of `gaussian_laplace` or `gaussian_gradient_magnitude`."""
    truncate, radius = taps_keywords(dict(given["kwargs"]))
    named, sigma = normalize_axes(given["axes"], len(shape)), given["sigma"]
    axes = gaussian_axes(named, sigma, given["mode"], truncate, radius, given["spacing"])
    if axes and len(axes) < len(named):
        raise ValueError(f"sigma must be positive along every filtered axis, got {sigma!r}")
    call = begin(name, given, shape, dtype, named)
    laplace, cast = name == "gaussian_laplace", call.options.cast
    truncated = call.dtype.kind in "biu" and cast == "truncate"
    terms = [gaussian_term(axes, {a.axis: 2}, dtype, call.dtype, cast) for a in axes]
    whole = call.with_terms(terms, derivative=True)
    if not axes or (laplace and (len(axes) == 1 or (len({a.mode for a in axes}) == 1 and not truncated))):
        return whole
    # In these cases SciPy's definition matters: each derivative uses the mode of its own axis for all axes.
    same = call.dtype if laplace and (truncated or call.dtype.kind not in "biu") else None
    part_type = magnitude_type(dtype, call.dtype) if same is None else same
    shared = {**call.arguments, "truncate": truncate, "radius": radius, "output": part_type}
    parts = []
    for a in axes:
        order = [(2 if laplace else 1) * (b is a) for b in axes]
        part = gaussian_call("gaussian_filter", {**shared, "order": order, "mode": a.mode}, shape, dtype)
        parts.append(replace(part, operation=name))
    return replace(whole, terms=(), parts=tuple(parts), join=_sum if laplace else _length)


def _sum(call: FilterCall, parts: Iterable[Array], x: Array, output: Any) -> Array:
    """Add up second derivatives to a Laplacian, and store it as `output` requires."""
    from ..execution import elementwise

    total = functools.reduce(elementwise.add, parts)
    return elementwise.stored(total, output, call.dtype, x, call.options.cast)


def _length(call: FilterCall, parts: Iterable[Array], x: Array, output: Any) -> Array:
    """Compute the magnitude of the gradient with these parts, and store it as `output` requires."""
    whole = call.dtype.kind in "biu" and call.options.cast == "truncate"
    total = magnitude(parts, whole=whole, workers=call.options.workers)
    if output is None and total.dtype == call.dtype:
        return total
    from ..execution import elementwise

    return elementwise.stored(total, output, call.dtype, x, call.options.cast)


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
    {input}
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

    {returns}

    {raises}

    Notes
    -----
    For an integer result and ``cast="truncate"``, each second derivative is truncated before the sum, as in SciPy;
    ``cast="saturate"`` rounds the sum once. If the modes of the axes differ, the second derivative along an axis
    uses the mode of that axis for all axes, as in SciPy.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> numbasep.gaussian_laplace(np.arange(20.0) ** 2, 1.0)[8:10].round(2)
    array([1.99, 1.99])
    """
    return run(derivatives_call, "gaussian_laplace", locals())


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
    {input}
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

    {returns}

    {raises}

    Notes
    -----
    Only `axes` are smoothed and differentiated; SciPy, given fewer axes than the array has, smooths along
    all. Squares and their sum are computed in floating point, so that they do not wrap for narrow integers as in
    SciPy. For an integer result and ``cast="truncate"``, each derivative is truncated first, as in SciPy;
    ``cast="saturate"`` rounds the magnitude once. If the modes of the axes differ, the derivative along an axis
    uses the mode of that axis for all axes, as in SciPy.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> ramp = np.add.outer(3 * np.arange(32.0), 4 * np.arange(32.0))
    >>> numbasep.gaussian_gradient_magnitude(ramp, 2)[16, 16].round(2)
    np.float64(5.0)
    """
    return run(derivatives_call, "gaussian_gradient_magnitude", locals())


def magnitude_type(input_dtype: np.dtype[Any], output_dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of the derivatives before they are squared: single precision if it is exact for both dtypes."""
    narrow = {input_dtype.char, output_dtype.char} <= set("?bBhHefF")
    if input_dtype.kind == "c":
        return np.dtype("F" if narrow else "D")
    return np.dtype("f" if narrow else "d")


def magnitude(parts: Any, *, whole: bool, workers: int | None) -> Array:
    """Return ``sqrt(sum of squares)`` of arrays, which are overwritten; only two of them exist at a time.

    `whole` truncates the parts to integers first.  Complex parts are squared, not multiplied by their conjugates,
    as in SciPy.
    """
    from ..execution import elementwise

    total: Array | None = None
    last: Array | None = None
    for part in parts:
        if last is not None:
            total = elementwise.add_square(total, last, whole=whole, root=False, workers=workers)
        last = part
    if last is None:
        raise KernelShapeError("axes must not be empty")
    return elementwise.add_square(total, last, whole=whole, root=True, workers=workers)
