"""`Plan.verify`: the weights that a plan really applies, from its response to a single sample.

Factorizations and compiled kernels are checked separately.  The terms of every factorization are multiplied out and
compared with every weight before a plan uses them (`numbasep.factor.form.build`); their `Form.error` is a part of the
error bound.  `Plan.verify` runs the compiled kernels on a single sample.  ``effort="measure"`` always calls it, and the
tests do so for every route and dtype on all kernels found in practice.  Other plans do not, as this would take longer
than planning.
"""

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

MOST_WORK = 1e9  # most operations of a check; more would take noticeable time
MOST_RUNS = 64  # most calls of a check, one for each phase of the strides


def effective_error(plan: PlannedFilter) -> float | None:
    """Run the chosen route on one sample and compare its response, the effective kernel, with the weights.

    Parameters
    ----------
    plan : PlannedFilter
        Any plan; its route, kernel and compute dtype are checked.

    Returns
    -------
    float or None
        ``||K_effective - K||_1 / ||K||_1``; None if the kernel is too large for a short check.

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
    """Return the response of a plan to one sample: the reversed weights from `offsets` on, in steps of its strides."""
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
