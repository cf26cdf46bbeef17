"""Masked arrays lose their mask, with one warning that says what to write; derivatives of arrays with gaps."""

import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import numbasep as nsp
from numbasep import nn
from numbasep.arguments import arrays

RNG = np.random.default_rng(4)
X = RNG.random((12, 13))
MASK = RNG.random(X.shape) < 0.2
MASKED = np.ma.masked_array(X, mask=MASK)
KERNEL = np.outer([1.0, 2, 1], [1.0, 2, 3])

CALLS: dict[str, Callable[..., Any]] = {
    "convolve": lambda x, **o: nsp.convolve(x, KERNEL, **o),
    "correlate": lambda x, **o: nsp.correlate(x, KERNEL, **o),
    "correlate1d": lambda x, **o: nsp.correlate1d(x, [1, 2, 1], **o),
    "separable_convolve": lambda x, **o: nsp.separable_convolve(x, [[1, 2], [3, 4]], **o),
    "gaussian_filter": lambda x, **o: nsp.gaussian_filter(x, 1, **o),
    "gaussian_filter1d": lambda x, **o: nsp.gaussian_filter1d(input=x, sigma=1, **o),
    "uniform_filter": lambda x, **o: nsp.uniform_filter(x, **o),
    "filter_bank": lambda x, **o: nsp.filter_bank(x, [KERNEL], **o),
}
DERIVATIVES: dict[str, Callable[..., Any]] = {
    "sobel": nsp.sobel,
    "prewitt": nsp.prewitt,
    "laplace": nsp.laplace,
    "gaussian_laplace": lambda x, **o: nsp.gaussian_laplace(x, 1, **o),
    "gaussian_gradient_magnitude": lambda x, **o: nsp.gaussian_gradient_magnitude(x, 1, **o),
    "gaussian_filter": lambda x, **o: nsp.gaussian_filter(x, 1, order=(0, 1), **o),
    "gaussian_filter1d": lambda x, **o: nsp.gaussian_filter1d(x, 1, order=2, **o),
    "convolve": lambda x, **o: nsp.convolve(x, [[1, 0, -1]], **o),
    "correlate1d": lambda x, **o: nsp.correlate1d(x, [1, -2, 1], **o),
    "generic_laplace": lambda x, **o: nsp.generic_laplace(x, lambda *a, **k: nsp.sobel(*a[:5], **k), **o),
}


@pytest.fixture(autouse=True)
def as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_warned", [])


@pytest.mark.parametrize("name", CALLS)
def test_one_warning_that_names_the_remedy(name: str) -> None:
    with pytest.warns(UserWarning, match=r"masked array.*mask=x\.mask") as caught:
        got = CALLS[name](MASKED)
    assert [one.filename for one in caught] == [__file__], "it points at the call"
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got, CALLS[name](X))
    CALLS[name](MASKED)  # the second warning would be an error here


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_warn_too(name: str) -> None:
    with pytest.warns(UserWarning, match="masked array"):
        np.testing.assert_array_equal(DERIVATIVES[name](MASKED), DERIVATIVES[name](X))


@pytest.mark.parametrize("name", CALLS)
def test_the_remedy_leaves_masked_samples_out(name: str) -> None:
    got = CALLS[name](MASKED, mask=MASKED.mask)
    np.testing.assert_allclose(got, CALLS[name](np.where(MASK, np.nan, X), nan_policy="omit"), rtol=1e-12)
    whole, share, total = (CALLS[name](a) for a in (np.ones_like(X), 1.0 - MASK, np.where(MASK, 0, X)))
    reached = share > 1e-9  # elsewhere there is no valid sample under the kernel
    np.testing.assert_allclose(got[reached], (whole * total)[reached] / share[reached], rtol=1e-10)
    assert np.isnan(got[~reached]).all()


def test_nothing_masked_and_plain_arrays_are_silent() -> None:
    nsp.convolve(np.ma.masked_array(X), KERNEL)
    nsp.convolve(np.ma.masked_array(X, mask=np.zeros(X.shape, bool)), KERNEL)
    nsp.convolve(X, KERNEL)
    nsp.convolve(X.tolist(), KERNEL)


def test_a_plan_and_convolutions_over_channels_have_other_remedies() -> None:
    planned = nsp.plan(KERNEL, X.shape)
    with pytest.warns(UserWarning, match="a plan takes no mask") as caught:
        planned(MASKED)
    assert [one.filename for one in caught] == [__file__]
    arrays._warned.clear()
    with pytest.warns(UserWarning, match=r"x\.filled\(0\)"):
        nn.conv2d(MASKED[None, :, :, None], np.ones((3, 3, 1, 1)), [1] * 4, "SAME")


def test_dask_arrays_warn_when_the_call_is_made() -> None:
    da = pytest.importorskip("dask.array", reason="needs dask: pip install numbasep[dask]")
    lazy = da.from_array(MASKED, chunks=(6, 13))
    with pytest.warns(UserWarning, match=r"mask=dask\.array\.ma\.getmaskarray\(x\)"):
        result = nsp.convolve(lazy, KERNEL)
    np.testing.assert_allclose(result.compute(scheduler="sync"), nsp.convolve(X, KERNEL), rtol=1e-12)
    masked = nsp.convolve(lazy, KERNEL, mask=da.ma.getmaskarray(lazy)).compute(scheduler="sync")
    np.testing.assert_allclose(masked, nsp.convolve(X, KERNEL, mask=MASK), rtol=1e-12)


def test_once_in_a_process_whatever_the_filters_of_warnings() -> None:
    program = (
        "import warnings, numpy as np, numbasep as nsp; warnings.simplefilter('always');"
        "x = np.ma.masked_less(np.arange(9.0), 3); nsp.gaussian_filter(x, 1);"
        "nsp.uniform_filter(x); nsp.gaussian_filter(x, 1)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.count("UserWarning") == 1, done.stderr


def test_a_warning_that_is_an_error_comes_again() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(UserWarning, match="masked array"):
                nsp.uniform_filter(MASKED)


# ------------------------------------------------------------------------- weights that sum to zero


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize("given", ["nan", "mask", "both", "integers"])
def test_a_derivative_with_gaps_is_refused_and_the_way_out_works(name: str, given: str) -> None:
    x = np.where(MASK, np.nan, X) if given in ("nan", "both") else X
    x = (100 * X).astype(np.int16) if given == "integers" else x
    keywords: dict[str, Any] = {"nan_policy": "omit"} if given in ("nan", "both") else {}
    keywords |= {} if given == "nan" else {"mask": MASK}
    with pytest.raises(ValueError, match=r"sum to zero.*normalised Gaussian") as caught:
        DERIVATIVES[name](x, **keywords)
    (call,) = re.findall(r"smooth = (numbasep\.gaussian_filter\(.*?\)),", str(caught.value))
    for word in ("nan_policy", "mask"):
        assert (f"{word}=" in call) == (word in keywords)
    smooth = eval(call, {"numbasep": nsp, "x": x, "s": 2.0, "mask": MASK})  # what the message says, done
    assert smooth.dtype == float
    valid = (~MASK).astype(float)
    samples = np.where(MASK, 0, x)
    expected = ndimage.gaussian_filter(samples.astype(float), 2.0) / ndimage.gaussian_filter(valid, 2.0)
    np.testing.assert_allclose(smooth, expected, rtol=1e-9)
    assert np.isfinite(DERIVATIVES[name](smooth)).all()


@pytest.mark.parametrize("name", DERIVATIVES)
def test_without_gaps_nothing_is_refused(name: str) -> None:
    got = DERIVATIVES[name](X, nan_policy="omit", mask=np.zeros(X.shape, bool))
    np.testing.assert_array_equal(got, DERIVATIVES[name](X))


@pytest.mark.parametrize("name", CALLS)
def test_the_mask_of_an_array_without_masked_samples_is_none(name: str) -> None:
    """`x.mask` is then `numpy.ma.nomask`, a scalar."""
    x = np.ma.masked_array(X)
    assert x.mask is np.ma.nomask
    np.testing.assert_array_equal(CALLS[name](x, mask=x.mask), CALLS[name](X))
    lazy = pytest.importorskip("dask.array").from_array(X, chunks=(5, 13))
    np.testing.assert_allclose(CALLS[name](lazy, mask=x.mask), CALLS[name](X), rtol=1e-12)
    np.testing.assert_allclose(
        CALLS[name](lazy, mask=MASK.tolist()), CALLS[name](X, mask=MASK), rtol=1e-12, equal_nan=True
    )
