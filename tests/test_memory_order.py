"""Fortran arrays: filtered as the C arrays of the reversed shape that they are, planned for their own order."""

from __future__ import annotations

import numpy as np
import pytest

import numbasep
from numbasep.reorder import is_reversed, reversed_plan
from tests import oracle

SHAPES = ((40, 7), (6, 50), (12, 9, 20), (5, 6, 7, 8), (3, 4, 2, 5, 3), (2, 3, 4, 2, 3, 4))
rng = np.random.default_rng(3)


def values(shape, dtype):
    x = rng.random(shape) * 100
    return (x + 1j * rng.random(shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "complex64"])
@pytest.mark.parametrize("method", ["auto", "separable", "direct"])
def test_dense_kernels_agree_with_the_oracle(shape, dtype, method):
    x = np.asfortranarray(values(shape, dtype))
    weights = np.ones(())
    for axis in range(x.ndim):
        weights = np.multiply.outer(weights, rng.uniform(0.2, 1.0, 3 if axis < 3 else 1))
    kind = np.complex128 if np.dtype(dtype).kind == "c" else np.float64
    modes = ["reflect", "wrap", "nearest", "mirror", "constant", "reflect"][: x.ndim]
    origin = [1, -1, 0, 0, 0, 0][: x.ndim]
    got = numbasep.correlate(x, weights, output=kind, mode=modes, cval=2.5, origin=origin, method=method)
    expected = oracle.correlate(x.astype(kind), weights, mode=modes, cval=2.5, origin=origin)
    slack = 64 * weights.ndim * np.finfo(np.float32).eps * oracle.largest(x, 2.5) * oracle.norm(weights)
    oracle.assert_close(got, expected, slack)
    assert got.flags.f_contiguous


@pytest.mark.parametrize("shape", SHAPES)
def test_the_plan_of_the_reversed_shape_is_what_runs(shape):
    x = np.asfortranarray(values(shape, "float64"))
    axes = (0, 1)
    weights = np.outer([1.0, 2.0, 4.0], [1.0, -3.0, 2.0, 1.0, 1.0])
    plan = numbasep.plan(weights, shape, float, axes=axes, operation="correlate")
    other = reversed_plan(plan)
    assert other is reversed_plan(plan)
    there = numbasep.plan(
        np.ascontiguousarray(weights.T),
        shape[::-1],
        float,
        axes=(x.ndim - 2, x.ndim - 1),
        operation="correlate",
    )
    assert other.problem == there.problem
    assert other.method == there.method
    assert other.seconds == there.seconds
    np.testing.assert_array_equal(plan(x), there(np.ascontiguousarray(x.T)).T)


@pytest.mark.parametrize("order", ["C", "F"])
def test_outputs_of_either_order(order):
    x = np.asfortranarray(values((30, 20, 10), "uint16"))
    out = np.empty(x.shape, np.float32, order=order)
    assert numbasep.gaussian_filter(x, (1, 2, 0.5), output=out) is out
    np.testing.assert_allclose(
        out, numbasep.gaussian_filter(np.ascontiguousarray(x), (1, 2, 0.5), output=float), rtol=1e-5
    )


def test_gaps_and_parts_of_fortran_arrays():
    x = np.asfortranarray(values((40, 30, 6), "float64"))
    x[rng.random(x.shape) < 0.1] = np.nan
    part = x[3:, ::2, 1:]
    assert is_reversed(part)
    got = numbasep.gaussian_filter(part, 1.5, nan_policy="omit")
    expected = numbasep.gaussian_filter(np.ascontiguousarray(part), 1.5, nan_policy="omit")
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_an_output_that_overlaps_the_input():
    x = np.asfortranarray(values((50, 40), "float64"))
    expected = numbasep.gaussian_filter(np.ascontiguousarray(x), 2)
    numbasep.gaussian_filter(x, 2, output=x)
    np.testing.assert_allclose(x, expected, rtol=1e-12)


def test_which_orders_are_reversed():
    assert is_reversed(np.zeros((4, 1, 5), order="F"))
    assert not is_reversed(np.zeros((1, 5), order="F"))
    assert not is_reversed(np.zeros((4, 5, 6)).transpose(0, 2, 1))
    assert not is_reversed(np.zeros(5))
