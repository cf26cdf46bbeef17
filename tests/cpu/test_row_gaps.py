"""NaN and infinities in contiguous rows that are transformed: what they reach is that of direct summation."""

from __future__ import annotations

import numpy as np
import pytest

import numbasep as nsp
from numbasep.cpu.fft import row_gaps
from numbasep.cpu.largest_magnitude import split_finite
from tests.support.gaps import same

MODES = ("reflect", "mirror", "nearest", "wrap", "constant")
rng = np.random.default_rng(1)
KERNELS = {
    "positive": rng.uniform(0.5, 1.5, 60),
    "signs": rng.standard_normal(61),
    "zeros": rng.uniform(0.5, 1.5, 50) * (rng.random(50) < 0.8),
}


def gaps(kind: str, shape: tuple[int, ...], value: float, dtype: type) -> np.ndarray:
    """Finite noise with `value` in some places."""
    x = rng.standard_normal(shape).astype(dtype)
    if kind == "run":
        x[..., 900:1100] = value
    elif kind == "edges":
        x[..., [0, 20, -30, -1]] = value
    elif kind == "near":  # the intervals that these reach touch, overlap, or are one output apart
        x.reshape(-1)[[500, 560, 900, 930, 1200, 1261, 1500, 1562]] = value
    elif kind == "scattered":
        x.reshape(-1)[rng.integers(0, x.size, 12)] = value
    return x


@pytest.fixture
def done(monkeypatch):
    """Whether the gaps of each call were few enough."""
    calls = []
    for name in ("correlate", "correlate_valid"):
        function = getattr(row_gaps, name)
        monkeypatch.setattr(
            row_gaps, name, lambda *args, made=function: calls.append(made(*args)) or calls[-1]
        )
    return calls


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["run", "edges", "near", "scattered", "none"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_footprint_and_values_are_those_of_direct_summation(dtype, name, value, kind, mode, done):
    weights, bound = KERNELS[name], 3e-4 if dtype is np.float32 else 1e-11
    for shape, origin in (((2500,), 0), ((2, 3, 2100), -11)):
        x, options = gaps(kind, shape, value, dtype), {"mode": mode, "cval": 1.5, "origin": origin}
        found = [nsp.correlate1d(x, weights, method="fft", rtol=1e-3, workers=n, **options) for n in (1, 2)]
        same(found[0], nsp.correlate1d(x, weights, method="direct", **options), bound)
        np.testing.assert_array_equal(*found)
    assert done == [True] * (4 if kind != "none" else 0)


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["run", "edges", "near", "scattered", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_are_left_out(dtype, kind, mode, done, monkeypatch):
    weights, bound = KERNELS["positive"], 2e-3 if dtype is np.float32 else 1e-10
    monkeypatch.setattr(row_gaps, "SAMPLES_PER_RUN", 1)
    for shape in ((2500,), (2, 3, 2100)):
        x = gaps(kind, shape, np.nan, dtype)
        options = {"mode": mode, "cval": 1.5, "nan_policy": "omit"}
        out = np.full(shape, 7, dtype)
        found = [nsp.correlate1d(x, weights, method="fft", workers=n, **options) for n in (1, 2)]
        assert nsp.correlate1d(x, weights, output=out, method="fft", **options) is out
        same(out, nsp.correlate1d(x, weights, method="direct", **options), bound)
        for other in found:
            np.testing.assert_array_equal(out, other)
    assert done == [True] * 6


def test_what_is_not_simple_takes_the_general_way(done):
    weights = KERNELS["positive"]
    x = gaps("run", (3000,), np.nan, np.float64)
    x[10] = np.inf
    options = {"nan_policy": "omit"}
    found, expected = (nsp.correlate1d(x, weights, method=m, **options) for m in ("fft", "direct"))
    same(found, expected, 1e-10)
    x = np.full(400_000, np.nan)
    x[:-1:2] = rng.standard_normal(200_000)
    x[::1000] = np.inf
    found, expected = (nsp.correlate1d(x, KERNELS["signs"], method=m) for m in ("fft", "direct"))
    same(found, expected, 1e-10)
    x = gaps("scattered", (100_000,), np.nan, np.float64)
    x[::150] = np.nan
    for policy in ("omit", "propagate"):
        found, expected = (
            nsp.correlate1d(x, weights, method=m, nan_policy=policy) for m in ("fft", "direct")
        )
        same(found, expected, 1e-10)
    assert not all(done)
    x = gaps("run", (3000,), np.nan, np.float64)
    swapped, strided, big = x.astype(">f8"), np.repeat(x, 2)[::2], np.empty(6000)
    for given in (swapped, strided):
        same(
            nsp.correlate1d(given, weights, method="fft"), nsp.correlate1d(x, weights, method="direct"), 1e-10
        )
    nsp.correlate1d(x, weights, output=big[::2], method="fft")
    same(big[::2], nsp.correlate1d(x, weights, method="direct"), 1e-10)


def test_values_near_overflow_take_the_fallback(done):
    x = gaps("run", (3000,), np.nan, np.float64)
    x[10] = 1e307
    for policy in ("omit", "propagate"):
        found, expected = (
            nsp.correlate1d(x, KERNELS["positive"], method=m, nan_policy=policy) for m in ("fft", "direct")
        )
        same(found, expected, 1e296)
    assert done
    assert not any(done)


@pytest.mark.parametrize("size", [1, 100, 1 << 14, 70_000, 600_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finite_samples_and_the_others(dtype, size):
    x = rng.standard_normal(size).astype(dtype)
    places = np.unique(rng.integers(0, size, 5))
    x[places] = rng.choice([np.nan, np.inf, -np.inf], places.size)
    expected = np.abs(x[np.isfinite(x)]).max(initial=0)
    for workers in (1, 2):
        largest, bad = split_finite(x, workers)
        assert largest == expected
        np.testing.assert_array_equal(bad, places)
