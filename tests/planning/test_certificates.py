"""Every plan's effective kernel, read off a delta image, and its stated error on images that provoke it."""

import dataclasses

import numpy as np
import pytest

import numbasep
from numbasep.planning.routes import ROUTES
from tests.support.kernel_zoo import kernels

ZOO = kernels()
SMALL = sorted(name for name, weights in ZOO.items() if weights.size < 6000)


def routes_of(weights, shape, dtype, **options):
    """A plan for every route that can compute this without breaking the contract."""
    for candidate in numbasep.plan(weights, shape, dtype, **options).candidates:
        if candidate.feasible:
            yield numbasep.plan(weights, shape, dtype, method=candidate.method, **options)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_effective_kernel_is_the_kernel(name, dtype):
    weights = ZOO[name]
    delta = np.zeros([2 * n + 3 for n in weights.shape], dtype)
    centre = tuple(n // 2 for n in delta.shape)
    delta[centre] = 1
    region = tuple(
        slice(c - (n - 1) // 2, c - (n - 1) // 2 + n) for c, n in zip(centre, weights.shape, strict=True)
    )
    expected = np.zeros(delta.shape)
    expected[region] = weights
    u = np.finfo(dtype).eps / 2
    for plan in routes_of(weights, delta.shape, dtype, mode="constant"):
        worst = np.abs(plan(delta) - expected).max()
        assert worst <= (plan.error_bound + u) * np.abs(weights).sum(), str(plan)


@pytest.mark.parametrize("name", SMALL)
def test_the_bound_holds_on_the_image_that_attains_the_norm(name):
    weights = ZOO[name].astype(np.float32).astype(np.float64)
    flipped = weights[(slice(None, None, -1),) * weights.ndim]
    image = np.pad(np.sign(flipped), 3).astype(np.float32)
    truth = np.abs(weights).sum()  # at the centre: convolution meets every weight with its sign
    at = tuple(3 + n // 2 for n in weights.shape)  # output under the kernel's own centre
    for plan in routes_of(weights.astype(np.float32), image.shape, np.float32, mode="constant"):
        u = 2.0**-24
        assert abs(float(plan(image)[at]) - truth) <= (plan.error_bound + u) * truth, str(plan)


@pytest.mark.thinned
@pytest.mark.parametrize("method", list(ROUTES))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "name", ["disk r=7", "motion 15 @30", "unsharp s=2 a=1.5", "gauss s=3", "random 15x15"]
)
def test_one_bad_sample_spreads_as_in_direct_summation(name, bad, method):
    weights = ZOO[name]
    image = np.random.default_rng(0).random((70, 80), np.float32)
    image[30, 41] = bad
    try:
        found = numbasep.convolve(image, weights, method=method)
    except ValueError as error:
        pytest.skip(str(error))
    reference = numbasep.convolve(image, weights, method="direct")
    np.testing.assert_array_equal(np.isnan(found), np.isnan(reference))
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(reference))


@pytest.mark.parametrize("name", sorted(name for name in SMALL if ZOO[name].size < 2500))
def test_every_route_verifies_itself(name):
    weights = ZOO[name]
    shape = [40] * weights.ndim
    for dtype in (np.uint8, np.float64):
        for plan in routes_of(weights, shape, dtype, output=np.float32 if dtype is np.uint8 else None):
            error = plan.verify()
            assert error is not None
            assert error <= 10 * plan.error_bound + 1e-6 * (dtype is np.uint8) + 1e-14


def test_a_wrong_kernel_is_found_out():
    plan = numbasep.plan(ZOO["gauss s=3"], (60, 70))
    term = plan.kernel.forms[0].terms[0]
    wrong = dataclasses.replace(plan.kernel.forms[0], terms=((term[0] * 1.001, *term[1:]),))
    tampered = dataclasses.replace(plan, kernel=dataclasses.replace(plan.kernel, forms=(wrong,)))
    assert tampered.method == "separable"
    with pytest.raises(ArithmeticError, match="off by"):
        tampered.verify()


def test_plans_that_cannot_be_checked_in_passing_say_so():
    assert numbasep.plan(np.ones((300, 300)), (400, 400)).verify() is None
    assert numbasep.plan(np.ones(()), ()).verify() is None
    recursive = numbasep.plan(ZOO["gauss s=8"], (500, 500), rtol=1e-3, method="structured")
    assert recursive.choice.chosen.runner == "recursive"
    assert 0 < recursive.verify() <= recursive.error_bound
