"""Functions of several launches on arrays of the device, in the simulator: banks, magnitudes, missing samples."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import numbasep
from numbasep.cuda import libraries
from tests.support.cuda_on_device import OnDevice, OnDeviceLibrary

pytestmark = [pytest.mark.cudasim, pytest.mark.slow]
rng = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(libraries.LIBRARIES, OnDevice.__module__.partition(".")[0], OnDeviceLibrary())


def image(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape or (6, 20)).astype(np.float32)


@pytest.mark.parametrize("output", ["none", "dtype", "array"])
def test_banks(output: str) -> None:
    x, kernels = image(), [rng.random((3, 5)), rng.random((3, 3)), np.ones((1, 2))]
    given: Any = {"none": None, "dtype": np.float64, "array": OnDevice(np.zeros((3, 6, 20), "f4"))}[output]
    got = numbasep.filter_bank(OnDevice(x), [OnDevice(kernels[0]), *kernels[1:]], given, mode="wrap")
    assert type(got) is OnDevice
    assert (got is given) == (output == "array")
    assert got.values.dtype == (np.float64 if output == "dtype" else np.float32)
    for one, kernel in zip(got.values, kernels, strict=True):
        np.testing.assert_allclose(one, ndimage.convolve(x, kernel, mode="wrap"), atol=1e-5)


def test_a_bank_that_writes_over_its_input() -> None:
    stack = np.zeros((2, 6, 20), np.float32)
    stack[0] = x = image()
    kernels = [np.ones((3, 3)), np.ones((1, 3))]
    numbasep.filter_bank(OnDevice(stack[0]), kernels, OnDevice(stack))
    np.testing.assert_allclose(stack[0], ndimage.convolve(x, kernels[0]), atol=1e-5)
    np.testing.assert_allclose(stack[1], ndimage.convolve(x, kernels[1]), atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "cast"),
    [("float32", "truncate"), ("uint8", "truncate"), ("uint8", "saturate"), ("float64", "truncate")],
)
def test_gradient_magnitude(dtype: str, cast: str) -> None:
    x = (image() * 50 + 100).astype(dtype)
    got = numbasep.gaussian_gradient_magnitude(OnDevice(x), 1.0, mode=("mirror", "nearest"), cast=cast)
    expected = numbasep.gaussian_gradient_magnitude(x, 1.0, mode=("mirror", "nearest"), cast=cast)
    assert got.values.dtype == x.dtype
    np.testing.assert_allclose(got.values, expected, atol=0 if dtype == "uint8" else 1e-4)
    target = OnDevice(np.zeros((6, 20), np.float16))
    assert numbasep.gaussian_gradient_magnitude(OnDevice(x), 1.0, target) is target
    np.testing.assert_allclose(
        target.values, numbasep.gaussian_gradient_magnitude(x, 1.0, np.float16), atol=0.1
    )


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_laplacians_with_a_mode_for_each_axis(dtype: str) -> None:
    x = (image() * 300).astype(dtype)
    got = numbasep.gaussian_laplace(OnDevice(x), 1.0, mode=("mirror", "wrap"))
    expected = numbasep.gaussian_laplace(x, 1.0, mode=("mirror", "wrap"))
    np.testing.assert_allclose(got.values, expected, atol=0 if dtype == "int16" else 1e-2)
    target = OnDevice(np.zeros(x.shape, dtype))
    assert numbasep.gaussian_laplace(OnDevice(x), 1.0, target, mode=("mirror", "wrap")) is target
    np.testing.assert_array_equal(target.values, got.values)


@pytest.mark.parametrize("name", ["generic_gradient_magnitude", "generic_laplace"])
def test_derivatives_of_the_caller(name: str) -> None:
    x, seen = image(), []

    def derivative(array: Any, axis: int, output: Any, mode: str, cval: float, order: int) -> Any:
        seen.append(type(array))
        return numbasep.gaussian_filter1d(array, 1.0, axis, order, output, mode, cval)

    arguments = {"mode": ["wrap", "reflect"], "extra_arguments": (2,)}
    got = getattr(numbasep, name)(OnDevice(x), derivative, np.float64, **arguments)
    assert seen == [OnDevice, OnDevice]
    np.testing.assert_allclose(
        got.values, getattr(numbasep, name)(x, derivative, np.float64, **arguments), atol=1e-5
    )
    target = OnDevice(np.zeros((6, 20), np.float32))
    assert getattr(numbasep, name)(OnDevice(x), derivative, target, **arguments) is target
    np.testing.assert_allclose(target.values, got.values, atol=1e-5)
    with pytest.raises(ValueError, match="derivative must return"):
        getattr(numbasep, name)(OnDevice(x), lambda *_: OnDevice(np.zeros((6, 2), "f4")))


@pytest.mark.parametrize(
    ("where", "dtype"),
    [("on the device", "uint8"), ("on the host", "float64"), ("integers", "float32"), ("none", "float32")],
)
def test_missing_samples(where: str, dtype: str) -> None:
    x = (image() * 50 + 100).astype(dtype)
    mask = np.zeros(x.shape, bool)
    mask[2:5, 3:9] = True
    if dtype != "uint8":
        x[5, 15] = np.nan
    given: Any = {"on the device": OnDevice(mask), "on the host": mask, "integers": OnDevice(mask * 7)}.get(
        where
    )
    options = {"sigma": 1.0, "output": np.float64, "nan_policy": "omit"}
    got = numbasep.gaussian_filter(OnDevice(x), mask=given, **options)
    expected = numbasep.gaussian_filter(x, mask=None if given is None else mask, **options)
    assert got.values.dtype == np.float64
    np.testing.assert_allclose(got.values, expected, rtol=1e-5)


def test_nothing_is_left_of_a_large_gap() -> None:
    x = image()
    mask = np.ones(x.shape, bool)
    mask[0, 0] = False
    got = numbasep.uniform_filter(OnDevice(x), 3, mask=mask).values
    np.testing.assert_array_equal(got, numbasep.uniform_filter(x, 3, mask=mask))
    assert np.isnan(got).sum() == x.size - 4


def test_nan_is_an_error_where_asked() -> None:
    x = image()
    numbasep.uniform_filter(OnDevice(x), 3, nan_policy="raise")
    x[5, 19] = np.nan
    with pytest.raises(ValueError, match="NaN and nan_policy='raise'"):
        numbasep.uniform_filter(OnDevice(x), 3, nan_policy="raise")


def test_a_filter_without_axes_copies() -> None:
    x = image()
    got = numbasep.gaussian_filter(OnDevice(x), 1.0, axes=(), output=np.float64)
    np.testing.assert_array_equal(got.values, x.astype(np.float64))
    integers = OnDevice(np.arange(6, dtype=np.int32).reshape(2, 3))
    np.testing.assert_array_equal(numbasep.uniform_filter(integers, 3, axes=()).values, integers.values)
