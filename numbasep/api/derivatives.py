"""Derivatives with fixed small kernels, as in `scipy.ndimage`: Sobel, Prewitt, Laplace."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.axes import integer, normalize_axes
from ..system.types import Array
from .axiswise import axis_sum, centred
from .calls import FilterCall, Given, begin, run
from .docstrings import documented
from .repeated_calls import remembered

SMOOTHING = {"sobel": [1.0, 2.0, 1.0], "prewitt": [1.0, 1.0, 1.0]}
"""Weights along all axes except that of the derivative."""


def difference_call(name: str, given: Given, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FilterCall:
    """Return the `FilterCall` of `sobel` or `prewitt`: a difference along one axis, `SMOOTHING` along others."""
    (axis,) = normalize_axes(integer("axis", given["axis"]), len(shape))
    call = begin(name, given, shape, dtype, tuple(range(len(shape))))
    modes = call.modes.items()
    return call.with_terms(
        [
            {
                a: centred(np.array([-1.0, 0.0, 1.0] if a == axis else SMOOTHING[name]), mode)
                for a, mode in modes
            }
        ]
    )


def laplace_call(name: str, given: Given, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FilterCall:
    """Return the `FilterCall` of `laplace`."""
    named = normalize_axes(given["axes"], len(shape))
    call = begin(name, given, shape, dtype, named)
    return call.with_terms(axis_sum(dict.fromkeys(named, np.array([1.0, -2.0, 1.0])), call.modes))


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
    {input}
    axis : int, optional
        Axis of the derivative.
    {output}
    {modes}
    {cval}
    {keywords}

    {returns}

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
    return run(difference_call, "sobel", locals())


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
    {input}
    axis : int, optional
        Axis of the derivative.
    {output}
    {modes}
    {cval}
    {keywords}

    {returns}

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
    return run(difference_call, "prewitt", locals())


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
    {input}
    {output}
    {modes}
    {cval}
    {axes}
    {keywords}

    {returns}

    {raises}

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> numbasep.laplace(np.arange(5.0) ** 2)
    array([ 1.,  2.,  2.,  2., -7.])
    """
    return run(laplace_call, "laplace", locals())
