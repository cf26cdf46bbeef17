"""Recursive Gaussians: within their certified error of the taps they replace, in every mode, and only on request."""

from __future__ import annotations

import numpy as np
import pytest

import numbasep
from numbasep.factor.recursion import fit
from tests.support import oracle

MODES = ["reflect", "mirror", "nearest", "wrap", "constant"]


def gaussian(sigma, truncate=4.0):
    radius = int(truncate * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return taps / taps.sum()


def response(recursion, count):
    """The impulse response, by its definition, sample by sample."""
    state, found = np.ones(3, complex), [recursion.centre]
    for _ in range(count):
        found.append(float((recursion.residues * state).sum().real))
        state = state * recursion.poles
    return np.array(found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sigma", [4.3, 9.0, 31.5, 120.0])
@pytest.mark.parametrize("truncate", [4.0, 6.0])
def test_the_error_is_the_distance_of_the_impulse_response(dtype, sigma, truncate):
    taps = gaussian(sigma, truncate)
    found = fit(taps, np.dtype(dtype))
    assert found is not None
    h = response(found, int(60 * sigma))
    half = np.zeros(h.size)
    half[: taps.size // 2 + 1] = taps[taps.size // 2 :]
    distance = abs(h[0] - half[0]) + 2 * np.abs(h - half)[1:].sum()
    unseen = 2 * np.abs(h[1 + found.margin :]).sum()
    assert distance + unseen <= found.error
    assert found.error <= 4e-4  # and rounding in float32 is not most of it
    assert found.error - distance - unseen <= (2e-4 if dtype is np.float32 else 1e-11)


@pytest.mark.parametrize(
    "taps",
    [np.ones(101) / 101, np.bartlett(103)[1:-1], np.hanning(99)],
    ids=["box", "triangle", "hann"],
)
def test_what_is_no_gaussian_has_an_honest_error(taps):
    found = fit(taps / taps.sum(), np.dtype(np.float64))
    assert found is None or found.error > 1e-3
    x = np.random.default_rng(0).random((150, 150))
    plan = numbasep.plan(np.outer(taps, taps), x.shape, rtol=1e-4)
    assert "recursive" not in {c.name for c in plan.candidates if c.feasible}


@pytest.mark.parametrize(
    "taps", [gaussian(9.0)[:-1], np.gradient(gaussian(9.0)), gaussian(2.0), gaussian(9.0) * 1j, np.zeros(41)]
)
def test_even_signed_short_and_complex_taps_are_left_alone(taps):
    assert fit(taps, np.dtype(np.float64)) is None


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((90, 75), (0, 1)), ((40, 3, 70), (0, 2)), ((33, 50, 4), (0, 1)), ((7, 45), (0,)), ((130,), (0,))],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32", ">f8"])
def test_every_mode_layout_and_type_within_the_bound(mode, shape, axes, dtype):
    sigma = 5.5
    x = (np.random.default_rng(3).random(shape) * 200).astype(dtype)
    out = np.float64 if np.dtype(dtype) == np.float64 else np.float32
    options = {"axes": axes, "mode": mode, "cval": 7.0, "output": out}
    found = numbasep.gaussian_filter(x, sigma, rtol=1e-3, method="structured", **options)
    expected = numbasep.gaussian_filter(x.astype(float), sigma, **(options | {"output": np.float64}))
    error = fit(gaussian(sigma), np.dtype(out)).error
    assert (
        np.abs(found - expected).max() <= ((1 + error) ** len(axes) - 1) * max(np.abs(x).max(), 7.0) * 1.001
    )


@pytest.mark.parametrize("mode", ["valid", "full"])
def test_smaller_and_larger_outputs(mode):
    taps = gaussian(4.5)
    x = np.random.default_rng(4).random((61, 70))
    found = numbasep.separable_convolve(x, [taps, taps], mode=mode, cval=0.5, rtol=1e-3, method="structured")
    expected = oracle.separable_convolve(x, [taps, taps], mode=mode, cval=0.5)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 2.1 * fit(taps, np.dtype(np.float64)).error


def test_the_transposed_array_and_a_given_output():
    x = np.random.default_rng(5).random((80, 60), np.float32)
    expected = numbasep.gaussian_filter(x, 6.0, rtol=1e-3, method="structured")
    out = np.empty((60, 160), np.float32)[:, ::2]
    numbasep.gaussian_filter(x.T, 6.0, output=out, rtol=1e-3, method="structured")
    np.testing.assert_allclose(out, expected.T, rtol=0, atol=2e-4)


def test_threads_do_not_change_a_bit():
    x = np.random.default_rng(6).random((500, 333), np.float32)
    one, two = (numbasep.gaussian_filter(x, 12.0, rtol=1e-3, method="structured", workers=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_it_is_taken_only_where_a_tolerance_allows_it():
    taps = gaussian(30.0)
    kernel, shape = np.outer(taps, taps), (2048, 2048)
    names = {c.name for c in numbasep.plan(kernel, shape, np.float32).candidates}
    assert "recursive" not in names
    loose = numbasep.plan(kernel, shape, np.float32, rtol=1e-3)
    chosen = loose.choice.chosen
    assert (chosen.name, chosen.method, chosen.runner) == ("recursive", "structured", "recursive")
    assert loose.error_bound <= 1e-3
    strict = next(
        c for c in numbasep.plan(kernel, shape, np.float64, rtol=1e-6).candidates if c.method == "structured"
    )
    assert not strict.feasible
    assert "exceeds" in strict.reason


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e36])
def test_data_that_would_spread_take_the_separable_route(bad):
    x = np.random.default_rng(7).random((120, 110), np.float32)
    x[60, 50] = bad
    found = numbasep.gaussian_filter(x, 6.0, rtol=1e-3, method="structured")
    expected = numbasep.gaussian_filter(x, 6.0)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    away = np.abs(expected) < 1e6
    np.testing.assert_allclose(found[away], expected[away], atol=1e-3)


@pytest.mark.jitoff
def test_the_kernels_without_the_compiler():
    x = np.random.default_rng(8).random((20, 21))
    found = numbasep.gaussian_filter(x, 4.0, truncate=4.0, rtol=1e-3, method="structured")
    np.testing.assert_allclose(found, numbasep.gaussian_filter(x, 4.0), rtol=0, atol=2e-4)
