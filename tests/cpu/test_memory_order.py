"""Fortran arrays: filtered as the C arrays of the reversed shape that they are, planned for their own order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import numbasep
from numbasep.planning.memory_order import memory_order, reordered
from tests.support import oracle

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


def axes_of(x):
    return tuple(reversed(range(x.ndim)))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_plan_of_the_reversed_shape_is_what_runs(shape):
    x = np.asfortranarray(values(shape, "float64"))
    axes = (0, 1)
    weights = np.outer([1.0, 2.0, 4.0], [1.0, -3.0, 2.0, 1.0, 1.0])
    plan = numbasep.plan(weights, shape, float, axes=axes, operation="correlate")
    other = reordered(plan, axes_of(x))
    assert other is reordered(plan, axes_of(x))
    there = numbasep.plan(
        np.ascontiguousarray(weights.T),
        shape[::-1],
        float,
        axes=(x.ndim - 2, x.ndim - 1),
        operation="correlate",
    )
    assert other.problem == there.problem
    assert other.choice == there.choice
    planned = numbasep.plan(weights, shape, float, axes=axes, operation="correlate", order="F")
    assert (planned.method, planned.seconds) == (there.method, there.seconds)
    assert {axis for one in planned.passes for axis in one.axes} <= set(axes)
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
    assert memory_order(part) == (2, 1, 0)
    got = numbasep.gaussian_filter(part, 1.5, nan_policy="omit")
    expected = numbasep.gaussian_filter(np.ascontiguousarray(part), 1.5, nan_policy="omit")
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_an_output_that_overlaps_the_input():
    x = np.asfortranarray(values((50, 40), "float64"))
    expected = numbasep.gaussian_filter(np.ascontiguousarray(x), 2)
    numbasep.gaussian_filter(x, 2, output=x)
    np.testing.assert_allclose(x, expected, rtol=1e-12)


def test_orders_of_axes():
    assert memory_order(np.zeros((4, 1, 5), order="F")) == (1, 2, 0)
    assert memory_order(np.zeros((1, 5), order="F")) is None
    assert memory_order(np.zeros((4, 5, 6)).transpose(2, 0, 1)) == (1, 2, 0)
    assert memory_order(np.zeros((4, 5, 6))[:, ::-2, ::3]) is None
    assert memory_order(np.broadcast_to(np.zeros(5)[:, None], (5, 6)).T) is None
    assert memory_order(np.zeros(5)[::2]) is None


@pytest.mark.thinned
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("dtype", ["float32", "uint16", "complex128"])
@pytest.mark.parametrize("method", ["separable", "direct"])
def test_any_order_of_axes(order, dtype, method):
    """Arrays whose axes are nested in any order are filtered along the axes that were meant."""
    x = values((21, 18, 25), dtype)
    there = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    assert memory_order(there) == (None if order == (0, 1, 2) else order)
    weights = np.multiply.outer(np.outer([1.0, 2.0, 4.0], [1.0, -3.0]), [1.0, 0.5, 2.0, 1.0])
    kind = np.complex128 if np.dtype(dtype).kind == "c" else np.float64
    modes, origin = ["wrap", "mirror", "constant"], [1, -1, 0]
    got = numbasep.correlate(there, weights, output=kind, mode=modes, cval=1.5, origin=origin, method=method)
    expected = oracle.correlate(x.astype(kind), weights, mode=modes, cval=1.5, origin=origin)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-9)


def test_recursive_filters_follow_the_order_of_memory():
    x = np.asfortranarray(values((300, 40, 150), "float64"))
    got = numbasep.gaussian_filter(x, (9.0, 8.0, 12.0), rtol=1e-3, method="structured")
    expected = numbasep.gaussian_filter(np.ascontiguousarray(x), (9.0, 8.0, 12.0))
    assert np.abs(got - expected).max() <= 1e-3 * 100


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "complex64"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("mode", ["reflect", "wrap", "constant", "valid", "full"])
def test_short_rows_of_dense_kernels_are_copied(mode, order, dtype):
    shape = (200, 60, 3) if order == "C" else (3, 60, 200)
    x = np.array(values(shape, dtype), order=order)
    weights = rng.normal(size=(3, 5, 2) if order == "C" else (2, 5, 3))
    kind = np.complex128 if np.dtype(dtype).kind == "c" else np.float64
    plan = numbasep.plan(
        weights,
        shape,
        x.dtype,
        output=kind,
        mode=mode,
        cval=1.5,
        operation="correlate",
        method="direct",
        order=order,
    )
    assert plan.copied
    assert plan.axis_order == ((1, 2, 0) if order == "C" else (1, 0, 2))
    assert {axis for one in plan.passes for axis in one.axes} == {0, 1, 2}
    assert plan.workspace >= x.nbytes + plan.problem.pixels * np.dtype(kind).itemsize
    assert "copied to the memory order" in str(plan)
    out = np.zeros(plan.problem.out_shape, kind, order="F")
    assert plan(x, out) is out
    expected = oracle.correlate(x, weights, mode=mode, cval=1.5)
    slack = 64 * np.finfo(np.float32).eps * oracle.largest(x, 1.5) * oracle.norm(weights)
    oracle.assert_close(out, expected, slack if np.dtype(dtype).char in "fF" else slack * 1e-8)
    np.testing.assert_array_equal(plan(x), out)
    analysis = plan.analyze(x)
    assert [one.axes for one in analysis.passes] == [one.axes for one in plan.passes]
    assert analysis.predicted == pytest.approx(plan.seconds)


def test_short_rows_with_gaps_and_strides_are_copied():
    x = values((150, 80, 3), "float64")
    weights = rng.uniform(1, 2, size=(3, 3, 3)) + rng.uniform(0, 1, size=(3, 3, 3))
    got = numbasep.correlate(x, weights, stride=(2, 3, 1))
    np.testing.assert_allclose(got, oracle.correlate(x, weights)[::2, ::3], rtol=1e-13)
    holes = np.where(rng.random(x.shape) < 0.2, np.nan, x)
    total, share = (oracle.correlate(part, weights) for part in (np.nan_to_num(holes), 1.0 - np.isnan(holes)))
    got = numbasep.correlate(holes, weights, nan_policy="omit")
    np.testing.assert_allclose(got, total / share * weights.sum(), rtol=1e-12)
    np.testing.assert_array_equal(*(numbasep.correlate(x, weights, workers=n) for n in (1, 2)))


@pytest.mark.parametrize("dtype", ["float32", "uint16", "complex64", ">f8"])
@pytest.mark.parametrize("strided", ["input", "output", "both"])
def test_rows_whose_elements_are_not_adjacent(strided, dtype):
    kind = np.dtype(dtype).newbyteorder("=") if np.dtype(dtype).kind in "fc" else np.dtype("f8")
    for shape, slices in (
        ((301,), (slice(None, None, 3),)),
        ((50_000,), (slice(None, None, -1),)),
        ((40_000, 2), (slice(None), 0)),
        ((90, 30), (slice(None), slice(None, None, 2))),
        ((30, 25, 20), (slice(None, None, -1),) * 3),
    ):
        whole = values(shape, dtype)
        x = whole[slices] if strided != "output" else np.ascontiguousarray(whole[slices])
        out = np.zeros(shape, kind)[slices] if strided != "input" else np.zeros(x.shape, kind)
        kernels = [[0.25, 0.5, 0.25, 0.125]] * x.ndim
        assert numbasep.separable_correlate(x, kernels, output=out) is out
        expected = oracle.separable_correlate(np.ascontiguousarray(x), kernels)
        np.testing.assert_allclose(
            out, expected, rtol=1e-5 if np.dtype(dtype).itemsize < 8 else 1e-12, atol=1e-4
        )
