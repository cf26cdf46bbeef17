"""Transforms of data with NaN and infinities: the values and the footprint of direct summation."""

from __future__ import annotations

import numpy as np
import pytest

import numbasep as nsp
from numbasep.cpu.fft import missing_data, overlap_save
from tests.support.gaps import same

MODES = ("reflect", "mirror", "nearest", "wrap", "constant")
rng = np.random.default_rng(0)
DISK = (np.hypot(*np.mgrid[-6:7, -6:7]) <= 6.2).astype(float)
KERNELS = {
    "positive": rng.uniform(0.5, 1.5, (13, 11)),
    "disk": DISK,
    "signs": rng.standard_normal((12, 13)),
    "holes and signs": rng.standard_normal((9, 9)) * (rng.random((9, 9)) < 0.4),
    "one weight": np.eye(9)[:, 3:4] * -2.0,
}


def places(shape: tuple[int, ...], kind: str, dtype: type) -> np.ndarray:
    """Finite noise with gaps."""
    x = rng.standard_normal(shape).astype(dtype)
    values = {"nan": [np.nan], "infinite": [np.inf, -np.inf], "all": [np.nan, np.inf, -np.inf]}
    if kind == "region":
        x[tuple(slice(n // 3, n // 3 + 4) for n in shape)] = np.nan
    elif kind == "corner":
        x[(0,) * len(shape)], x[(-1,) * len(shape)] = np.inf, np.nan
    elif kind == "everywhere":
        x[...] = np.nan
    else:
        for _ in range(7):
            x[tuple(rng.integers(0, n) for n in shape)] = rng.choice(values[kind])
    return x


@pytest.fixture
def transformed(monkeypatch):
    """Whether gaps were marked."""
    calls = []
    correlate = missing_data.correlate
    monkeypatch.setattr(missing_data, "correlate", lambda *args: calls.append(correlate(*args)) or calls[-1])
    return calls


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["nan", "infinite", "all", "region", "corner", "everywhere"])
@pytest.mark.parametrize("name", KERNELS)
def test_values_and_footprint_are_those_of_direct_summation(name, kind, dtype, mode, transformed):
    weights = KERNELS[name]
    x = places((61, 47), kind, dtype)
    options = {"mode": mode, "cval": 1.5, "rtol": 1e-3}
    found = nsp.correlate(x, weights, method="fft", **options)
    assert transformed == [True]
    bound = 2e-5 * np.abs(weights).sum() * 5 if dtype is np.float32 else 1e-12
    with np.errstate(all="ignore"):
        same(found, nsp.correlate(x, weights, method="direct", **options), bound)


@pytest.mark.parametrize("shape", [(1,), (2,), (31,), (997,), (5000,)])
@pytest.mark.parametrize("kind", ["nan", "all", "everywhere"])
def test_signals(shape, kind, transformed):
    x, weights = places(shape, kind, np.float64), rng.standard_normal(40)
    found = nsp.convolve(x, weights, method="fft", mode="wrap")
    same(found, nsp.convolve(x, weights, method="direct", mode="wrap"), 1e-12)
    assert transformed == [True]


@pytest.mark.parametrize("mode", ["valid", "full", "reflect"])
@pytest.mark.parametrize("stride", [1, 3])
def test_sizes_strides_and_axes(mode, stride, transformed):
    x, weights = places((40, 3, 50), "all", np.float64), rng.standard_normal((7, 1, 8))
    options = {"mode": (mode, "nearest", mode), "stride": (stride, 1, 2)}
    found = nsp.convolve(x, weights, method="fft", **options)
    same(found, nsp.convolve(x, weights, method="direct", **options), 1e-12)
    assert transformed == [True]


def test_one_dimensional_taps_reach_their_whole_window(transformed):
    taps = np.array([1.0, 0, 0, 2.0, 0, -1.0, 1.0])
    for value in (np.nan, np.inf):
        x = rng.standard_normal((30, 40))
        x[10, 20] = value
        for call in (nsp.convolve1d, lambda x, taps, **o: nsp.separable_convolve(x, [taps, abs(taps)], **o)):
            same(call(x, taps, method="fft"), call(x, taps, method="direct"), 1e-11)
    assert transformed == [True] * 4


@pytest.mark.parametrize("layout", ["fortran", "strided", "swapped", "read-only", "reversed"])
def test_layouts(layout, transformed):
    x = places((40, 50), "all", np.float64)
    big = np.zeros((80, 100))
    big[::2, ::2] = x
    made = {
        "fortran": np.asfortranarray(x), "strided": big[::2, ::2], "swapped": x.astype(">f8"),
        "read-only": x.copy(), "reversed": x[::-1, ::-1].copy()[::-1, ::-1],
    }[layout]  # fmt: skip
    made.flags.writeable = layout != "read-only"
    before = made.copy()
    same(nsp.correlate(made, DISK, method="fft"), nsp.correlate(x, DISK, method="direct"), 1e-11)
    np.testing.assert_array_equal(made, before)
    assert transformed == [True]


def test_in_place_and_into_complex(transformed):
    x = places((40, 50), "all", np.float64)
    expected = nsp.correlate(x, DISK, method="direct")
    out = np.full(x.shape, 7j)
    nsp.correlate(x, DISK, out, method="fft")
    same(out.real, expected, 1e-11)
    assert not out.imag.any()
    nsp.correlate(x, DISK, x, method="fft")
    same(x, expected, 1e-11)
    assert transformed == [True] * 2


def test_values_near_overflow_take_the_fallback(transformed):
    x = places((40, 50), "nan", np.float64)
    x[0, 0] = 1e307
    same(nsp.correlate(x, DISK, method="fft"), nsp.correlate(x, DISK, method="direct"), 1e296)
    assert transformed == [False]


def test_threads_do_not_change_a_bit(transformed):
    x = places((700, 600), "all", np.float32)
    x[100:150, 200:300] = np.nan
    weights = rng.random((101, 101)) - 0.5
    one, two = (nsp.correlate(x, weights, method="fft", workers=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)
    assert transformed == [True] * 2


def test_nothing_is_transformed_where_gaps_reach_everything(monkeypatch):
    calls = []
    correlate = overlap_save.correlate
    monkeypatch.setattr(overlap_save, "correlate", lambda *args: calls.append(args) or correlate(*args))
    x = rng.random((60, 50))
    x[::5, ::5] = np.nan
    assert np.isnan(nsp.correlate(x, np.ones((9, 9)) + np.eye(9), method="fft")).all()
    assert not calls


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["nan", "region", "all"])
def test_missing_samples_are_left_out(kind, dtype):
    x, weights = places((61, 47), kind, dtype), KERNELS["positive"]
    mask = rng.random(x.shape) < 0.1
    for options in ({"nan_policy": "omit"}, {"nan_policy": "omit", "mask": mask}, {"mask": mask}):
        found = nsp.correlate(x, weights, method="fft", rtol=1e-3, **options)
        expected = nsp.correlate(x, weights, method="direct", **options)
        same(found, expected, 2e-3 if dtype is np.float32 else 1e-11)
