"""Comparison of filter calls with the oracle, within the error bound of the plan."""

from __future__ import annotations

from typing import Any

import numpy as np

import numbasep as nsp
from tests.support import oracle
from tests.support.strategies import Call


def expected(call: Call, **options: Any) -> np.ndarray:
    """Return the oracle's result of a call of `convolve` or `correlate`."""
    return getattr(oracle, call.operation)(call.x, call.weights, **call.arguments, **options)


def plan_of(call: Call, **options: Any) -> nsp.planner.Plan:
    """Return the plan of a call."""
    return nsp.plan(
        call.weights, call.x.shape, call.x.dtype, operation=call.operation, **call.arguments, **options
    )


def slack(call: Call, error_bound: float) -> float:
    """Return the absolute error that a bound allows: relative to ``||K||_1 max|x|``, with `cval` if it is used."""
    modes = (call.mode,) if isinstance(call.mode, str) else call.mode
    continued = any(oracle.SYNONYMS.get(mode, mode) in ("constant", "full") for mode in modes)
    return error_bound * oracle.norm(call.weights) * oracle.largest(call.x, call.cval if continued else 0.0)


def judge(call: Call, got: np.ndarray, error_bound: float, cast: str = "truncate") -> None:
    """Check that `got` is the oracle's result within the bound, stored in its dtype, without any other tolerance."""
    __tracebackhide__ = True
    oracle.assert_close(got, expected(call), slack(call, error_bound), cast)


def run(call: Call, **options: Any) -> np.ndarray:
    """Run the call."""
    return getattr(nsp, call.operation)(call.x, call.weights, **call.arguments, **options)
