"""Convolution and correlation with any kernel, dense or given axis by axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import execute
from ..arrays import as_input, result_dtype
from ..dispatch import dispatched
from ..planner import Plan
from ..problem import DEFAULT_OPTIONS, KernelShapeError, Options, first_tap, integer, normalize_axes, per_axis
from .build import Taps, as_weights, kept_dense_plan, plans, term_plan
from .missing import check_missing, filter_missing

Array = npt.NDArray[Any]


def make_options(
    method: str, rtol: float | None, workers: int | None, device: str | None, cast: str
) -> Options:
    """The shared keywords, checked; the defaults without a new object."""
    if method == "auto" and rtol is None and workers is None and device is None and cast == "truncate":
        return DEFAULT_OPTIONS
    return Options(method, rtol, workers, device, cast)


def check_cval(cval: Any, *, complex_data: bool) -> complex:
    """`cval` as a number that the data can hold."""
    if isinstance(cval, (int, float)):
        return cval
    if np.iscomplexobj(cval) and not complex_data:
        raise ValueError(f"Cannot provide a complex-valued cval when the input is real, got cval={cval!r}")
    try:
        return complex(cval)
    except (TypeError, ValueError):
        raise TypeError(f"cval must be a number, got {cval!r}") from None


def filter_dense(
    input: npt.ArrayLike, weights: npt.ArrayLike, output: Any, mode: Any, cval: Any, origin: Any, axes: Any,
    *, flip: bool, options: Options, nan_policy: str, mask: Any,
) -> Array:  # fmt: skip
    """Filter with a dense kernel: the common body of `convolve` and `correlate`."""
    x = as_input(input)
    kernel = np.asarray(weights)
    is_complex = x.dtype.kind == "c"
    dtype = result_dtype(output, x.dtype, complex_result=is_complex or kernel.dtype.kind == "c")
    cval = check_cval(cval, complex_data=is_complex)

    def make_plan(input_dtype: np.dtype[Any], output_dtype: np.dtype[Any], cval: complex) -> Plan:
        return kept_dense_plan(
            kernel, x.shape, input_dtype, output_dtype, axes=axes, mode=mode, cval=cval, origin=origin,
            flip=flip, options=options,
        )  # fmt: skip

    if nan_policy == "propagate" and mask is None:
        return execute.filter_array(make_plan(x.dtype, dtype, cval), x, output)
    return filter_missing(
        x, output, dtype, cval=cval, nan_policy=nan_policy, mask=check_missing(nan_policy, mask, x.shape),
        weight=complex(kernel.sum()), l1=float(np.abs(kernel).sum()), make_plan=make_plan, cast=options.cast,
    )  # fmt: skip


def filter_terms(
    input: npt.ArrayLike, terms: Sequence[Mapping[int, Taps]], output: Any, modes: Mapping[int, Any], cval: Any,
    *, options: Options, nan_policy: str, mask: Any, operation: str, divisor: float = 1.0,
    remember: Callable[[Plan], None] | None = None,
) -> Array:  # fmt: skip
    """Filter with a sum of separable terms: the common body of everything that is given axis by axis.

    `remember` is told the plan of a call that runs it as it is.
    """
    x = as_input(input)
    is_complex = x.dtype.kind == "c"
    complex_taps = any(taps.weights.dtype.kind == "c" for term in terms for taps in term.values())
    dtype = result_dtype(output, x.dtype, complex_result=is_complex or complex_taps)
    cval = check_cval(cval, complex_data=is_complex)
    written = tuple(
        tuple((axis, taps.first, taps.weights.dtype, taps.weights.tobytes()) for axis, taps in term.items())
        for term in terms
    )
    frozen = (written, tuple(modes.items()), x.shape, operation, divisor, options)

    def make_plan(input_dtype: np.dtype[Any], output_dtype: np.dtype[Any], cval: complex) -> Plan:
        return plans.get(
            (input_dtype, output_dtype, cval, frozen),
            lambda: term_plan(
                terms, x.shape, input_dtype, output_dtype, modes=modes, cval=cval, options=options,
                operation=operation, divisor=divisor,
            ),
        )  # fmt: skip

    if nan_policy == "propagate" and mask is None:
        plan = make_plan(x.dtype, dtype, cval)
        if remember is not None:
            remember(plan)
        return execute.filter_array(plan, x, output)
    sums = [math.prod((taps.weights.sum() for taps in term.values()), start=1 + 0j) for term in terms]
    sizes = [math.prod(float(np.abs(taps.weights).sum()) for taps in term.values()) for term in terms]
    return filter_missing(
        x, output, dtype, cval=cval, nan_policy=nan_policy, mask=check_missing(nan_policy, mask, x.shape),
        weight=sum(sums) / divisor, l1=sum(sizes) / divisor, make_plan=make_plan, cast=options.cast,
    )  # fmt: skip


def as_taps(weights: npt.ArrayLike, name: str, origin: object, mode: object, *, flip: bool) -> Taps:
    """One-dimensional weights in canonical orientation."""
    taps = as_weights(weights, conjugate=not flip, name=name)
    if taps.ndim != 1:
        raise KernelShapeError(f"{name} must be one-dimensional, got shape {taps.shape}")
    first = 0 if mode in ("valid", "full") else first_tap(taps.size, integer("origin", origin), flip=flip)
    return Taps(np.ascontiguousarray(taps[::-1] if flip else taps), first)


def _separable(
    input: npt.ArrayLike, kernels: Any, axes: Any, output: Any, mode: Any, cval: Any, origin: Any,
    *, flip: bool, options: Options, nan_policy: str, mask: Any,
) -> Array:  # fmt: skip
    x = as_input(input)
    if isinstance(kernels, Mapping):
        if axes is not None:
            raise ValueError("axes must be None if kernels maps axes to taps")
        axes, kernels = tuple(kernels), tuple(kernels.values())
    elif isinstance(kernels, np.ndarray) and kernels.ndim == 1 and kernels.dtype.kind != "O":
        raise TypeError(
            "kernels must be a sequence of 1-D arrays or a mapping from axes to them, got one 1-D array"
        )
    kernels = tuple(kernels)
    named = normalize_axes(axes, x.ndim)
    if len(kernels) != len(named):
        raise KernelShapeError(
            f"kernels must hold one array for each of {len(named)} axes, got {len(kernels)}"
        )
    modes = dict(zip(named, per_axis("mode", mode, len(named)), strict=True))
    origins = per_axis("origin", origin, len(named))
    term = {
        axis: as_taps(taps, f"kernels[{j}]", origins[j], modes[axis], flip=flip)
        for j, (axis, taps) in enumerate(zip(named, kernels, strict=True))
    }
    operation = "separable_convolve" if flip else "separable_correlate"
    return filter_terms(
        x, [term], output, modes, cval, options=options, nan_policy=nan_policy, mask=mask, operation=operation
    )


_SHARED = """output : ndarray or dtype, optional
        Array of the result's shape to write to (it may be `input` itself), or the type of a new one.
        Default: the type of `input`, complex if the input or the kernel is.
    mode : str or sequence of str, optional
        How the input continues beyond its edges, once or for each filtered axis:
        "reflect" ``(d c b a | a b c d | d c b a)``, "mirror" ``(d c b | a b c d | c b a)``,
        "nearest" ``(a a a a | a b c d | d d d d)``, "wrap" ``(a b c d | a b c d | a b c d)``,
        "constant" ``(k k k k | a b c d | k k k k)`` with k = `cval`; or "valid", the smaller output where the
        kernel lies inside the input, and "full", the larger one wherever it touches the input, continued with
        `cval`.
    cval : scalar, optional
        Value beyond the edges in modes "constant" and "full".
    origin : int or sequence of int, optional
        Shift of the kernel's centre, in `scipy.ndimage`'s sense, once or for each filtered axis."""
_KEYWORDS = """method : {"auto", "direct", "separable", "structured", "fft"}, optional
        Route; "auto" takes the one predicted to be fastest among those that keep the promise below.
    rtol : float, optional
        Error allowed relative to ``||K||_1 max|x|``.  Default: rounding only.
    workers : int, optional
        Threads.  Default: all, see `numbasep.num_threads`.
    device : {"cpu", "cuda"}, optional
        Where to run.  Default: where the array is.
    nan_policy : {"propagate", "omit", "raise"}, optional
        "omit" leaves NaN out and rescales the weights of the valid samples; a result is NaN where less than
        1e-5 (1e-12 in double precision) of the kernel's sum falls on valid samples.
    mask : array_like of bool, optional
        True where a sample is left out in the same way.
    cast : {"truncate", "saturate"}, optional
        How results become integers: C's cast, as SciPy, or round half to even and clip, as OpenCV."""


def _documented(function: Any) -> Any:
    function.__doc__ = function.__doc__.replace("{shared}", _SHARED).replace("{keywords}", _KEYWORDS)
    return function


@dispatched
@_documented
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
) -> Array:
    """Convolve an array with a kernel, by the cheapest route that gives the same answer.

    ``out[i] = sum_j weights[j] * input[i - j + shape // 2 + origin]``, as `scipy.ndimage.convolve`.

    Parameters
    ----------
    input : array_like
        Any number of dimensions; bool, integer, float16 to float64, complex64 or complex128; any layout.
    weights : array_like
        Kernel with one axis for each filtered axis of `input`; finite.
    {shared}
    axes : int or tuple of int, optional
        Filtered axes, in the order of the axes of `weights`, `mode` and `origin`: axis j of `weights` acts on
        ``axes[j]``.  (SciPy ignores that order.)  Default: all.
    {keywords}

    Returns
    -------
    ndarray
        The result; `output` if that is an array.

    Raises
    ------
    ValueError
        An argument outside its range, a kernel that is empty, not finite or of the wrong number of
        dimensions (also a RuntimeError, which SciPy raises), an unknown mode (likewise), a forced method that
        cannot compute this.
    TypeError
        An unsupported type (also a RuntimeError).

    See Also
    --------
    plan : The same, decided once and run many times; it explains the choice.
    separable_convolve : Kernels given axis by axis.

    Notes
    -----
    Sums are taken in float32 for types that float32 holds, otherwise in float64.  The result differs from
    direct summation by no more than `Plan.error_bound` times ``||K||_1 max|x|``; integer data with integer
    kernels are exact.  NaN and infinities spread over the non-zero weights, as in direct summation.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> image = np.arange(25.0).reshape(5, 5)
    >>> numbasep.convolve(image, [[1, 0, -1], [2, 0, -2], [1, 0, -1]])[2]
    array([4., 8., 8., 8., 4.])
    """
    options = make_options(method, rtol, workers, device, cast)
    return filter_dense(
        input,
        weights,
        output,
        mode,
        cval,
        origin,
        axes,
        flip=True,
        options=options,
        nan_policy=nan_policy,
        mask=mask,
    )


@dispatched
@_documented
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
) -> Array:
    """Correlate an array with a kernel, by the cheapest route that gives the same answer.

    ``out[i] = sum_j conj(weights[j]) * input[i + j - shape // 2 - origin]``, as `scipy.ndimage.correlate`.

    Parameters
    ----------
    input : array_like
        Any number of dimensions; bool, integer, float16 to float64, complex64 or complex128; any layout.
    weights : array_like
        Kernel with one axis for each filtered axis of `input`; finite.
    {shared}
    axes : int or tuple of int, optional
        Filtered axes, in the order of the axes of `weights`, `mode` and `origin`.  Default: all.
    {keywords}

    Returns
    -------
    ndarray
        The result; `output` if that is an array.

    Raises
    ------
    ValueError, TypeError
        As `convolve`.

    See Also
    --------
    convolve : With the kernel reversed; its notes hold here, too.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> numbasep.correlate(np.array([0, 0, 1, 0, 0]), np.array([1, 2, 3]))
    array([0, 3, 2, 1, 0])
    """
    options = make_options(method, rtol, workers, device, cast)
    return filter_dense(
        input,
        weights,
        output,
        mode,
        cval,
        origin,
        axes,
        flip=False,
        options=options,
        nan_policy=nan_policy,
        mask=mask,
    )


@dispatched
@_documented
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
) -> Array:
    """Convolve an array along several axes with one 1-D kernel each, in one pass over memory.

    Equals `convolve` with the outer product of the kernels; sums between the axes are kept in floating point and
    converted to the output type once.

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

    Returns
    -------
    ndarray
        The result; `output` if that is an array.

    Raises
    ------
    ValueError, TypeError
        As `convolve`; and if the numbers of kernels and axes differ.

    Notes
    -----
    NaN and infinities spread over the whole window, zero weights included, as in SciPy's 1-D filters.

    Examples
    --------
    >>> import numpy as np, numbasep
    >>> volume = np.ones((4, 5, 6))
    >>> numbasep.separable_convolve(volume, {0: [1, 2, 1], 2: [1, 1]})[0, 0, 0]
    np.float64(8.0)
    """
    options = make_options(method, rtol, workers, device, cast)
    return _separable(
        input,
        kernels,
        axes,
        output,
        mode,
        cval,
        origin,
        flip=True,
        options=options,
        nan_policy=nan_policy,
        mask=mask,
    )


@dispatched
@_documented
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

    Returns
    -------
    ndarray
        The result; `output` if that is an array.

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
    options = make_options(method, rtol, workers, device, cast)
    return _separable(
        input,
        kernels,
        axes,
        output,
        mode,
        cval,
        origin,
        flip=False,
        options=options,
        nan_policy=nan_policy,
        mask=mask,
    )
