"""Values that floating point handles badly: NaN, infinities, denormals, huge and tiny scales, signed zeros, spikes."""

from typing import Any

import numpy as np
import pytest

import numbasep as nsp
from numbasep.execution import execute
from numbasep.planning.routes import ROUTES
from tests.support import oracle

METHODS = (*ROUTES, "auto")
TAPS = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
KERNELS = {
    "separable": np.outer(TAPS, TAPS),
    "box": np.ones((7, 7)),
    "holes": np.outer([1, 0, 0, 1], [1, 0, 2, 0, 1]).astype(float),
    "disk": (np.hypot(*np.mgrid[-8:9, -8:9]) <= 8.5) / 225.0,
    "dense": np.random.default_rng(5).random((25, 25)),
}


def filtered(x: np.ndarray, kernel: np.ndarray, method: str) -> tuple[np.ndarray, float]:
    """The result and its bound; skips where the method refuses."""
    try:
        plan = nsp.plan(kernel, x.shape, x.dtype, method=method)
    except ValueError:
        pytest.skip(f"{method} does not compute this kernel")
    applied = execute.applicable(plan, x, ignore_nan=False)
    return plan(x), applied.error_bound * oracle.norm(kernel)


@pytest.mark.thinned
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", KERNELS)
def test_footprint_is_that_of_direct_summation(name: str, method: str, value: float) -> None:
    x = np.random.default_rng(0).normal(size=(60, 70)).astype(np.float32)
    x[30, 33] = value
    x[2, 68] = -value
    got, slack = filtered(x, KERNELS[name], method)
    oracle.assert_close(got, oracle.convolve(x, KERNELS[name]), slack * oracle.largest(x))


@pytest.mark.thinned
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [("float64", 1e300), ("float64", 1e-300), ("float64", 5e-324), ("float32", 1e30), ("float32", 1e-30),
     ("float32", 1e-40), ("float16", 1e-6)],
)  # fmt: skip
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["separable", "disk", "dense"])
def test_any_scale(name: str, method: str, dtype: str, scale: float) -> None:
    kernel = KERNELS[name] / KERNELS[name].sum()
    x = (np.random.default_rng(0).normal(size=(50, 40)) * scale).astype(dtype)
    got, slack = filtered(x, kernel, method)
    smallest = float(np.finfo(np.float64 if dtype == "float64" else np.float32).smallest_subnormal)
    allowed = slack * oracle.largest(x) + kernel.size * smallest  # each product rounds to a denormal
    oracle.assert_close(got, oracle.convolve(x, kernel), allowed)


@pytest.mark.parametrize("method", METHODS)
def test_sums_that_overflow_are_infinite_where_direct_summation_is(method: str) -> None:
    x = np.ones((40, 50), np.float32)
    x[20, 20] = 3e38
    x[20, 22] = 3e38
    got, _ = filtered(x, KERNELS["box"], method)
    with np.errstate(over="ignore"):
        expected = oracle.convolve(x, KERNELS["box"]).astype(np.float32)
    np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))
    assert not np.isnan(got).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["separable", "disk", "dense"])
def test_a_spike_raises_no_error_elsewhere_beyond_the_bound(name: str, method: str) -> None:
    kernel = KERNELS[name]
    x = np.random.default_rng(3).random((90, 80), dtype=np.float32)
    x[40, 40] = 1e4
    got, slack = filtered(x, kernel, method)
    oracle.assert_close(got, oracle.convolve(x, kernel), slack * 1e4)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("method", ["direct", "separable"])
def test_zeros_stay_zeros(dtype: str, method: str) -> None:
    x = np.full((20, 30), -0.0).astype(dtype)
    got = nsp.convolve(x, KERNELS["separable"], method=method)
    assert (got == 0).all()


def test_identity_keeps_every_bit_pattern_of_numbers() -> None:
    x = np.array(
        [[0.0, 1e-45, 3e38, np.inf, -np.inf, 1.5], [np.nan, 1e-38, -7.0, 2.0**-149, 0.1, 0.0]], np.float32
    )
    np.testing.assert_array_equal(nsp.convolve(x, np.ones((1, 1))), x)
    np.testing.assert_array_equal(nsp.convolve1d(x, [0, 1, 0][1:2]), x)


@pytest.mark.parametrize("weight", [1e300, 1e-300, 1e30, 1e-30])
def test_kernels_of_any_scale(weight: float) -> None:
    kernel: Any = KERNELS["separable"] * weight
    x = np.random.default_rng(0).normal(size=(30, 30))
    plan = nsp.plan(kernel, x.shape, x.dtype)
    oracle.assert_close(
        plan(x), oracle.convolve(x, kernel), plan.error_bound * oracle.norm(kernel) * oracle.largest(x)
    )
