"""Prices follow the backend: what `passes` counts is what the prepared passes will do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from numbasep import calibration, machine, passes, trials
from numbasep.execute import run_plan
from numbasep.kernels import correlate, dense_words, simd, stripes
from numbasep.kernels import geometry as g

HERE = dataclasses.replace(
    machine.REFERENCE,
    fuses=bool(stripes.SLIDES),
    lanes=(simd.VECTOR_BYTES / 4, simd.VECTOR_BYTES / 8),
)
WIDE = pytest.mark.skipif(simd.VECTOR_BYTES < 64, reason="counts are those of vectors of 64 bytes")


@WIDE
def test_sizes_are_those_of_the_kernels():
    assert passes.STRIPE_ROWS == stripes.STRIPE_ROWS
    assert passes.DENSE_ROWS == dense_words.DENSE_ROWS
    assert passes.FEW_ROWS == dense_words.FEW_ROWS
    assert passes.FEW_TAPS == dense_words.FEW_TAPS
    assert passes.MOST_WRITTEN_OUT == dense_words.MOST_WRITTEN_OUT
    assert passes.STEP_ROWS == simd.STEP_ROWS
    assert passes.SQUARE_TAPS == correlate.SQUARE_TAPS


@WIDE
@pytest.mark.parametrize("shape", [(64, 64), (200, 301), (40, 1000)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_the_kernel_that_is_priced_is_the_one_that_runs(shape, dtype):
    seen = set()
    for method, weights, cval in calibration._samples():
        if weights.ndim > 2:
            continue
        planned = trials.plan_call(shape, weights, np.dtype(dtype), 1, method, cval)
        _, steps = trials.facts_and_steps(planned, HERE)
        run_plan(planned, np.ones(shape, dtype), np.ones(shape, dtype))
        (launch,) = planned.kernel.launches.values()
        ((prepared, *_),) = launch.steps
        dense = steps.dense > 0
        priced = "dense" if dense else "turned" if steps.turned else "fused" if steps.fused else "packed"
        direct, rows = bool(prepared.geometry[g.DIRECT]), prepared.geometry[g.STRIPE_ROWS]
        lanes = simd.VECTOR_BYTES // planned.problem.real_dtype.itemsize
        about = (method, weights.shape, cval)
        assert prepared.program.dense == dense, about
        if dense:
            assert direct == (not steps.packed), about
        else:
            assert direct == (priced != "packed"), about
            if direct:
                assert rows == (lanes if priced == "turned" else stripes.STRIPE_ROWS), about
        seen.add(priced)
    assert seen >= {"dense", "turned", "packed"}
