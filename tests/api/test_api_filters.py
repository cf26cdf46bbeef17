"""SciPy's filter family beyond SciPy's own tests: against float64, and where we promise more than SciPy."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import numbasep as nsp
from tests.support import oracle, strategies
from tests.support.strategies import LAYOUTS, MODES, samples

# name -> arguments after the input: every linear filter, with asymmetric and per-axis settings
CALLS: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "convolve1d": [(([1.0, 2, -3, 4],), {"axis": 0}), (([1.0, 2, -3],), {"axis": -1, "origin": -1})],
    "correlate1d": [(([1.0, 2, -3, 4],), {"axis": 0, "origin": 1}), (([0.5],), {})],
    "gaussian_filter": [
        ((1.5,), {}),
        (([0.7, 2.0],), {"truncate": 3.0}),
        ((1.0,), {"order": [0, 1]}),
        ((1.2,), {"order": [2, 3], "radius": [4, 7]}),
        ((2.0,), {"axes": (1,)}),
    ],
    "gaussian_filter1d": [((1.5,), {"axis": 0}), ((1.0,), {"order": 1}), ((2.0,), {"order": 4, "radius": 9})],
    "uniform_filter": [((3,), {}), (([4, 5],), {"origin": [-1, 2]}), ((7,), {"axes": (0,)})],
    "uniform_filter1d": [((5,), {"axis": 0}), ((4,), {"origin": -2}), ((9,), {"origin": 3})],
    "sobel": [((0,), {}), ((-1,), {})],
    "prewitt": [((0,), {}), ((-1,), {})],
    "laplace": [((), {}), ((), {"axes": (1,)})],
    "gaussian_laplace": [((1.0,), {}), (([1.0, 2.0],), {"truncate": 3.0})],
    "gaussian_gradient_magnitude": [((1.0,), {}), (([2.0, 1.0],), {"axes": (0, 1)})],
}
CASES = [(name, args, options) for name, calls in CALLS.items() for args, options in calls]
NAMES = [f"{name} {i}" for name, calls in CALLS.items() for i in range(len(calls))]
PASSES_OF_SUM_ONE = (
    "convolve1d",
    "correlate1d",
    "gaussian_filter",
    "uniform_filter",
    "uniform_filter1d",
    "laplace",
)
FEW_TYPES = ("uint8", "int16", "float32", "float64", "complex64")
EACH_CALL = pytest.mark.parametrize(("name", "args", "options"), CASES, ids=NAMES)


def both(name: str, x: np.ndarray, *args: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Our result, and SciPy's in float64."""
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    ours = getattr(nsp, name)(x, *args, **options)
    return ours, getattr(ndimage, name)(x.astype(wide), *args, **options)


def scale(x: np.ndarray) -> float:
    """Largest sum that any filter of `CALLS` can make of `x`, roughly."""
    return 20 * oracle.largest(x, 2.5)


@pytest.mark.thinned
@EACH_CALL
@pytest.mark.parametrize("mode", MODES)
def test_float64_is_scipys(name: str, args: tuple[Any, ...], options: dict[str, Any], mode: str) -> None:
    for shape in [(13, 17), (1, 6), (3, 2)]:
        x = samples("float64", shape, 1)
        cval = 2.5 if name in PASSES_OF_SUM_ONE and "order" not in options else 0.0
        ours, theirs = both(name, x, *args, mode=mode, cval=cval, **options)
        if name == "gaussian_gradient_magnitude":  # the root of a small sum of squares magnifies
            ours, theirs = ours**2, theirs**2
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14 * scale(x) ** 2)


@pytest.mark.parametrize(
    ("name", "args", "options"), [c for c in CASES if "1d" not in c[0] and "axes" not in c[2]]
)
def test_mixed_modes(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    x = samples("float64", (9, 8), 1)
    for mode in (["wrap", "constant"], ("mirror", "nearest")):
        ours, theirs = both(name, x, *args, mode=mode, **options)
        np.testing.assert_allclose(ours, theirs, atol=1e-13 * scale(x))


@pytest.mark.thinned
@EACH_CALL
@pytest.mark.parametrize("dtype", strategies.often(FEW_TYPES, [d for d in strategies.DTYPES if d != "bool"]))
def test_number_types(name: str, args: tuple[Any, ...], options: dict[str, Any], dtype: str) -> None:
    """The input's type, and the float64 answer stored once."""
    if dtype.startswith("complex") and name == "gaussian_gradient_magnitude":
        pytest.skip("SciPy's answer for complex data is not a magnitude")
    x = samples(dtype, (15, 14), 2)
    if x.dtype.kind in "iu":
        x = (x // 64).astype(dtype)  # sums that every type holds
    # With SciPy's cast these two combine truncated parts, by definition; rounding takes the exact sum.
    cast = "saturate" if name in ("gaussian_laplace", "gaussian_gradient_magnitude") else "truncate"
    exact = both(name, x, *args, **options)[1]
    ours = getattr(nsp, name)(x, *args, cast=cast, **options)
    assert ours.dtype == x.dtype
    eps = np.finfo(np.float32 if x.dtype.char in "bBhHefF" else np.float64).eps
    slack = (1e4 if name == "gaussian_gradient_magnitude" else 100) * float(eps) * scale(x)
    oracle.assert_close(ours, exact, slack, cast)


@pytest.mark.thinned
@EACH_CALL
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(name: str, args: tuple[Any, ...], options: dict[str, Any], layout: str) -> None:
    x = samples("float64", (13, 12), 2)
    ours, exact = both(name, LAYOUTS[layout](x), *args, **options)
    np.testing.assert_allclose(ours, exact, atol=1e-13 * scale(x))
    assert ours.dtype == np.float64


@EACH_CALL
def test_output_in_place_empty_and_volumes(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    x = samples("float64", (40, 31), 2)
    expected = getattr(nsp, name)(x.copy(), *args, **options)
    out = np.full_like(x, 7)
    assert getattr(nsp, name)(x, *args, output=out, **options) is out
    np.testing.assert_array_equal(out, expected)
    assert getattr(nsp, name)(x, *args, output=x, **options) is x
    np.testing.assert_array_equal(x, expected)
    as_float32 = getattr(nsp, name)(samples("float64", (40, 31), 2), *args, output="float32", **options)
    assert as_float32.dtype == np.float32
    np.testing.assert_allclose(as_float32, expected, rtol=1e-5, atol=1e-5)
    assert getattr(nsp, name)(np.zeros((0, 5)), *args, **options).shape == (0, 5)
    if not any(np.iterable(v) for v in (*args, *options.values())):
        volume = samples("float64", (7, 6, 8), 1)
        ours, theirs = both(name, volume, *args, **options)
        np.testing.assert_allclose(ours, theirs, atol=1e-12 * scale(volume))


@pytest.mark.thinned
@EACH_CALL
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_footprint(name: str, args: tuple[Any, ...], options: dict[str, Any], value: float) -> None:
    """Non-finite samples spoil their window and no more (SciPy's running sums spoil the rest of the line)."""
    x = np.ones((40, 44))
    x[20, 21] = value
    got = ~np.isfinite(getattr(nsp, name)(x, *args, **options))
    assert got.any()
    if name.startswith("uniform"):
        finite = np.ones((40, 44))
        finite[20, 21] = 2.0
        expected = getattr(ndimage, name)(finite, *args, **options) > 1.0 + 1e-9
    else:
        with np.errstate(invalid="ignore"):
            expected = ~np.isfinite(getattr(ndimage, name)(x, *args, **options))
    np.testing.assert_array_equal(got, expected)


# --------------------------------------------------------------------------- more exact than SciPy


@pytest.mark.parametrize("cval", [2.5, -1.0])
def test_cval_continues_the_input(cval: float) -> None:
    """As in a dense kernel; SciPy continues what is between its passes with the same value."""
    x = samples("float64", (9, 11), 1)
    sobel = np.outer([-1.0, 0, 1], [1.0, 2, 1])
    got = nsp.sobel(x, 0, mode="constant", cval=cval)
    np.testing.assert_allclose(got, oracle.correlate(x, sobel, "constant", cval), atol=1e-12)
    assert np.abs(got - ndimage.sobel(x, 0, mode="constant", cval=cval)).max() > 0.9
    first, smooth = (nsp.gaussian_filter1d(np.eye(17)[8], 1.5, order=order) for order in (1, 0))
    kernel = np.outer(first, smooth)[2:-2, 2:-2]
    got = nsp.gaussian_filter(x, 1.5, order=[1, 0], mode="constant", cval=cval)
    np.testing.assert_allclose(got, oracle.convolve(x, kernel, "constant", cval), atol=1e-12)


def test_axes_take_their_sigma_in_the_order_given() -> None:
    x = samples("float64", (15, 14), 1)
    for name in ("gaussian_filter", "gaussian_laplace", "gaussian_gradient_magnitude"):
        got = getattr(nsp, name)(x, [2.0, 1.0], axes=(1, 0))
        np.testing.assert_allclose(got, getattr(nsp, name)(x, [1.0, 2.0]), atol=1e-12)


def test_uint8_gaussian_is_unbiased_within_its_cast() -> None:
    """SciPy stores uint8 after each axis and loses a grey level; here the sums are truncated once."""
    x = np.random.default_rng(0).integers(0, 256, (200, 210), dtype=np.uint8)
    exact = ndimage.gaussian_filter(x.astype(float), 2.0)
    ours = nsp.gaussian_filter(x, 2.0)
    oracle.assert_close(ours, exact, 1e-3)
    assert np.abs(nsp.gaussian_filter(x, 2.0, cast="saturate") - exact).max() <= 0.501
    assert (ndimage.gaussian_filter(x, 2.0) - exact).mean() < (ours - exact).mean() - 0.3


@pytest.mark.parametrize("size", [2, 3, 16, 101, 1000])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32"])
def test_uniform_filter_of_integers_is_exact(size: int, dtype: str) -> None:
    """The integer sum, divided once and truncated: also where float sums would round."""
    x = samples(dtype, (300,), 4)
    sums = oracle.correlate(x, np.ones(size, int), exact=True)
    expected = np.array([int(abs(s)) // size * (1 if s >= 0 else -1) for s in sums])
    np.testing.assert_array_equal(nsp.uniform_filter1d(x, size), expected.astype(dtype))


def test_uniform_filter_neither_drifts_nor_goes_negative() -> None:
    x = np.zeros(100_000)
    x[:50] = 1e17
    got = nsp.uniform_filter1d(x, 5)
    assert (got >= 0).all()
    np.testing.assert_array_equal(got[100:], 0)
    rng = np.random.default_rng(1)
    noise = rng.random(200_000).astype(np.float32)
    got = nsp.uniform_filter1d(noise, 31)
    expected = ndimage.uniform_filter1d(noise.astype(np.longdouble).astype(float), 31)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_one_nan_spoils_one_window_of_a_uniform_filter() -> None:
    x = np.ones((60, 70), np.float32)
    x[30, 31] = np.nan
    assert np.isnan(nsp.uniform_filter(x, 7)).sum() == 49
    assert np.isnan(nsp.uniform_filter1d(x, 9, axis=0)).sum() == 9


# --------------------------------------------------------------------------- missing samples


def normalised(x: np.ndarray, valid: np.ndarray, weights: np.ndarray, mode: str) -> np.ndarray:
    """Weights renormalised over valid samples, as astropy defines interpolation."""
    filled = np.where(valid, x, 0.0)
    total = oracle.correlate(filled, weights, mode)
    share = oracle.correlate(valid.astype(float), weights, mode)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.abs(share) > 1e-9 * weights.sum(), weights.sum() * total / share, np.nan)


@pytest.mark.parametrize("mode", strategies.BOUNDARIES)
@pytest.mark.parametrize("method", ["auto", "direct", "separable"])
def test_omit_and_mask_are_normalised_convolution(mode: str, method: str) -> None:
    rng = np.random.default_rng(3)
    weights = np.outer([1.0, 2, 3], [2.0, 5, 4, 1])
    x = rng.normal(size=(30, 33))
    missing = rng.random(x.shape) < 0.3
    missing[10:18, 12:22] = True
    valid = ~missing
    if mode == "constant":  # what lies outside counts as valid zeros: keep the holes inside
        valid[:3] = valid[-3:] = True
        valid[:, :4] = valid[:, -4:] = True
        missing = ~valid
    holes = np.where(missing, np.nan, x)
    expected = normalised(x, valid, weights, mode)
    if mode == "constant":
        inside = (slice(2, -2), slice(3, -3))
    else:
        inside = (slice(None), slice(None))
    got = nsp.correlate(holes, weights, mode=mode, nan_policy="omit", method=method)
    np.testing.assert_allclose(got[inside], expected[inside], rtol=1e-9, atol=1e-9)
    assert np.isnan(got[inside]).any()
    masked = nsp.correlate(x, weights, mode=mode, mask=missing, method=method)
    np.testing.assert_allclose(masked[inside], expected[inside], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(np.isnan(holes), missing)


def test_omit_without_missing_samples_changes_nothing() -> None:
    x = samples("float64", (20, 21), 1)
    np.testing.assert_array_equal(nsp.gaussian_filter(x, 1.5, nan_policy="omit"), nsp.gaussian_filter(x, 1.5))


def test_omit_restores_a_constant() -> None:
    x = np.full((40, 41), 3.0)
    x[np.random.default_rng(0).random(x.shape) < 0.4] = np.nan
    for name, args in [("gaussian_filter", (2.0,)), ("uniform_filter", (9,)), ("gaussian_filter1d", (4.0,))]:
        np.testing.assert_allclose(getattr(nsp, name)(x, *args, nan_policy="omit"), 3.0, rtol=1e-12)


def test_a_kernel_without_a_sum_cannot_be_normalised() -> None:
    x = np.ones((5, 6))
    x[2, 2] = np.nan
    out = np.full_like(x, 7)
    with pytest.raises(ValueError, match="nan_policy"):
        nsp.convolve(x, np.outer([1.0, 2, 1], [-1.0, 0, 1]), nan_policy="omit", output=out)
    np.testing.assert_array_equal(out, 7)


# --------------------------------------------------------------------------- spacing, sizes, errors


@pytest.mark.parametrize("name", ["gaussian_filter", "gaussian_laplace", "gaussian_gradient_magnitude"])
def test_spacing_makes_sigma_physical(name: str) -> None:
    """Sigma in millimetres on voxels of 0.5 x 2 mm; derivatives are for each millimetre."""
    x, spacing = samples("float64", (30, 20), 1), (0.5, 2.0)
    got = getattr(nsp, name)(x, 3.0, spacing=spacing)
    sigma = (3.0 / 0.5, 3.0 / 2.0)
    if name == "gaussian_filter":
        expected = ndimage.gaussian_filter(x, sigma)
    else:
        order = 2 if name == "gaussian_laplace" else 1
        parts = [
            ndimage.gaussian_filter(x, sigma, order=[order * (a == axis) for a in (0, 1)])
            / spacing[axis] ** order
            for axis in (0, 1)
        ]
        expected = sum(parts) if order == 2 else np.hypot(*parts)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", ["valid", "full"])
def test_sizes(mode: str) -> None:
    x = samples("float64", (20, 23), 1)
    taps = ndimage.gaussian_filter1d(np.eye(9)[4], 1.0, mode="constant")
    got = nsp.gaussian_filter(x, 1.0, mode=mode)
    np.testing.assert_allclose(got, oracle.convolve(x, np.outer(taps, taps), mode), atol=1e-13)
    got = nsp.uniform_filter(x, 5, mode=mode)
    np.testing.assert_allclose(got, oracle.convolve(x, np.ones((5, 5)) / 25, mode), atol=1e-13)


BAD = {
    "negative sigma": ("gaussian_filter", (-1.0,), {}, ValueError, "sigma"),
    "sigma NaN": ("gaussian_filter", (np.nan,), {}, ValueError, "sigma"),
    "negative order": ("gaussian_filter", (1.0,), {"order": -1}, ValueError, "order"),
    "negative radius": ("gaussian_filter", (1.0,), {"radius": -1}, ValueError, "adius"),
    "radius no integer": ("gaussian_filter1d", (1.0,), {"radius": 1.1}, (ValueError, TypeError), "adius"),
    "size zero": ("uniform_filter1d", (0,), {}, RuntimeError, "size"),
    "axis out of range": ("sobel", (2,), {}, ValueError, "ax"),
    "unknown mode": ("laplace", (), {"mode": "odd"}, RuntimeError, "mode"),
    "spacing zero": ("gaussian_filter", (1.0,), {"spacing": 0}, ValueError, "spacing"),
    "origin out of range": ("uniform_filter1d", (3,), {"origin": 2}, ValueError, "origin"),
    "empty weights": ("correlate1d", ([],), {}, RuntimeError, "weights"),
    "weights of two axes": ("convolve1d", (np.ones((2, 2)),), {}, RuntimeError, "weights"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str) -> None:
    name, args, options, kind, word = BAD[case]
    out = np.full((6, 7), 7.0)
    with pytest.raises(kind, match=word):
        getattr(nsp, name)(np.zeros((6, 7)), *args, output=out, **options)
    np.testing.assert_array_equal(out, 7.0)
