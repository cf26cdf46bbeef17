"""Normalized convolution: missing samples are left out and the remaining weights rescaled.

``out = sum(K) * (K * (m x)) / (K * m)``, with m = 1 on valid samples and 0 on missing ones, as
`astropy.convolution.convolve` defines it for ``nan_treatment="interpolate"`` (H. Knutsson, C.-F. Westin,
"Normalized and differential convolution", CVPR 1993).  For real data, one pass of the CPU kernels computes both sums
(`cpu.kernels.nan_aware`).  Complex data and FFT plans take two filters.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from ..arguments.problem import NAN_POLICIES
from ..execution import execute
from ..plans.plan import Plan
from ..system.types import Array

PlanMaker = Callable[[np.dtype[Any], np.dtype[Any], complex], Plan]
"""Function of (input dtype, output dtype, cval) that returns a plan."""


def check_missing(nan_policy: str, mask: Any, shape: tuple[int, ...]) -> Array | None:
    """Return the mask as a boolean array, or None; raise for an unknown policy or another shape."""
    if nan_policy not in NAN_POLICIES:
        allowed = ", ".join(map(repr, NAN_POLICIES))
        raise ValueError(f"nan_policy must be one of {allowed}, got {nan_policy!r}")
    if mask is None or mask is np.ma.nomask:  # that of a masked array without masked samples
        return None
    array = np.asarray(mask)
    if array.dtype.kind not in "biu":
        raise TypeError(f"mask must be boolean, True where a sample is left out, got dtype {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"mask must have the shape of the input, {shape}, got {array.shape}")
    return array.astype(bool, copy=False)


def refuse_nan(x: Array, nan_policy: str) -> None:
    """Raise a ValueError if ``nan_policy="raise"`` and there is a NaN, masked or not."""
    if nan_policy == "raise" and x.dtype.kind in "fc":
        from ..execution import elementwise

        if count := elementwise.nan_count(x):
            raise ValueError(f"input holds {count} NaN and nan_policy='raise'")


def _missing_as_nan(
    x: Array, mask: Array | None, number: np.dtype[Any], *, omit: bool, workers: int | None
) -> AbstractContextManager[Array | None]:
    """Return a context with `x` where all missing samples are NaN; None if other samples are NaN, too."""
    from ..execution import elementwise

    if mask is None:
        return nullcontext(x)
    return elementwise.missing_marked(x, mask, number, omit=omit, workers=workers)


def _cannot_normalise(x: Array, mask: Array | None, *, omit: bool) -> str:
    """Return the error message for derivatives of arrays with missing samples, with a workaround."""
    given = ["output=float"] * (x.dtype.kind in "biu")
    given += ["nan_policy='omit'"] * omit + ["mask=mask"] * (mask is not None)
    return (
        "nan_policy='omit' and mask rescale the weights of the valid samples, which needs weights that do not sum to "
        "zero: those of a derivative do. Fill the gaps first by a normalised Gaussian, then differentiate: "
        f"smooth = numbasep.gaussian_filter(x, s, {', '.join(given)}), with s large enough to reach across the gaps, "
        "then this filter on smooth, without nan_policy and mask"
    )


def filter_missing(
    x: Array, output: Any, dtype: np.dtype[Any], *, cval: complex, nan_policy: str, mask: Array | None,
    weight: complex, l1: float, make_plan: PlanMaker, cast: str,
) -> Array:  # fmt: skip
    """Filter `x` with its missing samples left out, or raise for a NaN if ``nan_policy="raise"``.

    Parameters
    ----------
    x : ndarray
        Input.
    output : ndarray, dtype or None
        Array for the result, its dtype, or None.
    dtype : numpy.dtype
        Dtype of the result.
    cval : complex
        Value beyond a constant boundary, which counts as valid.
    nan_policy, mask
        Missing samples: NaN with "omit", and all where `mask` is True.
    weight, l1
        Sum of the weights, and of their magnitudes.
    make_plan : callable
        Function that plans the same filter for other dtypes.
    cast : {"truncate", "saturate"}
        Conversion of results to integers.

    Raises
    ------
    ValueError
        For a NaN with ``nan_policy="raise"``, and for weights that sum to zero, which cannot be normalised.
    """
    refuse_nan(x, nan_policy)
    omit = nan_policy == "omit" and x.dtype.kind in "fc"
    plan = make_plan(x.dtype, dtype, cval)
    if not omit and mask is None:
        return execute.filter_array(plan, x, output)
    from ..cpu.kernels.nan_aware import LEAST_WEIGHT
    from ..execution import elementwise

    problem = plan.problem
    least = LEAST_WEIGHT[problem.real_dtype.itemsize]
    vanishes = abs(weight) <= 1e-9 * l1
    if x.dtype.kind != "c" and not vanishes and problem.device != "cuda":
        with _missing_as_nan(x, mask, problem.real_dtype, omit=omit, workers=problem.workers) as marked:
            fused = plan if marked is None else make_plan(marked.dtype, dtype, cval)
            if marked is not None and execute.can_leave_out(fused):
                rounding = (
                    (fused.choice.chosen.error_bound + float(np.finfo(problem.real_dtype).eps))
                    * l1
                    / abs(weight)
                )
                return execute.filter_array(fused, marked, output, (weight.real, least, rounding))
        if mask is None:
            done = execute.filter_valid(plan, x, output, weight.real, least)
            if done is not None:
                return done
    number = np.promote_types(problem.real_dtype, np.complex64) if x.dtype.kind == "c" else problem.real_dtype
    filled, present, missing = elementwise.split_missing(x, mask, number, omit=omit, workers=problem.workers)
    if not missing:
        return execute.filter_array(plan, x, output)
    if vanishes:
        raise ValueError(_cannot_normalise(x, mask, omit=omit))
    total = execute.filter_array(make_plan(number, problem.compute_dtype, cval), filled, None)
    real_kernel = weight.imag == 0 and (problem.compute_dtype.kind != "c" or x.dtype.kind == "c")
    share_dtype = problem.real_dtype if real_kernel else problem.compute_dtype
    share = execute.filter_array(make_plan(problem.real_dtype, share_dtype, 1.0), present, None)
    values = elementwise.normalise(total, share, complex(weight), least, workers=problem.workers)
    if output is None and values.dtype == dtype:
        return values
    return elementwise.stored(values, output, dtype, x, cast)
