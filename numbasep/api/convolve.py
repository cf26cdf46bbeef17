"""Convolution and correlation with any kernel, dense or given axis by axis."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.axes import KernelShapeError, dense_axes, normalize_axes, per_axis
from ..arguments.problem import make_windows
from ..system.types import Array
from .axiswise import as_taps
from .build import as_weights
from .calls import FilterCall, Given, begin, run
from .docstrings import documented
from .repeated_calls import remembered


def dense_call(name: str, given: Given, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FilterCall:
    """Return the `FilterCall` of `convolve` or `correlate`."""
    flip = name == "convolve"
    axes, mode, origin, stride = dense_axes(
        given["axes"], len(shape), given["mode"], given["origin"], given.get("stride", 1)
    )
    kernel = as_weights(given["weights"], conjugate=not flip)
    if kernel.ndim != len(axes):
        raise KernelShapeError(
            f"weights.ndim ({kernel.ndim}) must match len(axes) ({len(axes)}): "
            "one kernel axis for each filtered axis of the input"
        )
    windows = make_windows(shape, axes, kernel.shape, mode, origin, flip=flip, stride=stride)
    kernel = np.ascontiguousarray(kernel[(slice(None, None, -1),) * kernel.ndim] if flip else kernel)
    kernel.flags.writeable = False
    ascending = {**given, "axes": axes, "mode": mode, "origin": origin, "stride": stride}
    ascending["weights"] = np.array(given["weights"])  # a copy, as the caller may change the array
    call = begin(name, ascending, shape, dtype, axes, complex_kernel=kernel.dtype.kind == "c")
    return replace(call, windows=windows, kernel=kernel)


def axiswise_call(name: str, given: Given, shape: tuple[int, ...], dtype: np.dtype[Any]) -> FilterCall:
    """Return the `FilterCall` of `separable_convolve` or `separable_correlate`."""
    axes, kernels = given["axes"], given["kernels"]
    if isinstance(kernels, Mapping):
        if axes is not None:
            raise ValueError("axes must be None if kernels maps axes to taps")
        axes, kernels = tuple(kernels), tuple(kernels.values())
    elif not np.iterable(kernels) or (
        isinstance(kernels, np.ndarray) and kernels.ndim == 1 and kernels.dtype.kind != "O"
    ):
        got = "one 1-D array" if np.iterable(kernels) else repr(kernels)
        raise TypeError(f"kernels must be a sequence of 1-D arrays or a mapping from axes to them, got {got}")
    kernels, named = tuple(kernels), normalize_axes(axes, len(shape))
    if len(kernels) != len(named):
        raise KernelShapeError(
            f"kernels must hold one array for each of {len(named)} axes, got {len(kernels)}"
        )
    modes, origins = (
        per_axis("mode", given["mode"], len(named)),
        per_axis("origin", given["origin"], len(named)),
    )
    term = {
        axis: as_taps(taps, f"kernels[{j}]", origins[j], modes[j], flip=name == "separable_convolve")
        for j, (axis, taps) in enumerate(zip(named, kernels, strict=True))
    }
    is_complex = any(taps.weights.dtype.kind == "c" for taps in term.values())
    return begin(name, given, shape, dtype, named, complex_kernel=is_complex).with_terms([term])


@remembered
@documented
def convolve(
    input: npt.ArrayLike,
    weights: npt.ArrayLike,
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
    """Convolve an array with a kernel, by the fastest route that gives the same result.

    ``out[i] = sum_j weights[j] * input[i - j + shape // 2 + origin]``, as `scipy.ndimage.convolve`.

    Parameters
    ----------
    {input}
    weights : array_like
        Kernel with one axis for each filtered axis of `input`; finite.
    {shared}
    {dense_axes}
    {keywords}
    {stride}

    {returns}

    Raises
    ------
    ValueError
        If an argument is out of range, the kernel is empty, not finite or has a wrong number of dimensions (also
        a RuntimeError, as in SciPy), the mode is unknown (likewise), or `method` cannot compute the filter.
    TypeError
        If a dtype is not supported (also a RuntimeError).

    See Also
    --------
    plan : Choose the route once, print it, and filter many arrays.
    separable_convolve : Kernels given axis by axis.

    Notes
    -----
    Sums are computed in float32 for dtypes whose values are exact in float32, else in float64.  The result differs
    from direct summation by at most `Plan.error_bound` times ``||K||_1 max|x|``; integer data with integer
    kernels are exact.  NaN and infinities affect the results whose non-zero weights reach them, as in direct
    summation.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> image = np.arange(25.0).reshape(5, 5)
    >>> numbasep.convolve(image, [[1, 0, -1], [2, 0, -2], [1, 0, -1]])[2]
    array([4., 8., 8., 8., 4.])
    """
    return run(dense_call, "convolve", locals())


@remembered
@documented
def correlate(
    input: npt.ArrayLike,
    weights: npt.ArrayLike,
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
    """Correlate an array with a kernel, by the fastest route that gives the same result.

    ``out[i] = sum_j conj(weights[j]) * input[i + j - shape // 2 - origin]``, as `scipy.ndimage.correlate`.

    Parameters
    ----------
    {input}
    weights : array_like
        Kernel with one axis for each filtered axis of `input`; finite.
    {shared}
    {dense_axes}
    {keywords}
    {stride}

    {returns}

    Raises
    ------
    ValueError, TypeError
        As `convolve`.

    See Also
    --------
    convolve : With the kernel reversed; its notes apply here, too.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> numbasep.correlate(np.array([0, 0, 1, 0, 0]), np.array([1, 2, 3]))
    array([0, 3, 2, 1, 0])
    """
    return run(dense_call, "correlate", locals())


@remembered
@documented
def separable_convolve(
    input: npt.ArrayLike,
    kernels: Any,
    *,
    axes: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    method: str = "auto",
    rtol: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    nan_policy: str = "propagate",
    mask: Any = None,
    cast: str = "truncate",
    stride: Any = 1,
) -> Array:
    """Convolve an array along several axes with one 1-D kernel each, in one pass over memory.

    Equals `convolve` with the outer product of the kernels.  Sums between the axes stay in floating point and are
    converted to the output dtype once.

    Parameters
    ----------
    input : array_like
        As `convolve`.
    kernels : sequence of array_like, or mapping from int to array_like
        1-D weights, one for each filtered axis.
    axes : int or tuple of int, optional
        Filtered axes, in the order of `kernels`, `mode` and `origin`.  Default: all, or the keys of `kernels`.
    {shared}
    {keywords}
    {stride}

    {returns}

    Raises
    ------
    ValueError, TypeError
        As `convolve`, and if the numbers of kernels and axes differ.

    Notes
    -----
    NaN and infinities affect all results whose window contains them, even under zero weights, as in SciPy.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> volume = np.ones((4, 5, 6))
    >>> numbasep.separable_convolve(volume, {0: [1, 2, 1], 2: [1, 1]})[0, 0, 0]
    np.float64(8.0)
    """
    return run(axiswise_call, "separable_convolve", locals())


@remembered
@documented
def separable_correlate(
    input: npt.ArrayLike,
    kernels: Any,
    *,
    axes: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    method: str = "auto",
    rtol: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    nan_policy: str = "propagate",
    mask: Any = None,
    cast: str = "truncate",
    stride: Any = 1,
) -> Array:
    """Correlate an array along several axes with one 1-D kernel each, in one pass over memory.

    Equals `correlate` with the outer product of the kernels.

    Parameters
    ----------
    input : array_like
        As `convolve`.
    kernels : sequence of array_like, or mapping from int to array_like
        1-D weights, one for each filtered axis.
    axes : int or tuple of int, optional
        Filtered axes, in the order of `kernels`, `mode` and `origin`.  Default: all, or the keys of `kernels`.
    {shared}
    {keywords}
    {stride}

    {returns}

    Raises
    ------
    ValueError, TypeError
        As `separable_convolve`.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> numbasep.separable_correlate(np.eye(3), [[0, 0, 1], [1, 0, 0]], mode="constant")
    array([[0., 0., 1.],
           [0., 0., 0.],
           [0., 0., 0.]])
    """
    return run(axiswise_call, "separable_correlate", locals())
