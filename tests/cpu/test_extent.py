"""The check that routes which need finite data rest on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from numbasep.cpu import largest_magnitude as extent
from numbasep.cpu.largest_magnitude import largest_magnitude


@pytest.mark.thinned
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64, ">f4"])
@pytest.mark.parametrize("shape", [(), (1,), (5, 7), (300, 400), (3, 1, 500_000), (70, 80, 90)])
def test_every_sample_is_looked_at(shape, dtype, workers, monkeypatch):
    monkeypatch.setattr(extent, "PARALLEL_BYTES", 0)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, shape).astype(dtype)
    for layout in (x, x.T, np.broadcast_to(x, (2, *shape)), np.repeat(x[..., None], 3, -1)[..., 1]):
        assert largest_magnitude(layout, workers) <= 1
    for value, expected in (
        (-7.0, 7.0),
        (5.0, 5.0),
        (np.inf, math.inf),
        (-np.inf, math.inf),
        (np.nan, math.nan),
    ):
        for _ in range(10):
            y = np.array(x)
            y[tuple(rng.integers(0, n) for n in shape)] = value
            np.testing.assert_equal(largest_magnitude(y, workers), expected)


def test_the_imaginary_part_counts():
    assert largest_magnitude(np.array([1 + 1j, 2 - 9j])) == 9.0
    assert math.isnan(largest_magnitude(np.array([complex(0, np.nan), 2])))


def test_nothing_is_small():
    assert largest_magnitude(np.zeros((0, 3))) == 0.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("workers", [1, 2])
def test_dense_arrays_in_either_order(dtype, workers):
    x = np.random.default_rng(1).standard_normal((700, 900)).astype(dtype)
    x[600, 5] = -1e6 if x.dtype.kind == "f" else 3 - 1e6j
    for view in (x, x.T, x[:3, :4].copy()):
        expected = max(np.abs(view.real).max(), np.abs(view.imag).max())
        assert largest_magnitude(view, workers) == expected
    x[0, 0] = -np.nan
    assert np.isnan(largest_magnitude(x, workers))
    x[0, 0] = -np.inf
    assert largest_magnitude(x, workers) == np.inf
