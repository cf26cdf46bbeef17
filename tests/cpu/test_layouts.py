"""The same numbers in any memory give the same answer, and no full copy is made on the way."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given

import numbasep as nsp
from numbasep.cpu import staging
from numbasep.lowering import chains
from tests.support import oracle, referee, strategies
from tests.support.strategies import LAYOUTS, Call, samples

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


@pytest.mark.thinned
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


@pytest.mark.thinned
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


@pytest.mark.filterwarnings("ignore:input is a masked array")
def test_subclasses_are_plain_arrays() -> None:
    x, weights = samples("float64", (5, 6), 1), np.ones((3, 3))
    expected = oracle.convolve(x, weights)
    matrix = x.view(type("Tagged", (np.ndarray,), {}))
    np.testing.assert_allclose(nsp.convolve(matrix, weights), expected, atol=1e-13)
    masked = np.ma.masked_array(x, mask=x > 0)
    got = nsp.convolve(masked, weights)
    assert not isinstance(got, np.ma.MaskedArray), "SciPy's filters drop the mask, too"
    np.testing.assert_allclose(got, expected, atol=1e-13)


STRIDED = {
    "every second": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "every third": lambda x: np.repeat(x, 3, axis=1)[:, ::3],
    "one of four channels": lambda x: np.stack([x] * 4, axis=-1)[..., 1],
    "every fifth": lambda x: np.repeat(x, 5, axis=1)[:, ::5],
    "columns reversed": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "both reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "second from the end": lambda x: np.repeat(x[:, ::-1], 2, axis=1)[:, ::-2],
    "rows of a Fortran array": lambda x: np.asfortranarray(np.repeat(x, 2, axis=0))[::2],
}


@pytest.mark.thinned
@pytest.mark.parametrize("layout", STRIDED)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32", ">f4", "float64", "complex64"])
def test_slabs_of_strided_columns(layout: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strided columns are brought together slab by slab; results are those of contiguous ones, bit for bit."""
    monkeypatch.setattr(chains, "STAGED", 0)
    monkeypatch.setattr(staging, "STAGE_BYTES", 16_000)  # several slabs
    c = np.ascontiguousarray(samples(np.dtype(dtype).newbyteorder("="), (170, 177), 3).astype(dtype))
    x = STRIDED[layout](c)
    np.testing.assert_array_equal(x, c)
    c = np.asfortranarray(c) if "Fortran" in layout else c  # sums are taken in the order of memory
    kernels = strategies.kernel("integer separable", (5, 3), 1), strategies.kernel("dense", (2, 4), 2)
    for weights, mode in itertools.product(kernels, ("reflect", "constant", "wrap", "valid", "full")):
        expected = nsp.convolve(c, weights, mode=mode, cval=2.0)
        np.testing.assert_array_equal(nsp.convolve(x, weights, mode=mode, cval=2.0), expected)
        between = np.full((*expected.shape, 3), 7, expected.dtype, order="F" if "Fortran" in layout else "C")
        nsp.convolve(x, weights, mode=mode, cval=2.0, output=between[..., 1])
        np.testing.assert_array_equal(between[..., 1], expected)
        assert (between[..., ::2] == 7).all()
        mirrored = np.empty_like(expected, order="K")[:, ::-1]
        nsp.convolve(c, weights, mode=mode, cval=2.0, output=mirrored)
        np.testing.assert_array_equal(mirrored, expected)
    for axis in (0, 1):
        line = nsp.correlate1d(x, [1.0, 2.0, 4.0], axis=axis)
        np.testing.assert_array_equal(line, nsp.correlate1d(c, [1.0, 2.0, 4.0], axis=axis))


def test_slabs_of_stacks_and_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "STAGED", 0)
    monkeypatch.setattr(staging, "STAGE_BYTES", 16_000)
    c = np.ascontiguousarray(samples("float32", (5, 20, 24, 3), 1))
    x = np.repeat(c, 2, axis=2)[:, :, ::2]
    weights = strategies.kernel("dense", (3, 3), 1)
    for axes in ((1, 2), (0, 2), (2, 3), (0, 1), (0, 3)):
        np.testing.assert_array_equal(
            nsp.convolve(x, weights, axes=axes), nsp.convolve(c, weights, axes=axes)
        )


SWAPPED = ("int16", "uint32", "float16", "float32", "float64", "complex64", "complex128")


@pytest.mark.jitoff
@pytest.mark.parametrize("dtype", SWAPPED)
def test_small_byte_swapped_outputs(dtype: str) -> None:
    x = samples("float32" if dtype == "float16" else dtype, (3, 18), 2)
    taps = np.array([[1.0, 2.0, 1.0]])
    native, other = np.zeros(x.shape, dtype), np.zeros(x.shape, np.dtype(dtype).newbyteorder())
    for out in (native, other):
        nsp.correlate(x, taps, out, method="separable")
    np.testing.assert_array_equal(native, other.astype(dtype))


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", SWAPPED)
@pytest.mark.parametrize("cast", ["truncate", "saturate"])
@pytest.mark.parametrize("kernel", ["dense", "separable", "box"])
def test_byte_swapped_outputs(kernel: str, cast: str, dtype: str) -> None:
    weights = {"dense": strategies.kernel("dense", (3, 4), 1), "separable": np.ones((3, 9)) / 27}.get(
        kernel, np.ones((19, 1))
    )
    x = samples("float32" if dtype == "float16" else dtype, (41, 37), 2)
    native = np.zeros((41, 74), dtype)
    other = np.zeros((41, 74), np.dtype(dtype).newbyteorder())
    for part in (slice(0, 37), slice(None, None, 2)):
        for out in (native[:, part], other[:, part]):
            nsp.correlate(x, weights, out, cast=cast)
        tolerance = 0 if native.dtype.kind in "iu" else 4 * np.finfo(native.dtype).eps
        largest = np.abs(weights).sum() * np.abs(x.astype(complex)).max()
        assert np.abs(native.astype(complex) - other.astype(complex)).max() <= tolerance * largest


@pytest.mark.thinned
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
