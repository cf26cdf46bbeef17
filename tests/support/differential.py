"""Comparison of a call with its exact result in float64, within the error bounds of the plans that it ran."""

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
    """A call, its exact result in float64 or complex128, and how results are stored."""

    name: str
    x: np.ndarray
    run: Callable[..., np.ndarray]
    """Function of (output, method, cast, workers)."""
    expected: Callable[[], Any]
    """Function that returns the result, or a list of terms that are truncated before the sum (`truncated_terms`)."""
    cval: float = 0.0
    slack: Callable[[float], Any] = lambda bound: bound
    """Function from the total bound of the plans to the allowed absolute error, once or for each element."""
    methods: tuple[str, ...] = METHODS
    outputs: tuple[str, ...] = OUTPUTS
    truncated_terms: bool = False
    """Whether integer results are sums of truncated terms, as SciPy defines some derivatives."""
    rounded: Callable[[Any], Any] = lambda _dtype: 0.0
    """Function from the dtype to the error of intermediates that by definition have the dtype of the result."""

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
    """Run a case and compare; "auto" replaces a method that cannot compute it."""
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
        # Rounding errors of the reference, and of roots and quotients.
        slack = slack + 4 * float(np.finfo(compute).eps) * scale
        if compute == np.float64:
            slack = slack * 2  # the reference sums in float64, too, within the same bound
        stored = case.rounded(got.dtype) if got.dtype.kind == "f" else 0.0
        oracle.assert_close(got, expected, slack + stored, cast)
