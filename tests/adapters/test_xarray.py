"""xarray: the values are those of the plain array, and everything that is written on it is kept."""

from typing import Any

import numpy as np
import pytest

import numbasep as nsp
from numbasep import nn

xr = pytest.importorskip("xarray", reason="needs xarray: pip install numbasep[xarray]")

RNG = np.random.default_rng(3)
VALUES = RNG.random((4, 12, 15), dtype=np.float32)
WEIGHTS = RNG.standard_normal((3, 4))


@pytest.fixture
def stack() -> Any:
    coords = {
        "time": np.array(["2026-01-01", "2026-01-02", "2026-01-04", "2026-01-08"], "M8[ns]"),
        "y": np.linspace(50, 49, 12),
        "x": np.linspace(5, 6.4, 15),
        "height": (("y", "x"), RNG.random((12, 15))),
        "station": "north",
    }
    attrs = {"units": "K", "long_name": "temperature"}
    return xr.DataArray(VALUES, dims=("time", "y", "x"), coords=coords, attrs=attrs, name="t2m")


def same_labels(result: Any, x: Any, values: np.ndarray) -> None:
    assert isinstance(result, xr.DataArray)
    xr.testing.assert_identical(result, x.copy(data=values))


@pytest.mark.parametrize(
    ("by_name", "by_number"),
    [
        (
            lambda x: nsp.gaussian_filter(x, 1, axes=("y", "x")),
            lambda x: nsp.gaussian_filter(x, 1, axes=(1, 2)),
        ),
        (
            lambda x: nsp.gaussian_filter(x, (1, 3), axes=["x", "y"]),
            lambda x: nsp.gaussian_filter(x, (1, 3), axes=(2, 1)),
        ),
        (lambda x: nsp.gaussian_filter(x, 2, axes="y"), lambda x: nsp.gaussian_filter(x, 2, axes=1)),
        (lambda x: nsp.gaussian_filter1d(x, 1, "time"), lambda x: nsp.gaussian_filter1d(x, 1, 0)),
        (
            lambda x: nsp.convolve(x, WEIGHTS, axes=("x", "y")),
            lambda x: nsp.convolve(x, WEIGHTS, axes=(2, 1)),
        ),
        (lambda x: nsp.convolve(x, WEIGHTS, axes=(-1, "y")), lambda x: nsp.convolve(x, WEIGHTS, axes=(2, 1))),
        (
            lambda x: nsp.separable_convolve(x, {"y": [1, 2], "x": [1, 1]}),
            lambda x: nsp.separable_convolve(x, {1: [1, 2], 2: [1, 1]}),
        ),
        (lambda x: nsp.sobel(x, "x", mode="wrap"), lambda x: nsp.sobel(x, 2, mode="wrap")),
        (lambda x: nsp.uniform_filter(x, 3, output=float), lambda x: nsp.uniform_filter(x, 3, output=float)),
        (
            lambda x: nsp.gaussian_laplace(x, 1, truncate=2.0),
            lambda x: nsp.gaussian_laplace(x, 1, truncate=2.0),
        ),
        (
            lambda x: nsp.generic_laplace(x, nsp.sobel, axes="y"),
            lambda x: nsp.generic_laplace(x, nsp.sobel, axes=1),
        ),
    ],
)
def test_values_of_the_plain_array_and_all_labels(by_name: Any, by_number: Any, stack: Any) -> None:
    before = stack.copy(deep=True)
    same_labels(by_name(stack), stack, by_number(VALUES))
    xr.testing.assert_identical(stack, before)


def test_coordinates_of_a_smaller_result_are_those_under_the_centre(stack: Any) -> None:
    for function in (nsp.convolve, nsp.correlate):
        same = function(stack, WEIGHTS, axes=("y", "x"))
        valid = function(stack, WEIGHTS, axes=("y", "x"), mode="valid")
        cut = same.sel(y=valid.y, x=valid.x)
        assert valid.shape == (4, 10, 12)
        np.testing.assert_allclose(valid, cut, rtol=1e-6)
        np.testing.assert_array_equal(valid.height, cut.height)
        assert valid.attrs == stack.attrs
    valid = nsp.uniform_filter1d(stack, 4, "x", mode="valid")
    np.testing.assert_allclose(valid, nsp.uniform_filter1d(stack, 4, "x").sel(x=valid.x), rtol=1e-6)


def test_coordinates_of_a_larger_result_are_dropped(stack: Any) -> None:
    full = nsp.convolve(stack, WEIGHTS, axes=("y", "x"), mode=("full", "reflect"))
    assert full.sizes == {"time": 4, "y": 14, "x": 15}
    assert set(full.coords) == {"time", "x", "station"}
    assert (full.name, full.attrs) == (stack.name, stack.attrs)


def test_filter_bank_has_a_new_first_dimension(stack: Any) -> None:
    bank = [WEIGHTS, WEIGHTS[::-1]]
    result = nsp.filter_bank(stack, bank, axes=("y", "x"))
    assert result.dims == ("kernel", "time", "y", "x")
    np.testing.assert_array_equal(result, nsp.filter_bank(VALUES, bank, axes=(1, 2)))
    xr.testing.assert_identical(result.isel(kernel=1), nsp.convolve(stack, bank[1], axes=("y", "x")))
    valid = nsp.filter_bank(stack, bank, axes=("y", "x"), mode="valid")
    np.testing.assert_array_equal(valid.x, nsp.convolve(stack, WEIGHTS, axes=("y", "x"), mode="valid").x)
    renamed = stack.rename(time="kernel")
    assert nsp.filter_bank(renamed, bank, axes=("y", "x")).dims == ("kernel_", "kernel", "y", "x")


def test_a_labelled_mask_in_any_order_of_dimensions(stack: Any) -> None:
    mask = stack > 0.8
    expected = nsp.gaussian_filter(VALUES, 1, axes=(1, 2), mask=VALUES > 0.8)
    same_labels(nsp.gaussian_filter(stack, 1, axes=("y", "x"), mask=mask), stack, expected)
    same_labels(
        nsp.gaussian_filter(stack, 1, axes=("y", "x"), mask=mask.transpose("x", "time", "y")), stack, expected
    )


def test_dask_inside_stays_lazy(stack: Any) -> None:
    da = pytest.importorskip("dask.array", reason="needs dask: pip install numbasep[dask]")
    lazy = stack.chunk({"y": 5, "x": 8})
    result = nsp.gaussian_filter(lazy, (1, 2), axes=("y", "x"), mask=lazy > 0.8)
    assert isinstance(result.data, da.Array)
    assert result.chunks == lazy.chunks
    expected = nsp.gaussian_filter(VALUES, (1, 2), axes=(1, 2), mask=VALUES > 0.8)
    xr.testing.assert_allclose(result.compute(scheduler="synchronous"), stack.copy(data=expected))
    valid = nsp.uniform_filter(lazy, 3, axes=("y", "x"), mode="valid")
    assert valid.sizes == {"time": 4, "y": 10, "x": 13}
    np.testing.assert_array_equal(valid.y, stack.y[1:-1])


def test_an_output_array_is_written_to(stack: Any) -> None:
    out = np.empty(VALUES.shape)
    result = nsp.gaussian_filter(stack, 1, output=out)
    assert np.shares_memory(result.data, out)
    np.testing.assert_array_equal(out, nsp.gaussian_filter(VALUES, 1, output=float))


def test_layers_keep_the_batch() -> None:
    images = xr.DataArray(
        RNG.random((2, 6, 7, 3), dtype=np.float32), dims=("scene", "y", "x", "band"), attrs={"sensor": "A"},
        coords={"scene": ["a", "b"], "band": ["r", "g", "b"], "y": np.arange(6)},
    )  # fmt: skip
    filters = RNG.random((3, 3, 3, 5), dtype=np.float32)
    result = nn.conv2d(images, filters, 1, "VALID")
    assert result.dims == images.dims
    assert list(result.coords) == ["scene"]
    assert result.attrs == images.attrs
    np.testing.assert_array_equal(result, nn.conv2d(images.values, filters, 1, "VALID"))
    to_input, to_filters = nn.conv2d_vjp(result, images, filters, 1, "VALID")
    expected = nn.conv2d_vjp(result.values, images.values, filters, 1, "VALID")
    xr.testing.assert_identical(to_input, images.copy(data=expected[0]))
    np.testing.assert_array_equal(to_filters, expected[1])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda x: nsp.gaussian_filter(x, 1, axes=("y", "z")),
            ValueError,
            "axes must name dimensions.*'time', 'y', 'x'.*'z'",
        ),
        (lambda x: nsp.sobel(x, "lon"), ValueError, "axis must name dimensions.*'lon'"),
        (
            lambda x: nsp.separable_convolve(x, {"lon": [1]}),
            ValueError,
            "kernels must name dimensions.*'lon'",
        ),
        (
            lambda x: nsp.gaussian_filter(x, 1, mask=x[0] > 0),
            ValueError,
            "mask must have the dimensions of the input",
        ),
        (lambda x: nsp.gaussian_filter(x, 1, output=x), TypeError, "output must be a dtype"),
        (lambda x: nsp.gaussian_filter(x.to_dataset(), 1), TypeError, "Dataset.map"),
    ],
)
def test_bad_input(call: Any, error: type[Exception], words: str, stack: Any) -> None:
    with pytest.raises(error, match=words):
        call(stack)
