"""The same numbers in any memory give the same answer, and no full copy is made on the way."""

from __future__ import annotations

import tracemalloc

import numpy as np
import oracle
import pytest
import referee
import strategies
from hypothesis import given
from strategies import LAYOUTS, Call, samples

import numbasep as nsp

SHAPES = [(17,), (13, 18), (6, 7, 9), (3, 4, 5, 6)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_differ_in_memory_only(layout: str) -> None:
    """The table itself: equal arrays, and at least one of them really has the layout."""
    x = samples("float32", (4, 5, 6), 1)
    y = LAYOUTS[layout](x)
    np.testing.assert_array_equal(x, y)
    proof = {
        "C": y.flags.c_contiguous,
        "F": y.flags.f_contiguous,
        "sliced": not y.flags.contiguous and y.strides[-1] == 4,
        "stepped": y.strides[-1] == 12,
        "reversed": all(s < 0 for s in y.strides),
        "last axis reversed": y.strides[-1] < 0 < y.strides[0],
        "transposed": not y.flags.c_contiguous and not y.flags.f_contiguous,
        "byte-swapped": not y.dtype.isnative,
        "read-only": not y.flags.writeable,
        "misaligned": not y.flags.aligned,
        "record field": y.strides[-1] == 6,
    }
    assert proof[layout]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", strategies.DTYPES)
def test_every_type_in_every_layout(layout: str, dtype: str) -> None:
    for shape in SHAPES[:3]:
        x = samples(dtype, shape, 3)
        weights = strategies.kernel("integer", (3, 4, 2)[: len(shape)], 1)
        expected = nsp.correlate(x, weights, mode="wrap")
        got = nsp.correlate(LAYOUTS[layout](x), weights, mode="wrap")
        assert got.dtype == x.dtype, "results have the machine's byte order"
        if x.dtype.kind in "biu":
            np.testing.assert_array_equal(got, expected)
        call = Call("correlate", x, weights, "wrap", 0.0, 0, None)
        if dtype != "bool":
            referee.judge(call, got, referee.plan_of(call).error_bound)


@pytest.mark.parametrize("method", strategies.METHODS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_method_in_every_layout(method: str, layout: str, shape: tuple[int, ...]) -> None:
    x = LAYOUTS[layout](samples("float32", shape, 3))
    call = Call("convolve", x, np.ones((5, 4, 3, 3)[: len(shape)]), "mirror", 0.0, 0, None)
    try:
        plan = referee.plan_of(call, method=method)
    except ValueError:
        assert method == "structured"
        return
    referee.judge(call, referee.run(call, method=method), plan.error_bound)


@given(
    strategies.calls(
        dtypes=("uint8", "int32", "float32", "float64", "complex64"), max_dims=5, layouts=tuple(LAYOUTS)
    )
)
def test_any_call(call: Call) -> None:
    referee.judge(call, referee.run(call), referee.plan_of(call).error_bound)


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 2)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_images_with_channels(axes: tuple[int, int], order: str, dtype: str) -> None:
    """Channels first, last and in between: only the two given axes are filtered."""
    x = np.asarray(samples(dtype, (21, 22, 23), 1), order=order)
    weights = strategies.kernel("integer separable", (3, 5), 2)
    got = nsp.convolve(x, weights, axes=axes)
    np.testing.assert_array_equal(
        got, oracle.store(oracle.convolve(x, weights, axes=axes), dtype) if dtype == "uint8" else got
    )
    oracle.assert_close(got, oracle.convolve(x, weights, axes=axes), 1e-4)


def test_broadcast_arrays() -> None:
    """Zero strides: many elements in one place."""
    line = samples("float64", (1, 12), 1)
    x = np.broadcast_to(line, (9, 12))
    weights = strategies.kernel("dense", (3, 3), 1)
    np.testing.assert_allclose(nsp.convolve(x, weights), oracle.convolve(x, weights), atol=1e-13)


def test_huge_strides() -> None:
    """Elements a megabyte apart, and rows a power of two apart."""
    big = np.zeros((40, 1 << 17), np.float32)
    x = big[:, :: 1 << 12]
    x[...] = samples("float32", x.shape, 1)
    weights = strategies.kernel("dense", (3, 3), 1)
    oracle.assert_close(nsp.convolve(x, weights), oracle.convolve(x, weights), 1e-4)
    oracle.assert_close(nsp.convolve(x.T, weights), oracle.convolve(x.T, weights), 1e-4)


def test_subclasses_are_plain_arrays() -> None:
    x, weights = samples("float64", (5, 6), 1), np.ones((3, 3))
    expected = oracle.convolve(x, weights)
    matrix = x.view(type("Tagged", (np.ndarray,), {}))
    np.testing.assert_allclose(nsp.convolve(matrix, weights), expected, atol=1e-13)
    masked = np.ma.masked_array(x, mask=x > 0)
    got = nsp.convolve(masked, weights)
    assert not isinstance(got, np.ma.MaskedArray), "SciPy's filters drop the mask, too"
    np.testing.assert_allclose(got, expected, atol=1e-13)


@pytest.mark.parametrize(
    "layout", ["C", "F", "sliced", "reversed", "transposed", "byte-swapped", "read-only"]
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("method", ["direct", "separable"])
def test_no_copy_of_the_whole_array(layout: str, dtype: str, method: str) -> None:
    """With the output given, a call allocates far less than the array: tiles, not copies."""
    x = LAYOUTS[layout](samples(dtype, (2048, 2048), 1))
    weights = np.outer([1.0, 4, 6, 4, 1], [1.0, 4, 6, 4, 1]) / 256
    out = np.empty_like(x, dtype=dtype)
    nsp.convolve(x, weights, output=out, method=method)
    tracemalloc.start()
    try:
        nsp.convolve(x, weights, output=out, method=method)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * x.nbytes
