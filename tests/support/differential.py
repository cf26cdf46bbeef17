"""A call beside what it should give in float64, compared within the bounds that the plans it ran certify."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from numbasep.execution import execute
from tests.support import oracle, strategies

METHODS = ("auto", *strategies.METHODS)
OUTPUTS = (*strategies.INTEGERS, *strategies.FLOATS)


@dataclass
class Case:
    """A call, what it should give in float64 or complex128, and how the result is stored."""

    name: str
    x: np.ndarray
    run: Callable[..., np.ndarray]
    """Takes output, method, cast, workers."""
    expected: Callable[[], Any]
    """The result; or several, each of which is truncated before they are added (`truncated_terms`)."""
    cval: float = 0.0
    slack: Callable[[float], Any] = lambda bound: bound
    """Absolute error that is allowed, one or for each element, by what the plans certify."""
    methods: tuple[str, ...] = METHODS
    outputs: tuple[str, ...] = OUTPUTS
    truncated_terms: bool = False
    """SciPy's definition of some derivatives in integers."""
    rounded: Callable[[Any], Any] = lambda _dtype: 0.0
    """Error of what is by definition stored in the type of the result before the last step."""

    def __repr__(self) -> str:
        return f"{self.name} on {self.x.dtype.str}{self.x.shape} strides {self.x.strides}"


@contextlib.contextmanager
def certified(cval: float) -> Iterator[list[float]]:
    """Collect the absolute error bound of every plan that is run."""
    bounds: list[float] = []
    run = execute.filter_array

    def recorded(plan: Any, x: np.ndarray, output: Any, normal: Any = None) -> np.ndarray:
        if plan.problem.windows and x.size:
            largest = oracle.largest(x, max(abs(cval), abs(plan.problem.cval)))
            native = np.ascontiguousarray(x, x.dtype.newbyteorder("="))
            applied = execute.applicable(plan, native, ignore_nan=normal is not None)
            bounds.append(applied.error_bound * oracle.norm(plan.kernel.weights) * largest)
        return run(plan, x, output, normal)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "filter_array", recorded)
        yield bounds


def check(case: Case, output: Any, method: str, cast: str, workers: int | None) -> None:
    """Run a case and compare; a method that refuses is replaced by "auto"."""
    __tracebackhide__ = True
    before = case.x.copy()
    with np.errstate(invalid="ignore", over="ignore"):
        terms = case.expected()
        with certified(case.cval) as bounds:
            try:
                got = case.run(output=output, method=method, cast=cast, workers=workers)
            except ValueError as error:
                if "cannot compute this" not in str(error):
                    raise
                bounds.clear()
                got = case.run(output=output, method="auto", cast=cast, workers=workers)
        if output is None or isinstance(output, str) or not np.shares_memory(output, case.x):
            np.testing.assert_array_equal(case.x, before, err_msg="the input was written to")
        apart = case.truncated_terms and got.dtype.kind in "iu" and cast == "truncate"
        expected = (
            terms if isinstance(terms, list) and apart else sum(terms) if isinstance(terms, list) else terms
        )
        if got.dtype == bool:
            return
        slack = case.slack(sum(bounds))
        compute = np.float32 if np.result_type(case.x.dtype, got.dtype).itemsize <= 4 else np.float64
        scale = oracle.largest(sum(expected) if isinstance(expected, list) else expected)
        slack = (
            slack + 4 * float(np.finfo(compute).eps) * scale
        )  # the reference's rounding; roots and quotients
        if compute == np.float64:
            slack = slack * 2  # the reference sums in float64, too, within the same bound
        stored = case.rounded(got.dtype) if got.dtype.kind == "f" else 0.0
        oracle.assert_close(got, expected, slack + stored, cast)
