"""The common bodies of all filters: checked options, plans, gaps, and the call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import execute
from ..arrays import as_input, result_dtype
from ..axes import KernelShapeError, integer
from ..planner import PlannedFilter
from ..problem import DEFAULT_OPTIONS, Options, first_tap
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
    *, stride: Any, flip: bool, options: Options, nan_policy: str, mask: Any,
    remember: Callable[[PlannedFilter], None] | None = None,
) -> Array:  # fmt: skip
    """Filter with a dense kernel: the common body of `convolve` and `correlate`.

    `remember` is told the plan of a call that runs it as it is.
    """
    x = as_input(input)
    kernel = np.asarray(weights)
    is_complex = x.dtype.kind == "c"
    dtype = result_dtype(output, x.dtype, complex_result=is_complex or kernel.dtype.kind == "c")
    cval = check_cval(cval, complex_data=is_complex)

    def make_plan(input_dtype: np.dtype[Any], output_dtype: np.dtype[Any], cval: complex) -> PlannedFilter:
        return kept_dense_plan(
            kernel, x.shape, input_dtype, output_dtype, axes=axes, mode=mode, cval=cval, origin=origin,
            flip=flip, options=options, stride=stride,
        )  # fmt: skip

    if nan_policy == "propagate" and mask is None:
        plan = make_plan(x.dtype, dtype, cval)
        if remember is not None:
            remember(plan)
        return execute.filter_array(plan, x, output)
    return filter_missing(
        x, output, dtype, cval=cval, nan_policy=nan_policy, mask=check_missing(nan_policy, mask, x.shape),
        weight=complex(kernel.sum()), l1=float(np.abs(kernel).sum()), make_plan=make_plan, cast=options.cast,
    )  # fmt: skip


def filter_terms(
    input: npt.ArrayLike, terms: Sequence[Mapping[int, Taps]], output: Any, modes: Mapping[int, Any], cval: Any,
    *, options: Options, nan_policy: str, mask: Any, operation: str, divisor: float = 1.0,
    derivative: bool = False, strides: Mapping[int, int] | None = None,
    remember: Callable[[PlannedFilter], None] | None = None,
) -> Array:  # fmt: skip
    """Filter with a sum of separable terms: the common body of everything that is given axis by axis.

    `remember` is told the plan of a call that runs it as it is.  The weights of a `derivative` count as zero in sum: of
    a truncated Gaussian's they are not quite, and what is left is no scale.
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
    frozen = (
        written,
        tuple(modes.items()),
        x.shape,
        operation,
        divisor,
        options,
        tuple((strides or {}).items()),
    )

    def make_plan(input_dtype: np.dtype[Any], output_dtype: np.dtype[Any], cval: complex) -> PlannedFilter:
        return plans.get(
            (input_dtype, output_dtype, cval, frozen),
            lambda: term_plan(
                terms, x.shape, input_dtype, output_dtype, modes=modes, cval=cval, options=options,
                operation=operation, divisor=divisor, strides=strides,
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
        weight=0j if derivative else sum(sums) / divisor, l1=sum(sizes) / divisor, make_plan=make_plan,
        cast=options.cast,
    )  # fmt: skip


def as_taps(weights: npt.ArrayLike, name: str, origin: object, mode: object, *, flip: bool) -> Taps:
    """One-dimensional weights in canonical orientation."""
    taps = as_weights(weights, conjugate=not flip, name=name)
    if taps.ndim != 1:
        raise KernelShapeError(f"{name} must be one-dimensional, got shape {taps.shape}")
    first = 0 if mode in ("valid", "full") else first_tap(taps.size, integer("origin", origin), flip=flip)
    return Taps(np.ascontiguousarray(taps[::-1] if flip else taps), first)
