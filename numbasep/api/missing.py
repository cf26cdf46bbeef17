"""Normalised convolution: missing samples are left out and the weights of the others rescaled.

``out = sum(K) * (K * (m x)) / (K * m)``, with m = 1 on valid samples and 0 on missing ones, as
`astropy.convolution.convolve` defines it for ``nan_treatment="interpolate"`` (H. Knutsson, C.-F. Westin, "Normalized and
differential convolution", CVPR 1993).  Both sums are ordinary filters, so they take the same fast routes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import execute
from ..arrays import make_output
from ..casting import store
from ..planner import Plan
from ..problem import NAN_POLICIES

Array = npt.NDArray[Any]

LEAST_WEIGHT = {4: 1e-5, 8: 1e-12}
"""By bytes of the compute type: share of the kernel's sum below which a result is NaN."""

PlanMaker = Callable[[np.dtype[Any], np.dtype[Any], complex], Plan]
"""(input dtype, output dtype, cval) -> plan"""


def check_missing(nan_policy: str, mask: Any, shape: tuple[int, ...]) -> Array | None:
    """The mask as a boolean array, or None; raises on an unknown policy or another shape."""
    if nan_policy not in NAN_POLICIES:
        raise ValueError(f"nan_policy must be one of {', '.join(map(repr, NAN_POLICIES))}, got {nan_policy!r}")
    if mask is None:
        return None
    array = np.asarray(mask)
    if array.dtype.kind not in "biu":
        raise TypeError(f"mask must be boolean, True where a sample is left out, got dtype {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"mask must have the shape of the input, {shape}, got {array.shape}")
    return array.astype(bool, copy=False)


def filter_missing(
    x: Array, output: Any, dtype: np.dtype[Any], *, cval: complex, nan_policy: str, mask: Array | None,
    weight: complex, l1: float, make_plan: PlanMaker, cast: str,
) -> Array:  # fmt: skip
    """Filter `x` without its missing samples, or after checking that there are none.

    Parameters
    ----------
    x : ndarray
        Input.
    output : ndarray, dtype or None
        As everywhere.
    dtype : numpy.dtype
        Type of the result.
    cval : complex
        Value beyond a constant boundary; it counts as valid.
    nan_policy, mask
        Which samples are missing: NaN with "omit", and wherever `mask` is True.
    weight, l1
        Sum of the kernel, and of its magnitudes.
    make_plan : callable
        Plans the same filter for other types.
    cast : {"truncate", "saturate"}
        How results become integers.

    Raises
    ------
    ValueError
        For a NaN with ``nan_policy="raise"``, and for a kernel that sums to zero: it cannot be normalised.
    """
    is_nan = np.isnan(x) if x.dtype.kind in "fc" and nan_policy != "propagate" else None
    if nan_policy == "raise" and is_nan is not None and is_nan.any():
        raise ValueError(f"input holds {int(is_nan.sum())} NaN and nan_policy='raise'")
    missing = is_nan if nan_policy == "omit" else None
    if mask is not None:
        missing = mask if missing is None else missing | mask
    if missing is None or not missing.any():
        return execute.filter_array(make_plan(x.dtype, dtype, cval), x, output)
    if abs(weight) <= 1e-9 * l1:
        raise ValueError("nan_policy='omit' and mask need a kernel whose weights do not sum to zero")
    plan = make_plan(x.dtype, dtype, cval)
    compute, real = plan.problem.compute_dtype, plan.problem.real_dtype
    filled = np.where(missing, np.zeros((), compute), x).astype(compute, copy=False)
    present = (~missing).astype(real)
    total = execute.filter_array(make_plan(compute, compute, cval), filled, None)
    share = execute.filter_array(make_plan(real, real if weight.imag == 0 else compute, 1.0), present, None) / weight
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(np.abs(share) > LEAST_WEIGHT[real.itemsize], total / share, np.nan)
    out = make_output(output, dtype, values.shape, x)
    store(values.astype(compute, copy=False), out, cast)
    return out
