"""`Plan.verify`: the weights that a plan applies, read off the response to a single sample.

Two things are checked, each where it can go wrong.  The terms of every factorization are multiplied out and compared
with every weight before a plan may use them (`numbasep.factor.form.build`): that is `Form.error`, a part of the error
bound of every plan.  The compiled kernels are run on a single sample by `Plan.verify`, which ``effort="measure"``
always calls, and by the tests for every route and type on all kernels found in practice.  An ordinary plan does not run
them: that would cost more than planning.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments.boundary import Boundary
from ..arguments.problem import Window
from ..execution.execute import filter_array
from ..planning import rounding
from ..planning.planner import PlannedFilter

MOST_WORK = 1e9  # operations beyond which a check would be felt
MOST_RUNS = 64  # and calls, one for each phase of the strides


def effective_error(plan: PlannedFilter) -> float | None:
    """Run the chosen route on one sample and compare the result, its effective kernel, with the weights.

    Parameters
    ----------
    plan : PlannedFilter
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
    problem, chosen = plan.problem, plan.choice.chosen
    phases = [range(min(window.step, window.taps)) for window in problem.windows]
    runs = math.prod(map(len, phases))
    if not problem.windows or math.prod(problem.taps) ** 2 > MOST_WORK or runs > MOST_RUNS:
        return None
    found = np.empty(problem.taps, problem.compute_dtype)
    for offsets in itertools.product(*phases):
        places = tuple(slice(o, None, step) for o, step in zip(offsets, problem.steps, strict=True))
        found[places] = _seen(plan, offsets)
    expected = plan.kernel.weights[(slice(None, None, -1),) * len(phases)]
    off = np.abs(found.astype(np.complex128) - expected)
    l1 = float(np.abs(expected).sum())
    allowed = (chosen.error_bound + 2 * rounding.unit_roundoff(problem)) * l1
    if not float(off.max()) <= allowed:
        raise ArithmeticError(
            f"{chosen.method} is off by {float(off.max()):.1e} at a weight, its bound allows {allowed:.1e}: "
            "please report this kernel"
        )
    return float(off.sum()) / l1 if l1 else 0.0


def _seen(plan: PlannedFilter, offsets: tuple[int, ...]) -> NDArray[Any]:
    """What a plan makes of one sample, beginning with the weights at `offsets`; with strides, in these."""
    problem = plan.problem
    windows = tuple(
        Window(axis, 1, -(-(w.taps - o) // w.step), w.taps, 1 - w.taps + o, Boundary.CONSTANT, w.step)
        for axis, (w, o) in enumerate(zip(problem.windows, offsets, strict=True))
    )
    single = replace(
        problem, shape=(1,) * len(windows), out_shape=tuple(window.out_size for window in windows), windows=windows,
        cval=0j, input_dtype=problem.compute_dtype, output_dtype=problem.compute_dtype,
    )  # fmt: skip
    operator = replace(plan.kernel)  # launches belong to one problem
    delta = np.ones(single.shape, problem.compute_dtype)
    return filter_array(replace(plan, problem=single, kernel=operator), delta, None)
