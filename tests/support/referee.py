"""One judgement for every filter call: the oracle's answer, and how far from it a plan may be."""

from __future__ import annotations

from typing import Any

import numpy as np

import numbasep as nsp
from tests.support import oracle
from tests.support.strategies import Call


def expected(call: Call, **options: Any) -> np.ndarray:
    """The oracle's answer to a call of convolve or correlate."""
    return getattr(oracle, call.operation)(call.x, call.weights, **call.arguments, **options)


def plan_of(call: Call, **options: Any) -> nsp.planner.Plan:
    """The plan that the call makes."""
    return nsp.plan(
        call.weights, call.x.shape, call.x.dtype, operation=call.operation, **call.arguments, **options
    )


def slack(call: Call, error_bound: float) -> float:
    """Largest absolute error that the bound allows: relative to ||K||_1 max|x|, of the samples that exist."""
    modes = (call.mode,) if isinstance(call.mode, str) else call.mode
    continued = any(oracle.SYNONYMS.get(mode, mode) in ("constant", "full") for mode in modes)
    return error_bound * oracle.norm(call.weights) * oracle.largest(call.x, call.cval if continued else 0.0)


def judge(call: Call, got: np.ndarray, error_bound: float, cast: str = "truncate") -> None:
    """`got` is the oracle's answer within the bound, stored in its type; no other leeway."""
    __tracebackhide__ = True
    oracle.assert_close(got, expected(call), slack(call, error_bound), cast)


def run(call: Call, **options: Any) -> np.ndarray:
    """Make the call."""
    return getattr(nsp, call.operation)(call.x, call.weights, **call.arguments, **options)
