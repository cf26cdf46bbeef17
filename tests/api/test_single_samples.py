"""Axes of one sample: the boundary or the window leaves one weight, and the results are those of the whole kernel."""

import functools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import numbasep as nsp
from numbasep.api import build
from numbasep.api.calls import FilterCall
from tests.support import oracle, referee

MODES = ("reflect", "mirror", "nearest", "wrap", "constant")
SHAPES = ((1, 40), (40, 1), (1, 1), (1,), (6, 1, 9), (1, 12, 13), (12, 13, 1), (1, 1, 30), (2, 1, 7, 1))
rng = np.random.default_rng(26)


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> set[bool]:
    """Whether plans filter fewer axes than their calls."""
    seen: set[bool] = set()
    own = FilterCall.planner

    def planner(call: FilterCall, **keywords: Any) -> Any:
        make = own(call, **keywords)

        def planned(*arguments: Any) -> Any:
            plan = make(*arguments)
            seen.add(len(plan.problem.windows) < len(call.windows))
            return plan

        return planned

    monkeypatch.setattr(FilterCall, "planner", planner)
    return seen


def sample(shape: tuple[int, ...], dtype: str) -> Any:
    if np.dtype(dtype).kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    return (rng.random(shape) * 90).astype(dtype)


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "complex64"])
@pytest.mark.parametrize("cval", [0.0, 2.5])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_any_kernel(shape: tuple[int, ...], mode: str, cval: float, dtype: str) -> None:
    x = sample(shape, dtype)
    for weights in (
        rng.random((3, 4, 5, 2)[-len(shape) :]),
        rng.standard_normal((5, 3, 2, 3)[-len(shape) :]),
    ):
        for origin in (0, -1):
            output = "float64" if dtype == "uint8" else dtype
            got = nsp.correlate(x, weights, output, mode, cval, origin)
            expected = oracle.correlate(x, weights, mode=mode, cval=cval, origin=origin)
            slack = 1e-6 if np.dtype(output).char in "fF" else 1e-14
            oracle.assert_close(
                got, expected, slack * weights.size * oracle.largest(x, cval) * oracle.norm(weights)
            )


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "name", ["gaussian_filter", "uniform_filter", "sobel", "prewitt", "laplace", "gaussian_laplace"]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_filters_of_scipy(shape: tuple[int, ...], name: str, mode: str, dropped: set[bool]) -> None:
    x = rng.standard_normal(shape)
    parameters = {"gaussian_filter": (1.5,), "uniform_filter": (3,), "gaussian_laplace": (1.2,)}.get(name, ())
    got = getattr(nsp, name)(x, *parameters, mode=mode)
    np.testing.assert_allclose(got, getattr(ndimage, name)(x, *parameters, mode=mode), atol=1e-13)
    if name == "gaussian_filter" and 1 in shape and max(shape) > 1:
        assert dropped == {True}


@pytest.mark.parametrize("mode", MODES)
def test_infinities_where_signs_differ(mode: str) -> None:
    x = np.ones((1, 9))
    x[0, 4] = np.inf
    for taps in ([1.0, 2, 1], [1.0, -3, 1], [1.0, 0, 1], [-1.0, -2, -4]):
        weights = np.outer(taps, [1.0, 2, 3])
        for got, every in (
            (nsp.correlate(x, weights, mode=mode), False),
            (nsp.separable_correlate(x, [taps, [1.0, 2, 3]], mode=mode), True),
        ):
            with np.errstate(invalid="ignore"):
                expected = oracle.correlate(x, weights, mode=mode, every_tap=every)
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (9, 8, 1)])
def test_missing_samples(shape: tuple[int, ...], mode: str) -> None:
    x = rng.random(shape) + 1
    mask = rng.random(shape) < 0.3
    holes = np.where(mask, np.nan, x)
    taps = [1.0, 2, 3, 2, 1]
    weights = oracle.outer([np.array(taps)] * len(shape))
    for cval in (0.0, 3.0):
        total = oracle.correlate(np.where(mask, 0, x), weights, mode=mode, cval=cval)
        share = oracle.correlate((~mask).astype(float), weights, mode=mode, cval=1.0)
        with np.errstate(invalid="ignore"):
            expected = np.where(share > 1e-12 * weights.sum(), total / share * weights.sum(), np.nan)
        for got in (
            nsp.correlate(holes, weights, mode=mode, cval=cval, nan_policy="omit"),
            nsp.separable_correlate(x, [taps] * len(shape), mode=mode, cval=cval, mask=mask),
        ):
            np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_integers_strides_and_bounds() -> None:
    x = rng.integers(0, 256, (1, 30, 1), dtype=np.uint8)
    weights = rng.integers(0, 5, (3, 5, 4))
    plan = nsp.plan(weights, x.shape, x.dtype, output=np.int64, mode="wrap")
    assert plan.exact
    np.testing.assert_array_equal(
        plan(x), oracle.correlate(x, weights[::-1, ::-1, ::-1], mode="wrap", origin=(0, 0, -1))
    )
    got = nsp.correlate(x, weights, np.int64, "nearest", stride=(2, 3, 1))
    np.testing.assert_array_equal(got, oracle.correlate(x, weights, mode="nearest")[::2, ::3])
    assert nsp.plan(np.ones((3, 3)) / 9, (1, 50), np.float64).verify() <= 1e-15


def test_weights_are_rounded_once_and_may_be_huge() -> None:
    x = np.ones((1, 1, 1, 5))
    for taps in (np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.7, 0.1, 0.9])):
        exact = math.prod([sum(map(Fraction, taps))] * 3)
        one = nsp.separable_correlate(x, [taps] * 3 + [[1.0]])[0, 0, 0, 0]
        assert one == float(exact)
        dense = functools.reduce(np.multiply.outer, [taps] * 3 + [np.ones(1)])
        assert nsp.correlate(x, dense)[0, 0, 0, 0] == math.fsum(dense.ravel())
    huge = np.full((3, 2), 1e308)
    with np.errstate(over="ignore"):
        assert np.isinf(nsp.correlate(x[0, 0], huge)).all()


@pytest.mark.jitoff
@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 1, 1)])
def test_sums_rounded_to_an_integer_are_not_taken_to_be_exact(shape: tuple[int, ...]) -> None:
    """The sum of six weights of 1/6 is less than 1, though the nearest float64 is 1."""
    x = np.full(shape, 95, np.uint8)
    for kernel in (np.full((2, 3, 1)[: len(shape)], 1 / 6), np.full((3, 3, 3)[: len(shape)], 1 / 6)):
        call = referee.Call("correlate", x, kernel, "nearest", 0.0, 0, None)
        referee.judge(call, referee.run(call), referee.plan_of(call).error_bound)
    terms = [{0: build.Taps(np.full(6, 1 / 6), 0), 1: build.Taps(np.array([1.0, 2.0, 1.0]), 0)}]
    windows = build.enclosing_windows(terms, (1, 1), dict.fromkeys(range(2), "nearest"))
    rule = build.SingleSample(np.dtype(np.uint8), 0.0, missing=False)
    same, kept = build._without_axes_of_one_sample(terms, windows, rule)
    assert same is terms
    assert kept == windows


@pytest.mark.jitoff
def test_a_weight_of_zero() -> None:
    for mode in ("valid", "full", "nearest"):
        np.testing.assert_array_equal(nsp.convolve(np.array([95], np.uint8), [0.0], mode=mode), [0])


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("step", [1, 3, 40])
def test_any_strides_along_axes_of_one_sample(step: int, dtype: str) -> None:
    """NumPy allows any; a plan that was made for an array with odd ones also runs on others."""
    for shape, axes, taps in (
        ((48, 1, 1), (0, 1, 2), (9, 9, 1)),
        ((1, 4, 2, 5), (0, 2), (9, 1)),
        ((1, 4, 2, 5), (0, 2, 3), (9, 1, 4)),
        ((71, 1, 1), (0, 1), (4, 1)),
        ((5, 1, 6), (1, 2), (3, 1)),
    ):
        kernels = [rng.standard_normal(n) for n in taps]
        for order in ("C", "F"):
            x = np.array(rng.random(shape) * 90, dtype, order=order)
            expected = oracle.separable_correlate(x, kernels, "constant", 3.5, axes=axes)
            odd = [
                np.lib.stride_tricks.as_strided(
                    a,
                    shape,
                    [step * a.itemsize if n == 1 else s for n, s in zip(shape, a.strides, strict=True)],
                )
                for a in (x, np.zeros(shape, order=order))
            ]
            for one, out in ((odd[0], None), (x, None), (odd[0], odd[1]), (x, odd[1])):
                output = np.float64 if out is None else out
                got = nsp.separable_correlate(
                    one, kernels, output=output, mode="constant", cval=3.5, axes=axes
                )
                np.testing.assert_allclose(got, expected, atol=1e-9 if dtype != "float32" else 1e-3)
