"""What a plan really computes, read off the image of a single sample.

Two things are checked, each where it can go wrong.  The terms of every factorization are multiplied out and compared
with every weight before a plan may use them (`numbasep.factor.form.build`): that is `Form.error`, a part of the error
bound of every plan.  The compiled kernels are run on a single sample by `Plan.verify`, which ``effort="measure"``
always calls, and by the tests for every route and type on all kernels found in practice.  An ordinary plan does not run
them: that would cost more than planning.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from numbasep import rounding
from numbasep.boundary import Boundary
from numbasep.execute import filter_array
from numbasep.planner import Plan
from numbasep.problem import Window

MOST_WORK = 1e9  # operations beyond which a check would be felt


def effective_error(plan: Plan) -> float | None:
    """Run the chosen route on one sample and compare the result, its effective kernel, with the weights.

    Parameters
    ----------
    plan : Plan
        Any plan; the route, kernel and type of its sums are what is checked.

    Returns
    -------
    float or None
        ``||K_effective - K||_1 / ||K||_1``; None if the kernel is too large to be checked in passing.

    Raises
    ------
    ArithmeticError
        If a weight is off by more than the plan's error bound allows.
    """
    problem = plan.problem
    if not problem.windows or math.prod(problem.taps) ** 2 > MOST_WORK:
        return None
    windows = tuple(
        Window(axis, 1, taps, taps, 1 - taps, Boundary.CONSTANT) for axis, taps in enumerate(problem.taps)
    )
    single = replace(
        problem, shape=(1,) * len(windows), out_shape=problem.taps, windows=windows, cval=0j,
        input_dtype=problem.compute_dtype, output_dtype=problem.compute_dtype,
    )  # fmt: skip
    operator = replace(plan.kernel)  # launches belong to one problem
    delta = np.ones(single.shape, problem.compute_dtype)
    found = filter_array(replace(plan, problem=single, kernel=operator), delta, None)
    expected = operator.weights[(slice(None, None, -1),) * len(windows)]
    off = np.abs(found.astype(np.complex128) - expected)
    l1 = float(np.abs(expected).sum())
    allowed = (plan.error_bound + 2 * rounding.unit_roundoff(problem)) * l1
    if not float(off.max()) <= allowed:
        raise ArithmeticError(
            f"{plan.method} is off by {float(off.max()):.1e} at a weight, its bound allows {allowed:.1e}: "
            "please report this kernel"
        )
    return float(off.sum()) / l1 if l1 else 0.0
