"""Long runs of equal taps are summed as boxes: exact for integers, no drift, nothing lost or spread."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import numbasep
from numbasep.lowering import kernels
from numbasep.planning import machine
from tests.support import oracle

SIZES = ((16, 16), (17, 31), (33, 3), (3, 40), (20, 1), (1, 50), (64, 101), (150, 150))
MODES = ("reflect", "mirror", "nearest", "wrap", "constant")


@pytest.fixture(autouse=True, params=[True, False], ids=["boxes", "by size"])
def boxed(request, monkeypatch):
    """Boxes wherever kernels allow it, then only on images for which they pay."""
    if request.param:
        monkeypatch.setattr(kernels, "MOST_BOX_ROWS", 0)
        monkeypatch.setattr(kernels, "LEAST_BOXED", 0)
    machine.forget()
    yield
    machine.forget()


@pytest.mark.jitoff
@pytest.mark.parametrize("size", [(17, 20), (50, 16)])
def test_boxes_word_by_word(size):
    x = np.random.default_rng(1).integers(0, 256, (18, 25, 2)).astype(float)
    result = numbasep.uniform_filter(x, size, axes=(0, 1))
    np.testing.assert_allclose(result, ndimage.uniform_filter(x, (*size, 1)), rtol=1e-13)


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(40, 70), (17, 33), (20, 30, 3)])
def test_boxes_of_any_size(mode, shape):
    # Sums of whole numbers, so the oracle's are exact. Ours are rounded after the first axis. The second adds rounded
    # numbers, in an order that depends on the processor: errors grow as a random walk.
    x = np.random.default_rng(2).integers(0, 256, shape).astype(float)
    for size in SIZES:
        result = numbasep.uniform_filter(x, size, axes=(0, 1), mode=mode, cval=3.0)
        ones = [np.ones(n) for n in size]
        total = oracle.separable_correlate(x, ones, axes=(0, 1), mode=mode, cval=3.0)
        rtol = np.finfo(float).eps * np.sqrt(sum(size))
        np.testing.assert_allclose(result, total / np.prod(size), rtol=rtol, err_msg=str(size))


def test_scipy_agrees_on_volumes_and_single_axes():
    x = np.random.default_rng(4).random((40, 50, 60))
    np.testing.assert_allclose(
        numbasep.uniform_filter(x, (21, 35, 50)), ndimage.uniform_filter(x, (21, 35, 50)), rtol=1e-12
    )
    for axis in range(3):
        np.testing.assert_allclose(
            numbasep.uniform_filter1d(x, 33, axis), ndimage.uniform_filter1d(x, 33, axis), rtol=1e-12
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_integer_sums_are_exact(dtype):
    rng = np.random.default_rng(6)
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, (90, 120), dtype, endpoint=True)
    total = numbasep.correlate(x, np.ones((41, 37), np.int64), np.float64)
    padded = np.pad(x.astype(np.int64), ((20, 20), (18, 18)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (41, 37))
    np.testing.assert_array_equal(total, windows.sum(axis=(2, 3)))


def test_no_drift_after_large_samples():
    x = np.zeros((64, 4096), np.float32)
    x[:, :40] = 1e30
    result = numbasep.uniform_filter(x, 33)
    assert (result >= 0).all()
    assert (result[:, 80:] == 0).all()


@pytest.mark.parametrize("spot", [np.nan, np.inf])
def test_a_spoilt_sample_spoils_its_windows_only(spot):
    x = np.ones((120, 150), np.float32)
    x[60, 70] = spot
    result = numbasep.uniform_filter(x, (33, 49))
    touched = np.zeros(x.shape, bool)
    touched[60 - 16 : 60 + 17, 70 - 24 : 70 + 25] = True
    np.testing.assert_array_equal(~np.isfinite(result), touched)
    np.testing.assert_allclose(result[~touched], 1, rtol=1e-6)


def test_disks_and_rings_use_them():
    rows, columns = np.mgrid[-30:31, -30:31]
    ring = ((rows**2 + columns**2 <= 900) & (rows**2 + columns**2 >= 400)).astype(float)
    x = np.random.default_rng(8).random((100, 110))
    result = numbasep.correlate(x, ring, method="structured")
    np.testing.assert_allclose(result, ndimage.correlate(x, ring), rtol=1e-11)
