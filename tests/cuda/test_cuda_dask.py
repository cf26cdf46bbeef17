"""Dask arrays whose chunks are on the simulated GPU, as CuPy's would be."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import numbasep
from tests.support.cuda_on_device import OnDevice, OnDeviceLibrary

pytestmark = pytest.mark.cudasim
da = pytest.importorskip("dask.array")

rng = np.random.default_rng(23)


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    from numbasep.cuda import libraries

    monkeypatch.setitem(libraries.LIBRARIES, OnDevice.__module__.partition(".")[0], OnDeviceLibrary())


def chunked(x: np.ndarray) -> Any:
    return da.from_array(OnDevice(x), chunks=(4, 9), asarray=False)


def computed(lazy: Any) -> np.ndarray:
    found = lazy.compute(scheduler="sync")
    assert type(lazy._meta) is OnDevice
    assert type(found) is OnDevice
    return found.values


@pytest.mark.parametrize("mode", ["reflect", "wrap", "constant"])
def test_filters(mode: str) -> None:
    x = rng.standard_normal((10, 20)).astype(np.float32)
    weights = rng.standard_normal((3, 4))
    filtered = numbasep.correlate(chunked(x), weights, mode=mode, cval=0.5)
    np.testing.assert_allclose(
        computed(filtered), ndimage.correlate(x, weights, mode=mode, cval=0.5), atol=1e-5
    )
    smooth = numbasep.gaussian_filter(chunked(x), (0.5, 1.0), mode=mode, output=np.float64)
    expected = ndimage.gaussian_filter(x.astype(float), (0.5, 1.0), mode=mode)
    np.testing.assert_allclose(computed(smooth), expected, atol=1e-5)


def test_functions_of_several_filters() -> None:
    x = rng.standard_normal((10, 20)).astype(np.float32)
    length = numbasep.gaussian_gradient_magnitude(chunked(x), 0.7)
    np.testing.assert_allclose(computed(length), ndimage.gaussian_gradient_magnitude(x, 0.7), atol=1e-5)
    bank = numbasep.filter_bank(chunked(x), [np.ones((3, 3)), np.ones((1, 5))])
    expected = [ndimage.correlate(x, np.ones(shape)) for shape in ((3, 3), (1, 5))]
    np.testing.assert_allclose(computed(bank), expected, atol=1e-5)
    valid = numbasep.correlate(chunked(x), np.ones((5, 5)), mode="valid")
    np.testing.assert_allclose(computed(valid), ndimage.correlate(x, np.ones((5, 5)))[2:-2, 2:-2], atol=1e-4)


def test_missing_samples() -> None:
    x = rng.standard_normal((10, 20)).astype(np.float32)
    x[3, 4:7] = np.nan
    filtered = numbasep.uniform_filter(chunked(x), 5, nan_policy="omit")
    expected = numbasep.uniform_filter(x, 5, nan_policy="omit")
    np.testing.assert_allclose(computed(filtered), expected, atol=1e-5)


def test_functions_whose_modes_differ_between_axes() -> None:
    x = rng.standard_normal((10, 20)).astype(np.float32)
    for name in ("gaussian_laplace", "gaussian_gradient_magnitude"):
        filtered = getattr(numbasep, name)(chunked(x), 0.7, mode=["reflect", "wrap"])
        expected = getattr(numbasep, name)(x, 0.7, mode=["reflect", "wrap"])
        np.testing.assert_allclose(computed(filtered), expected, atol=1e-5)
