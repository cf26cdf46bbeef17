"""plan, factorize and is_separable as a user meets them; their insides have tests of their own."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given

import numbasep as nsp
from numbasep.api import build
from numbasep.planning.routes import ROUTES
from tests.support import oracle, referee, strategies
from tests.support.strategies import Call, samples

METHODS = tuple(ROUTES)
GAUSSIAN = np.outer([1.0, 4, 6, 4, 1], [1.0, 4, 6, 4, 1]) / 256
rng = np.random.default_rng(3)


# --------------------------------------------------------------------------- plan


@given(strategies.calls(dtypes=("float32", "float64", "uint8"), max_dims=3))
def test_a_plan_gives_what_the_call_gives(call: Call) -> None:
    plan = referee.plan_of(call)
    np.testing.assert_array_equal(plan(call.x), referee.run(call))


def test_a_plan_runs_on_many_arrays() -> None:
    plan = nsp.plan(GAUSSIAN, (40, 50), np.float32, mode="wrap")
    for seed in range(3):
        x = samples("float32", (40, 50), seed)
        expected = oracle.convolve(x, GAUSSIAN, "wrap")
        out = np.empty_like(x)
        assert plan(x, out) is out
        oracle.assert_close(out, expected, plan.error_bound * oracle.largest(x))
        np.testing.assert_array_equal(plan(x), out)
        np.testing.assert_array_equal(plan(x, output=out), out)


@pytest.mark.parametrize("layout", strategies.LAYOUTS)
def test_a_plan_takes_any_layout(layout: str) -> None:
    x = strategies.LAYOUTS[layout](samples("float32", (30, 31), 1))
    plan = nsp.plan(GAUSSIAN, x.shape, x.dtype)
    got = plan(x)
    oracle.assert_close(got, oracle.convolve(x, GAUSSIAN), plan.error_bound * oracle.largest(x))


def test_the_default_operation_is_convolution() -> None:
    weights, x = rng.normal(size=(3, 4)), samples("float64", (9, 9), 1)
    np.testing.assert_allclose(nsp.plan(weights, x.shape)(x), oracle.convolve(x, weights), atol=1e-13)
    got = nsp.plan(weights, x.shape, operation="correlate")(x)
    np.testing.assert_allclose(got, oracle.correlate(x, weights), atol=1e-13)


def test_a_plan_refuses_other_arrays() -> None:
    plan = nsp.plan(GAUSSIAN, (40, 50), np.float32)
    with pytest.raises(ValueError, match="input"):
        plan(np.zeros((50, 40), np.float32))
    with pytest.raises((TypeError, ValueError), match="input"):
        plan(np.zeros((40, 50), np.float64))


def test_every_route_is_listed_with_its_price_or_its_reason() -> None:
    for weights in (GAUSSIAN, rng.normal(size=(9, 9)), np.ones((31, 31)), np.ones((1, 1))):
        for dtype in (np.uint8, np.float32, np.float64, np.complex64):
            plan = nsp.plan(weights, (1024, 1024), dtype)
            assert tuple(c.method for c in plan.candidates) == METHODS
            for candidate in plan.candidates:
                if candidate.feasible:
                    assert 0 < candidate.seconds < 1000
                    assert candidate.operations > 0
                    assert candidate.bytes > 0
                    assert 0 <= candidate.error_bound < 1e-3
                else:
                    assert candidate.reason
            chosen = next(c for c in plan.candidates if c.method == plan.method)
            assert chosen.feasible
            assert (plan.seconds, plan.error_bound, plan.rank) == (
                chosen.seconds,
                chosen.error_bound,
                chosen.rank,
            )


def test_the_choice_is_what_an_expert_would_take() -> None:
    assert nsp.plan(GAUSSIAN, (4096, 4096), np.float32).method == "separable"
    assert nsp.plan(GAUSSIAN, (4096, 4096), np.float32).rank == 1
    assert nsp.plan(rng.normal(size=(5, 5)), (4096, 4096), np.float32).method == "direct"
    assert nsp.plan(rng.normal(size=(151, 151)), (4096, 4096), np.float32, rtol=1e-4).method == "fft"
    uint8 = nsp.plan(np.outer([1, 2, 1], [-1, 0, 1]), (512, 512), np.uint8)
    assert uint8.exact
    assert uint8.error_bound == 0


def test_the_text_explains() -> None:
    text = str(nsp.plan(rng.normal(size=(9, 9)), (512, 640), np.float32, mode="mirror"))
    for word in (*METHODS, "512", "640", "float32", "9", "mirror"):
        assert word in text.lower()
    plan = nsp.plan(GAUSSIAN, (512, 640))
    reason = next(
        c.reason for c in nsp.plan(rng.normal(size=(9, 9)), (512, 640)).candidates if not c.feasible
    )
    assert reason in text
    html = plan._repr_html_()
    assert "<table" in html
    for word in METHODS:
        assert word in html
    assert "<script" not in html


def test_plans_show_their_table_at_a_prompt() -> None:
    made = nsp.plan(np.ones((3, 3)), (20, 30))
    filters = np.ones((3, 3, 2, 4), np.float32)
    layer, factors = nsp.nn.plan_conv2d((1, 8, 8, 2), filters, 1, "SAME"), nsp.nn.factorize_conv2d(filters)
    for shown in (made, made.analyze(), layer, factors):
        assert repr(shown) == str(shown)


def test_planning_is_deterministic_and_frozen() -> None:
    plans = []
    for _ in range(3):
        build.plans.clear()
        build.kernels.clear()
        plans.append(nsp.plan(GAUSSIAN, (512, 640), np.float32))
    assert len({str(p) for p in plans}) == 1
    assert len({id(p) for p in plans}) == 3
    assert nsp.plan(GAUSSIAN, (512, 640), np.float32) is plans[-1]
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError)):
        plans[0].problem = None


def test_later_changes_to_the_weights_do_not_change_the_plan() -> None:
    weights, x = GAUSSIAN.copy(), samples("float64", (20, 21), 1)
    plan = nsp.plan(weights, x.shape)
    before = plan(x)
    weights[...] = 0
    np.testing.assert_array_equal(plan(x), before)
    np.testing.assert_array_equal(nsp.convolve(x, weights), 0)


def test_measured_effort_gives_the_same_numbers() -> None:
    x = samples("float32", (200, 210), 1)
    weights = np.ones((9, 9)) + np.eye(9)
    plan = nsp.plan(weights, x.shape, x.dtype, effort="measure")
    assert plan.method in METHODS
    expected = oracle.convolve(x, weights)
    oracle.assert_close(plan(x), expected, plan.error_bound * oracle.norm(weights) * oracle.largest(x))


def test_plan_modes_that_change_the_size() -> None:
    x, weights = samples("float64", (8, 9), 1), rng.normal(size=(3, 2))
    for mode in ("valid", "full", ("valid", "wrap")):
        np.testing.assert_allclose(
            nsp.plan(weights, x.shape, mode=mode)(x), oracle.convolve(x, weights, mode), atol=1e-13
        )


def test_error_bound_holds_on_the_worst_input() -> None:
    """|x| constant with the signs of the weights: where rounding errors are largest beside ||K||_1 max|x|."""
    for seed in range(5):
        weights = np.random.default_rng(seed).normal(size=(21, 21))
        x = np.sign(np.tile(weights, (3, 3))).astype(np.float32) * np.float32(1.1)
        for method in ("direct", "fft"):
            plan = nsp.plan(weights, x.shape, x.dtype, operation="correlate", mode="wrap", method=method)
            call = Call("correlate", x, weights, "wrap", 0.0, 0, None)
            referee.judge(call, plan(x), plan.error_bound)


# --------------------------------------------------------------------------- factorize


@pytest.mark.parametrize(
    "kind", ["separable", "integer separable", "two terms", "integer two terms", "box", "mean"]
)
@pytest.mark.parametrize("taps", [(5,), (4, 7), (3, 4, 5), (1, 6), (3, 1, 2, 3)])
def test_factorize_rebuilds_the_kernel(kind: str, taps: tuple[int, ...]) -> None:
    weights = strategies.kernel(kind, taps, 3)
    parts = nsp.factorize(weights)
    assert all(len(term) == len(taps) for term in parts.terms)
    assert all(np.shape(f) == (n,) for term in parts.terms for f, n in zip(term, taps, strict=True))
    total = sum((oracle.outer(term) for term in parts.terms), np.zeros(taps))
    np.testing.assert_allclose(total, weights, rtol=0, atol=1e-13 * oracle.norm(weights))
    np.testing.assert_allclose(parts.todense(), total, rtol=0, atol=1e-15 * oracle.norm(weights))
    assert parts.rank == len(parts.terms)
    assert parts.error <= 16 * np.finfo(float).eps
    if kind in ("integer separable", "box"):
        assert parts.exact
        assert parts.rank <= 1
        np.testing.assert_array_equal(parts.todense(), weights)
    kappa = sum(np.prod([oracle.norm(f) for f in term]) for term in parts.terms)
    if oracle.norm(weights):
        assert parts.amplification == pytest.approx(kappa / oracle.norm(weights), rel=1e-6)
    assert str(parts.rank) in str(parts)
    assert isinstance(parts._repr_html_(), str)


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e-300, 1e300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_is_separable(scale: float, dtype: type) -> None:
    if dtype is np.float32 and not 1e-30 < scale < 1e30:
        pytest.skip("outside the range of float32")
    weights = (strategies.kernel("separable", (9, 8), 1) * scale).astype(dtype)
    assert nsp.is_separable(weights)
    noisy = weights + np.random.default_rng(1).normal(size=(9, 8)) * 1e-3 * np.abs(weights).max()
    assert not nsp.is_separable(noisy.astype(dtype))
    assert nsp.is_separable(noisy.astype(dtype), rtol=0.1)
    assert not nsp.is_separable((strategies.kernel("two terms", (9, 8), 1) * scale).astype(dtype))


def test_sobel_factors_are_the_textbook_ones() -> None:
    ((column, row),) = nsp.factorize([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]).terms
    assert sorted(np.abs(column)) == [1, 1, 2]
    assert sorted(np.abs(row)) == [0, 1, 1]


def test_terms_go_back_into_separable_convolve() -> None:
    weights, x = strategies.kernel("two terms", (5, 7), 2), samples("float64", (30, 31), 1)
    total = sum(nsp.separable_convolve(x, term, mode="wrap") for term in nsp.factorize(weights).terms)
    np.testing.assert_allclose(total, oracle.convolve(x, weights, "wrap"), atol=1e-12 * oracle.norm(weights))


@pytest.mark.parametrize("rtol", [1e-1, 1e-2, 1e-4])
def test_error_is_the_attained_sup_norm_bound(rtol: float) -> None:
    """||K - K_r||_1 / ||K||_1, and a sign image attains it."""
    y, x = np.mgrid[-8:9, -8:9]
    weights = np.exp(-(y**2) / 18 - x**2 / 40 - x * y / 30)
    parts = nsp.factorize(weights, rtol=rtol)
    assert parts.error <= rtol
    difference = parts.todense() - weights
    assert parts.error == pytest.approx(oracle.norm(difference) / oracle.norm(weights), rel=1e-6)
    worst = np.sign(difference)
    attained = abs(oracle.correlate(worst, difference, "valid").item())
    assert attained == pytest.approx(parts.error * oracle.norm(weights), rel=1e-9)


def test_max_rank_limits_the_terms() -> None:
    weights = rng.normal(size=(9, 9))
    parts = nsp.factorize(weights, max_rank=2)
    assert parts.rank <= 2
    assert parts.error > 1e-3
    assert parts.error == pytest.approx(
        oracle.norm(parts.todense() - weights) / oracle.norm(weights), rel=1e-6
    )


def test_zero_kernel() -> None:
    parts = nsp.factorize(np.zeros((3, 4)))
    assert parts.rank == 0
    assert parts.terms == ()
    np.testing.assert_array_equal(parts.todense(), np.zeros((3, 4)))
    x = np.full((5, 6), np.nan)
    np.testing.assert_array_equal(nsp.convolve(x, np.zeros((3, 4))), 0)


def test_separable_kernels_can_be_pickled() -> None:
    parts = nsp.factorize(GAUSSIAN)
    again = pickle.loads(pickle.dumps(parts))
    np.testing.assert_array_equal(again.todense(), parts.todense())
