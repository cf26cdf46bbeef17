"""The SciPy filter family: against SciPy in double precision, and for what SciPy gets wrong against exact sums."""

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import numbasep as nsp
from numbasep.api.gaussian_derivatives import magnitude
from numbasep.lowering.shapes import LEAST_NUMBERS, LONGEST_ROW
from tests.support.strategies import often

MODES = ("reflect", "mirror", "nearest", "wrap", "constant")
CALLS: dict[str, tuple[Any, ...]] = {
    "correlate1d": ([0.2, -0.4, 1.1, 0.3],),
    "convolve1d": ([0.2, -0.4, 1.1, 0.3],),
    "uniform_filter1d": (4,),
    "uniform_filter": (5,),
    "gaussian_filter1d": (1.3,),
    "gaussian_filter": (1.3,),
    "sobel": (),
    "prewitt": (),
    "laplace": (),
    "gaussian_laplace": (1.1,),
    "gaussian_gradient_magnitude": (1.1,),
}
LINEAR = [name for name in CALLS if name != "gaussian_gradient_magnitude"]


def noise(*shape: int, dtype: Any = np.float64, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 100, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def both(name: str, x: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    return getattr(nsp, name)(x, *args, **kwargs), getattr(ndimage, name)(x, *args, **kwargs)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("shape", [(23,), (17, 20), (2, 3), (6, 7, 9)])
def test_every_mode_and_dimension(name: str, mode: str, shape: tuple[int, ...]) -> None:
    # With more axes SciPy's 1-D passes continue with the wrong constant.
    cval = 0.0 if len(shape) > 1 else 1.5
    ours, theirs = both(name, noise(*shape), *CALLS[name], mode=mode, cval=cval)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
@pytest.mark.parametrize("name", CALLS)
def test_number_types(name: str, dtype: Any) -> None:
    x = noise(31, 33, dtype=dtype)
    if name == "gaussian_gradient_magnitude" and np.dtype(dtype).kind == "c":
        x += 50 * np.arange(31)[:, None]  # keeps the root away from its branch cut
    ours = getattr(nsp, name)(x, *CALLS[name])
    exact = getattr(ndimage, name)(x.astype(np.promote_types(dtype, np.float64)), *CALLS[name])
    assert ours.dtype == dtype
    np.testing.assert_allclose(ours, exact, rtol=2e-5 if dtype != np.complex128 else 1e-12, atol=2e-5)


@pytest.mark.thinned
@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize(
    "dtype", often([np.uint8], [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64])
)
def test_integers_are_the_exact_result_cast_once(name: str, dtype: Any) -> None:
    x = noise(40, 41, dtype=dtype)
    exact = getattr(ndimage, name)(x.astype(np.float64), *CALLS[name])
    ours = getattr(nsp, name)(x, *CALLS[name], output=np.int64)
    slack = 2 if name == "gaussian_laplace" else 1
    whole = np.trunc(exact)
    clear = np.abs(exact - np.rint(exact)) > 1e-4  # elsewhere the cast may fall on either side
    if name != "gaussian_laplace":  # SciPy's definition truncates its two terms one by one
        np.testing.assert_array_equal(ours[clear], whole[clear])
    assert np.abs(ours - exact).max() < slack + 1e-3
    rounded = getattr(nsp, name)(x, *CALLS[name], output=np.int64, cast="saturate")
    assert np.abs(rounded - exact).max() <= 0.5 + 1e-4


@pytest.mark.thinned
@pytest.mark.parametrize("sigma", [0.4, 1, 2, 3.7, 10, 25])
@pytest.mark.parametrize(
    ("dtype", "value"), [(np.uint8, 1), (np.uint8, 100), (np.uint16, 60001), (np.int32, 7)]
)
def test_flat_regions_keep_their_value(sigma: float, dtype: Any, value: int) -> None:
    x = np.full((50, 70), value, dtype)
    np.testing.assert_array_equal(nsp.gaussian_filter(x, sigma), x)
    np.testing.assert_array_equal(nsp.uniform_filter(x, int(2 * sigma) + 1), x)


def test_uint8_gaussian_is_not_biased_as_scipys_is() -> None:
    x = np.random.default_rng(1).integers(0, 256, (200, 200)).astype(np.uint8)
    exact = ndimage.gaussian_filter(x.astype(np.float64), 2.0)
    ours, theirs = (m.gaussian_filter(x, 2.0) - exact for m in (nsp, ndimage))
    assert abs(ours.mean() + 0.5) < 0.02  # truncated once: half a level
    assert theirs.mean() < -0.9
    rounded = nsp.gaussian_filter(x, 2.0, cast="saturate") - exact
    assert abs(rounded.mean()) < 0.02


# --------------------------------------------------------------------------- uniform_filter
@pytest.mark.parametrize("size", [2, 3, 8, 51, 200])
def test_average_is_exact_for_integers(size: int) -> None:
    x = np.random.default_rng(size).integers(0, 65536, (60, 300)).astype(np.uint16)
    padded = np.pad(x.astype(object), ((0, 0), (size // 2, size - 1 - size // 2)), "symmetric")
    sums = np.cumsum(np.concatenate([np.zeros((60, 1), object), padded], 1), 1)
    expected = ((sums[:, size:] - sums[:, :-size]) // size).astype(np.uint16)
    np.testing.assert_array_equal(nsp.uniform_filter1d(x, size), expected)


def test_average_of_a_box_of_integers_is_exact() -> None:
    x = np.random.default_rng(3).integers(0, 65536, (90, 80)).astype(np.uint16)
    total = nsp.convolve(x.astype(np.int64), np.ones((31, 30), int))
    np.testing.assert_array_equal(
        nsp.uniform_filter(x, (31, 30), origin=(0, -1)),
        nsp.convolve(x.astype(np.int64), np.ones((31, 30), int), origin=(0, 0)) // 930,
    )
    assert total.max() > 2**24  # float32 sums would not do


def test_average_neither_drifts_nor_spreads_nan() -> None:
    x = np.concatenate([np.full(500, 1e12), np.zeros(500)])
    assert (nsp.uniform_filter1d(x, 9)[510:] == 0).all()
    assert (nsp.uniform_filter1d(x, 9) >= 0).all()
    x[100] = np.nan
    result = nsp.uniform_filter1d(x, 9)
    assert np.isnan(result).sum() == 9
    assert np.isnan(result[96:105]).all()


def test_sizes_that_filter_nothing() -> None:
    x = noise(5, 6)
    np.testing.assert_array_equal(nsp.uniform_filter(x, 1), x)
    np.testing.assert_array_equal(nsp.uniform_filter(x, 0), x)
    np.testing.assert_array_equal(nsp.uniform_filter(x, (1, 3)), nsp.uniform_filter1d(x, 3, axis=1))
    with pytest.raises(RuntimeError, match="size"):
        nsp.uniform_filter1d(x, 0)
    with pytest.raises(ValueError, match="size"):
        nsp.uniform_filter(x, -1)


@pytest.mark.parametrize(("size", "origin"), [(3, 1), (3, -1), (4, 1), (4, -2), (5, (2, -2))])
def test_origins(size: int, origin: Any) -> None:
    ours, theirs = both("uniform_filter", noise(12, 13), size, origin=origin)
    np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13)


# --------------------------------------------------------------------------- Gaussians
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("sigma", [0.7, 2.5])
def test_derivatives(order: int, sigma: float) -> None:
    ours, theirs = both("gaussian_filter1d", noise(60), sigma, order=order)
    np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11 / sigma**order)


def test_all_arguments_by_axis() -> None:
    x = noise(14, 15, 16)
    for axes in itertools.permutations(range(3), 2):
        kwargs: dict[str, Any] = {
            "order": (1, 0), "mode": ("wrap", "mirror"), "radius": (3, 5), "axes": axes,
        }  # fmt: skip
        ours, theirs = both("gaussian_filter", x, (0.8, 2.0), **kwargs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


def test_truncate() -> None:
    impulse = np.zeros(101)
    impulse[50] = 1
    assert np.count_nonzero(nsp.gaussian_filter(impulse, 3.0, truncate=2.0)) == 13


def test_spacing_is_the_physical_distance_of_samples() -> None:
    x = noise(30, 31)
    np.testing.assert_array_equal(
        nsp.gaussian_filter(x, 3.0, spacing=(1.5, 2.0)), nsp.gaussian_filter(x, (2.0, 1.5))
    )
    fine = np.sin(np.arange(400) * 0.05)  # the same function on two grids, and its derivative by x
    coarse = fine[::4]
    slope = nsp.gaussian_filter1d(coarse, 0.6, order=1, spacing=0.2)
    expected = nsp.gaussian_filter1d(fine, 0.6, order=1, spacing=0.05)[::4]
    np.testing.assert_allclose(slope[20:-20], expected[20:-20], rtol=2e-3, atol=2e-3)
    with pytest.raises(ValueError, match="spacing"):
        nsp.gaussian_filter(x, 1.0, spacing=0.0)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_sigma_must_be_a_standard_deviation(bad: float) -> None:
    for name in ("gaussian_filter", "gaussian_filter1d", "gaussian_laplace", "gaussian_gradient_magnitude"):
        with pytest.raises(ValueError, match="sigma"):
            getattr(nsp, name)(np.ones(5), bad)


def test_no_smoothing_is_a_copy() -> None:
    big = np.array([2**62 + 1, 3], np.int64)
    for result in (nsp.gaussian_filter(big, 0), nsp.gaussian_filter1d(big, 0), nsp.laplace(big, axes=())):
        np.testing.assert_array_equal(result, big)
        assert result is not big
    with pytest.raises(ValueError, match="sigma"):
        nsp.gaussian_filter1d(np.ones(5), 0, order=1)


def test_other_bad_arguments() -> None:
    x = np.ones((4, 5))
    with pytest.raises(ValueError, match="order must be non-negative"):
        nsp.gaussian_filter(x, 1, order=-1)
    with pytest.raises(ValueError, match="Radius must be a nonnegative integer"):
        nsp.gaussian_filter(x, 1, radius=-1)
    with pytest.raises(ValueError, match="Radius must be a nonnegative integer"):
        nsp.gaussian_filter1d(x, 1, radius=1.1)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="sigma"):
        nsp.gaussian_filter(x, (1, 2, 3))
    with pytest.raises(TypeError, match="widht"):
        nsp.gaussian_laplace(x, 1, widht=3)
    with pytest.raises(ValueError, match="axis"):
        nsp.sobel(x, axis=2)
    with pytest.raises(ValueError, match="rtol"):
        nsp.laplace(x, rtol=-1)


def test_only_the_given_axes_are_smoothed() -> None:
    x = noise(6, 20, 21)
    for name in ("laplace", "gaussian_laplace", "gaussian_gradient_magnitude"):
        function = getattr(nsp, name)
        planes = [function(plane, *CALLS[name]) for plane in x]
        np.testing.assert_allclose(function(x, *CALLS[name], axes=(1, 2)), planes, rtol=1e-12, atol=1e-12)


def test_squares_of_parts_in_different_memory_orders() -> None:
    parts = [np.asfortranarray(noise(5, 7) * 9), noise(5, 7) * 9]
    for whole in (False, True):
        squares = [np.square(np.trunc(part) if whole else part) for part in parts]
        got = magnitude((part.copy(order="K") for part in parts), whole=whole, workers=1)
        np.testing.assert_allclose(got, np.sqrt(sum(squares)), rtol=1e-14)


def test_gradient_magnitude_of_bytes_does_not_wrap() -> None:
    ramp = np.add.outer(np.zeros(40, int), 5 * np.arange(40)).astype(np.uint8)
    result = nsp.gaussian_gradient_magnitude(ramp, 1.5, cast="saturate")
    assert (result[:, 10:-10] == 5).all()
    falling = nsp.gaussian_gradient_magnitude(ramp[:, ::-1], 1.5, cast="saturate")
    assert (falling[:, 10:-10] == 5).all()


# --------------------------------------------------------------------------- sizes, outputs, missing samples
@pytest.mark.parametrize(
    "name", ["sobel", "laplace", "uniform_filter", "gaussian_filter", "gaussian_laplace"]
)
def test_valid_is_the_inner_part_and_full_contains_it(name: str) -> None:
    x = noise(40, 44)
    function = getattr(nsp, name)
    padded = np.pad(x, 15)
    inner, outer = (function(x, *CALLS[name], mode=mode) for mode in ("valid", "full"))
    same = function(x, *CALLS[name], mode="constant")
    margin = (x.shape[0] - inner.shape[0]) // 2
    cut = (slice(margin, -margin),) * 2
    np.testing.assert_allclose(inner, same[cut], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        outer,
        function(padded, *CALLS[name])[15 - margin : -(15 - margin), 15 - margin : -(15 - margin)],
        atol=1e-12,
    )


@pytest.mark.parametrize("name", CALLS)
def test_output_may_be_the_input(name: str) -> None:
    x = noise(20, 30)
    expected = getattr(nsp, name)(x, *CALLS[name])
    assert getattr(nsp, name)(x, *CALLS[name], output=x) is x
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("name", CALLS)
def test_repeated_calls_follow_their_arguments(name: str) -> None:
    """Remembered plans are those of the same arguments, shape and types."""
    function = getattr(nsp, name)
    x = noise(20, 30)
    first = function(x, *CALLS[name])
    np.testing.assert_array_equal(function(x, *CALLS[name]), first)
    np.testing.assert_array_equal(function(2 * x, *CALLS[name]), 2 * first)
    assert not np.array_equal(function(x, *CALLS[name], mode="wrap"), first)
    assert function(x.astype(np.float32), *CALLS[name]).dtype == np.float32
    assert function(x[:, :7], *CALLS[name]).shape == (20, 7)
    with pytest.raises(ValueError, match="NaN"):
        function(np.where(x > 2, np.nan, x), *CALLS[name], nan_policy="raise")


@pytest.mark.filterwarnings("ignore:input is a masked array")
def test_masked_arrays_lose_their_mask() -> None:
    x = np.ma.masked_array(noise(9), mask=[True] * 9)
    result = nsp.gaussian_filter(x, 1.0)
    assert type(result) is np.ndarray
    np.testing.assert_allclose(result, ndimage.gaussian_filter(x.data, 1.0), rtol=1e-12)


@pytest.mark.parametrize("name", ["gaussian_filter", "uniform_filter"])
def test_missing_samples_are_left_out(name: str) -> None:
    x = noise(40, 41)
    mask = np.random.default_rng(5).random(x.shape) < 0.2
    holes = np.where(mask, np.nan, x)
    weight = getattr(ndimage, name)((~mask).astype(float), *CALLS[name])
    expected = getattr(ndimage, name)(np.where(mask, 0, x), *CALLS[name]) / weight
    np.testing.assert_allclose(
        getattr(nsp, name)(holes, *CALLS[name], nan_policy="omit"), expected, rtol=1e-10
    )
    np.testing.assert_allclose(getattr(nsp, name)(x, *CALLS[name], mask=mask), expected, rtol=1e-10)
    with pytest.raises(ValueError, match="zero"):
        nsp.sobel(holes, nan_policy="omit")


def test_generic_filters_hand_their_arguments_on() -> None:
    calls = []

    def derivative(
        x: Any, axis: int, output: Any, mode: str, cval: float, scale: float, *, shift: int = 0, **more: Any
    ) -> Any:
        calls.append((axis, mode, cval, scale, shift, more))
        return nsp.correlate1d(scale * x, [1, -2, 1], axis, output, mode, cval)

    x = noise(8, 9)
    result = nsp.generic_laplace(
        x, derivative, mode=("wrap", "mirror"), extra_arguments=(2.0,), extra_keywords={"shift": 3}, workers=1
    )
    assert calls == [(0, "wrap", 0.0, 2.0, 3, {"workers": 1}), (1, "mirror", 0.0, 2.0, 3, {"workers": 1})]
    np.testing.assert_allclose(result, 2 * nsp.laplace(x, mode=("wrap", "mirror")), rtol=1e-12, atol=1e-12)
    magnitude = nsp.generic_gradient_magnitude(x, nsp.sobel)
    np.testing.assert_allclose(magnitude, np.hypot(nsp.sobel(x, 0), nsp.sobel(x, 1)), rtol=1e-12)
    expected = nsp.generic_laplace(x, derivative, extra_arguments=(1.0,))
    nsp.generic_laplace(x, derivative, output=x, extra_arguments=(1.0,))
    np.testing.assert_array_equal(x, expected)


GAPPED = {
    "narrow": lambda f, x, **k: f.gaussian_filter(x, 0.6, **k),
    "wide": lambda f, x, **k: f.gaussian_filter(x, 4, **k),
    "box": lambda f, x, **k: f.uniform_filter(x, 21, **k),
}


@pytest.mark.thinned
@pytest.mark.parametrize("name", GAPPED)
@pytest.mark.parametrize("shape", [(40, 70), (5, 16), (24, 26, 28), (9, 10, 11, 12)])
@pytest.mark.parametrize(
    ("mode", "cval"), [("reflect", 0.0), ("constant", 0.0), ("constant", 1.5), ("wrap", 0.0)]
)
def test_gaps_in_any_number_of_dimensions(name, shape, mode, cval):
    rng = np.random.default_rng(17)
    x = rng.random(shape)
    x[rng.random(shape) < 0.2] = np.nan
    x[3:8, 4:9] = np.nan
    function, valid = GAPPED[name], ~np.isnan(x)
    total = function(ndimage, np.where(valid, x, 0), mode=mode, cval=cval)
    share = function(ndimage, valid.astype(float), mode=mode, cval=1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(share > 1e-12, total / share, np.nan)
    result = function(nsp, x, mode=mode, cval=cval, nan_policy="omit")
    np.testing.assert_allclose(result, expected, rtol=1e-9)
    marked = function(nsp, np.where(valid, x, 7.0), mode=mode, cval=cval, mask=~valid)
    np.testing.assert_allclose(marked, expected, rtol=1e-9)
    whole = np.nan_to_num(x)
    short = shape[-1] * x.itemsize <= LONGEST_ROW and x.size >= LEAST_NUMBERS
    rounding = 4e-15 if short else 0  # boundaries of short rows are part of their weights
    np.testing.assert_allclose(
        function(nsp, whole, mode=mode, cval=cval, nan_policy="omit"),
        function(nsp, whole, mode=mode, cval=cval),
        rtol=rounding,
    )


def test_a_mask_does_not_hide_other_nan():
    x = np.ones((20, 30))
    x[5, 5] = x[15, 20] = np.nan
    mask = np.zeros(x.shape, bool)
    mask[5, 5] = True
    result = nsp.gaussian_filter(x, 0.5, mask=mask)
    assert np.isnan(result[15, 20])
    assert result[5, 5] == pytest.approx(1)
