"""The separable kernel: rows from the array or packed, in segments and tiles of any size, at every edge and type."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from fractions import Fraction

import numpy as np
import pytest

import numbasep
from numbasep.api import build
from numbasep.api.repeated_calls import shortcuts
from numbasep.cpu import pass_request, prepare, separable, tiles
from numbasep.cpu.intrinsics.vectors import FUSES, VECTOR_BYTES
from numbasep.cpu.kernels import table_entries as g
from numbasep.cpu.kernels.vertical import ROWS
from numbasep.lowering import access, counts, kernels, volumes
from numbasep.lowering.target import VECTORS
from tests.support import oracle

MODES = ("reflect", "mirror", "nearest", "wrap", "constant", "valid", "full")
TAPS = ((3, 3), (1, 5), (5, 1), (5, 5), (9, 9), (3, 17), (4, 2), (17, 4), (21, 33), (1, 40), (12, 18))
SHAPES = ((40, 70), (3, 16), (33, 64), (9, 257), (17, 33), (1, 90), (5, 1), (1, 1), (2, 40))
INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
BLOCK = VECTORS * VECTOR_BYTES // 4  # numbers of float32 from which rows are read from the array


correlate_pair = functools.partial(numbasep.separable_correlate, method="separable")
gaussian = functools.partial(numbasep.gaussian_filter, method="separable")


def forget_plans() -> None:
    build.plans.clear()
    shortcuts.clear()


@pytest.fixture(autouse=True)
def _no_plans_of_others():
    forget_plans()
    yield
    forget_plans()


@pytest.fixture
def prepared(monkeypatch):
    """The passes that were prepared since."""
    made = []

    def note(p):
        made.append(separable.prepare_separable(p))
        return made[-1]

    for name in ("separable", "dense sums"):
        monkeypatch.setitem(prepare.BINDERS, name, note)
    return made


@pytest.fixture
def forced(monkeypatch):
    """A function that filters with every row packed first."""

    def packed(task, target, **_):
        return access.row_access(task, target, packed=True)

    @contextlib.contextmanager
    def force():
        with monkeypatch.context() as patch:
            for module in (separable, volumes):  # volumes with packed rows are not filtered piece by piece
                patch.setattr(module, "row_access", packed)
            forget_plans()
            yield
        forget_plans()

    def run(function, *args, **keywords):
        with force():
            return function(*args, **keywords)

    return run


@pytest.fixture
def cut(monkeypatch):
    """A function that filters in segments of few columns and tiles of few columns, if so many bytes are given."""

    def run(buffer, cache, function, *args, **keywords):
        forget_plans()
        with monkeypatch.context() as patch:
            patch.setattr(access, "BUFFER_BYTES", buffer)
            patch.setattr(tiles, "CACHE_BYTES", cache)
            result = function(*args, **keywords)
        forget_plans()
        return result

    return run


@pytest.fixture
def blocks(monkeypatch):
    """Weights without structure by vertical sums, on rows of any length."""
    never = dataclasses.replace(kernels.KERNELS["dense"], suits=lambda *_: False)
    monkeypatch.setitem(kernels.KERNELS, "dense", never)
    monkeypatch.setattr(access, "LEAST_ROW_BYTES", 1)


def kernel_pair(taps, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random(n) + 0.1 for n in taps]


def fits(taps, shape, mode):
    return mode != "valid" or all(t <= n for t, n in zip(taps, shape, strict=False))


def image(shape, dtype=np.float64, seed=1):
    return (np.random.default_rng(seed).random(shape) * 100).astype(dtype)


# --------------------------------------------------------------------------- which rows are read


def test_rows_are_packed_only_where_they_must_be(prepared):
    pair = kernel_pair((3, 3))
    for x, packed in (
        (image((20, BLOCK), "f4"), False),
        (image((20, BLOCK - 1), "f4"), True),
        (image((20, BLOCK), "u1"), False),
        (image((20, BLOCK), ">f4"), False),
        (image((2, BLOCK), "f2"), False),
    ):
        prepared.clear()
        correlate_pair(x, pair, output=np.float64 if x.dtype.char == "d" else np.float32)
        (made,) = prepared
        assert bool(made.geometry[g.PACKED]) == packed, (x.dtype, x.strides)
        assert bool(made.geometry[g.RING]) == packed


# --------------------------------------------------------------------------- against the oracle


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cval", [0.0, 2.5])
def test_every_size_agrees_with_the_oracle(mode, cval):
    if cval and mode != "constant":
        pytest.skip("no value is asked for")
    for taps in TAPS:
        kernels = kernel_pair(taps, 1)
        for shape in SHAPES:
            if not fits(taps, shape, mode):
                continue
            x = image(shape)
            expected = oracle.separable_correlate(x, kernels, mode=mode, cval=cval)
            result = correlate_pair(x, kernels, mode=mode, cval=cval)
            np.testing.assert_allclose(result, expected, rtol=1e-12, err_msg=str((taps, shape)))


@pytest.mark.jitoff
@pytest.mark.parametrize("mode", ["reflect", "wrap", "constant", "valid"])
@pytest.mark.parametrize("taps", [(3, 9), (1, 5), (5, 1), (9, 4)])
def test_small_images_word_by_word(mode, taps, forced):
    x = image((11, 37), "f4")
    pair = kernel_pair(taps)
    result = correlate_pair(x, pair, mode=mode, cval=2.5)
    np.testing.assert_allclose(
        result, oracle.separable_correlate(x, pair, mode=mode, cval=2.5), rtol=taps[0] * taps[1] * 1e-7
    )
    np.testing.assert_array_equal(result, forced(correlate_pair, x, pair, mode=mode, cval=2.5))


@pytest.mark.jitoff
@pytest.mark.parametrize("dtype", ["u1", "f2", ">f4", "f8", "c8"])
def test_types_and_segments_word_by_word(dtype, cut):
    x = image((9, 300), dtype if dtype != "c8" else "f4")
    x = (x + 1j * x[::-1]).astype(dtype) if dtype == "c8" else x
    pair = kernel_pair((3, 5))
    result = correlate_pair(x, pair, mode="wrap")
    np.testing.assert_array_equal(result, cut(1, 1, correlate_pair, x, pair, mode="wrap"))


@pytest.mark.jitoff
@pytest.mark.parametrize("mode", ["mirror", "valid", "constant"])
@pytest.mark.parametrize("columns", [67, 150])
def test_dense_sums_word_by_word(mode, columns, blocks, cut):
    """Blocks of vertical sums begin, and end, inside the rows that they read: here too far is an error."""
    x, weights = image((9, columns), "f4"), np.random.default_rng(5).standard_normal((3, 4))
    expected = oracle.correlate(x, weights, mode=mode, cval=2.0)
    out = np.zeros((expected.shape[0], 2 * expected.shape[1]), np.float32)[:, ::2]
    for run in (lambda f, *a, **k: f(*a, **k), lambda *a, **k: cut(1, 1, *a, **k)):
        for output in (None, out):
            result = run(numbasep.correlate, x, weights, output, mode, 2.0, method="direct")
            np.testing.assert_allclose(result, expected, atol=1e-3)


@pytest.mark.thinned
@pytest.mark.parametrize(
    "dtype", ["f4", "f8", "f2", ">f4", ">f8", ">f2", "?", *INTEGERS, ">i2", ">u4", ">i8"]
)
@pytest.mark.parametrize("mode", ["mirror", "constant"])
def test_every_storage(dtype, mode, forced):
    pair = kernel_pair((5, 4))
    for shape in ((20, 75), (3, 200)):
        x = image(shape).astype(dtype) if dtype != "?" else image(shape) > 50
        for output in (np.float64, dtype) if dtype not in ("?",) else (np.float64,):
            call = {"output": np.dtype(output).newbyteorder("="), "mode": mode}
            result = correlate_pair(x, pair, **call)
            assert result.dtype == call["output"]
            np.testing.assert_array_equal(
                result, forced(correlate_pair, x, pair, **call), str((shape, output))
            )
            if output == np.float64:
                expected = oracle.separable_correlate(x.astype(np.float64), pair, mode=mode)
                np.testing.assert_allclose(result, expected, rtol=1e-12)


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("cast", ["truncate", "saturate"])
def test_results_as_integers_of_every_width(dtype, cast):
    pair = [np.array([1.0, -3, 1]), np.array([2.0, 1, 2, 1])]
    for columns in (70, 31):
        x = image((11, columns), np.float64)
        result = correlate_pair(x, pair, output=dtype, cast=cast)
        slack = 1e-9 * oracle.largest(x)
        oracle.assert_close(result, oracle.separable_correlate(x, pair), slack, cast)


@pytest.mark.parametrize("cast", ["truncate", "saturate"])
def test_casts_and_divisors(cast, forced):
    weights = np.outer([1, 2, 1], [1, 2, 1]) / 12
    for columns in (90, 20):
        x = image((24, columns), np.uint8)
        result = numbasep.correlate(x, weights, cast=cast, method="separable")
        slack = 1e-5 * oracle.largest(x)
        oracle.assert_close(result, oracle.correlate(x.astype(np.float64), weights), slack, cast)
        np.testing.assert_array_equal(
            result, forced(numbasep.correlate, x, weights, cast=cast, method="separable")
        )


def test_zeros_are_positive(forced):
    for columns in (90, 20):
        x, pair = np.zeros((24, columns), np.float32), [-np.ones(3), np.arange(1.0, 6)]
        assert not np.signbit(correlate_pair(x, pair)).any()
        assert not np.signbit(forced(correlate_pair, x, pair)).any()


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("inner", [2, 3, 4, 5])
def test_colour(mode, inner, forced, cut):
    pair = kernel_pair((5, 7), 2)
    for shape in ((11, 40, inner), (17, 9, inner), (2, 130, inner)):
        if not fits((5, 7), shape, mode):
            continue
        x = image(shape, "f4")
        call = {"mode": mode, "cval": 1.5, "axes": (0, 1)}
        result = correlate_pair(x, pair, **call)
        expected = oracle.separable_correlate(x, pair, **call)
        np.testing.assert_allclose(result, expected, rtol=1e-5)
        np.testing.assert_array_equal(result, forced(correlate_pair, x, pair, **call))
        np.testing.assert_array_equal(result, cut(1, 1, correlate_pair, x, pair, **call))


@pytest.mark.parametrize("mode", ["reflect", "wrap", "constant", "full"])
@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_complex_numbers(mode, dtype, forced, cut):
    pair = kernel_pair((5, 6), 3)
    for shape in ((11, 40), (3, 9), (9, 130, 3)):
        x = (image(shape) + 1j * image(shape, seed=2)).astype(dtype)
        call = {"mode": mode, "cval": 1.5 - 2.5j, "axes": (0, 1)}
        result = correlate_pair(x, pair, **call)
        np.testing.assert_allclose(
            result, oracle.separable_correlate(x, pair, **call), rtol=2e-5 if dtype == "c8" else 1e-12
        )
        np.testing.assert_array_equal(result, forced(correlate_pair, x, pair, **call))
        np.testing.assert_array_equal(result, cut(1, 1, correlate_pair, x, pair, **call))
    z = (image((20, 40)) + 1j * image((20, 40), seed=2)).astype(dtype)
    parts = gaussian(z, 0.8)
    np.testing.assert_array_equal(parts.real, gaussian(np.ascontiguousarray(z.real), 0.8))
    np.testing.assert_array_equal(parts.imag, gaussian(np.ascontiguousarray(z.imag), 0.8))


TYPES_AND_MODES = [("f4", mode) for mode in MODES] + [
    (dtype, mode) for dtype in ("f8", "u1", "f2") for mode in ("mirror", "constant")
]


@pytest.mark.thinned
@pytest.mark.parametrize(("dtype", "mode"), TYPES_AND_MODES)
@pytest.mark.parametrize("cval", [0.0, 0.7])
def test_bits_equal_those_of_packed_rows(mode, dtype, cval, forced):
    if cval and mode != "constant":
        pytest.skip("no value is asked for")
    for taps in TAPS:
        kernels = kernel_pair(taps)
        for shape in (*SHAPES[:4], (2, 70)):
            if not fits(taps, shape, mode):
                continue
            call = {"output": np.float32 if dtype == "f4" else np.float64, "mode": mode, "cval": cval}
            x = image(shape, dtype)
            result = correlate_pair(x, kernels, **call)
            other = forced(correlate_pair, x, kernels, **call)
            np.testing.assert_array_equal(result, other, str((taps, shape)))


@pytest.mark.parametrize(("dtype", "mode"), TYPES_AND_MODES)
def test_several_terms_in_one_pass(mode, dtype, forced, cut, prepared):
    rng = np.random.default_rng(29)
    for rank, taps, inner in (
        (2, (5, 5), 1),
        (3, (9, 9), 1),
        (2, (7, 8), 1),
        (2, (6, 5), 2),
        (3, (17, 9), 1),
    ):
        kernel = rng.random((taps[0], rank)) @ rng.random((rank, taps[1]))
        kernel[:, taps[1] // 2] *= taps != (7, 8)  # taps along a row need not be adjacent
        for shape in ((24, 41), (3, 16), (9, 130), (4, 70)):
            if not fits(taps, shape, mode):
                continue
            x = image((*shape, inner), dtype, 5)
            call = {"output": np.float64, "mode": mode, "method": "separable", "axes": (0, 1)}
            result = numbasep.correlate(x, kernel, **call)
            assert len(prepared[-1].program.terms) > 1
            expected = oracle.correlate(x.astype(float), kernel[:, :, None], mode=mode)
            np.testing.assert_allclose(result, expected, rtol=1e-10, err_msg=str((rank, taps, shape)))
            np.testing.assert_array_equal(result, forced(numbasep.correlate, x, kernel, **call))
            np.testing.assert_array_equal(result, cut(1, 1, numbasep.correlate, x, kernel, **call))


@pytest.mark.thinned
@pytest.mark.parametrize("where", ["left", "right", "above", "below"])
@pytest.mark.parametrize("mode", MODES[:5])
def test_windows_that_lie_outside(where, mode, forced, cut):
    """Zeros on one side of a kernel are no taps, so that all taps may lie beyond one edge."""
    for columns, taps in ((70, 9), (70, 161), (130, 301), (40, 301), (1, 9), (3, 33), (1000, 2203)):
        weights, last = np.zeros(taps), 2 if taps > 9 else 1
        weights[slice(0, last) if where in ("left", "above") else slice(-last, None)] = np.arange(1, last + 1)
        pair = [np.array([1.0, 2, 1]), weights]
        shape = (5, columns)
        if where in ("above", "below"):
            pair, shape = pair[::-1], shape[::-1]
        kernel, x = np.outer(*pair), image(shape)
        call = {"mode": mode, "cval": 1.5, "method": "separable"}
        result = numbasep.correlate(x, kernel, **call)
        expected = oracle.correlate(x, kernel, mode=mode, cval=1.5)
        np.testing.assert_allclose(result, expected, rtol=1e-12, err_msg=str((shape, taps)))
        np.testing.assert_array_equal(result, forced(numbasep.correlate, x, kernel, **call))
        np.testing.assert_array_equal(result, cut(1, 1, numbasep.correlate, x, kernel, **call))


@pytest.mark.thinned
@pytest.mark.parametrize("mode", [*MODES[:5], ("wrap", "constant"), ("constant", "wrap")])
@pytest.mark.parametrize("taps", [(5, 5), (4, 33), (33, 4)])
def test_origins_at_their_extremes(mode, taps, forced, cut):
    for rows, columns in ((23, 40), (2, 70), (40, 3)):
        x, kernels = image((rows, columns)), kernel_pair(taps, 2)
        for origin in ((-(taps[0] // 2), (taps[1] - 1) // 2), ((taps[0] - 1) // 2, -(taps[1] // 2)), (0, 1)):
            call = {"origin": origin, "mode": mode, "cval": -1.5}
            result = correlate_pair(x, kernels, **call)
            np.testing.assert_allclose(
                result, oracle.separable_correlate(x, kernels, **call), rtol=1e-12, atol=1e-9
            )
            np.testing.assert_array_equal(result, forced(correlate_pair, x, kernels, **call))
            np.testing.assert_array_equal(result, cut(1, 1, correlate_pair, x, kernels, **call))


def test_empty_arrays_and_kernels_of_zeros():
    for shape in ((0, 5), (5, 0), (0, 0)):
        assert correlate_pair(np.ones(shape, np.float32), kernel_pair((3, 3))).shape == shape
    for taps in ((12, 1), (3, 5), (1, 1)):
        for method in ("auto", "separable", "direct"):
            result = numbasep.correlate(image((9, 90), "f4"), np.zeros(taps), method=method)
            assert result.shape == (9, 90)
            assert not result.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_footprints_of_what_is_not_finite(bad, forced):
    """A sample that is no number spoils the results whose windows hold it, and no others."""
    for taps in ((3, 3), (5, 9), (9, 1), (1, 7)):
        x, kernels = image((20, 80)), kernel_pair(taps)
        x[[0, 7, 19], [0, 41, 79]] = bad
        for mode in ("reflect", "wrap", "constant"):
            result = correlate_pair(x, kernels, mode=mode)
            expected = oracle.separable_correlate(x, kernels, mode=mode)
            np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
            np.testing.assert_array_equal(np.isinf(result), np.isinf(expected))
            np.testing.assert_array_equal(result, forced(correlate_pair, x, kernels, mode=mode))


@pytest.mark.parametrize("columns", [20, 90])
def test_taps_too_large_for_the_sums(columns, forced):
    """In float32 they are infinite, also where rows behind the last are at hand."""
    x, pair = image((9, columns), "f4"), [np.array([1.0, 1e300, 1]), np.array([1.0, 2])]
    x[:, 5] = 0
    with np.errstate(over="ignore"):
        result = correlate_pair(x, pair)
        other = forced(correlate_pair, x, pair)
    assert np.isnan(result[:, 5]).all()
    assert np.isinf(result[:, 7:]).all()
    np.testing.assert_array_equal(result, other)


# --------------------------------------------------------------------------- views of arrays with gaps


def normalised(x, weights, **options):
    known = ~np.isnan(x)
    sums = oracle.correlate(np.where(known, x, 0), weights, **options)
    share = oracle.correlate(
        known.astype(float), weights, **(options | ({"cval": 1.0} if "cval" in options else {}))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(share > 1e-9, sums / share * weights.sum(), np.nan)


@pytest.mark.thinned
@pytest.mark.parametrize("mode", ["reflect", "wrap", "constant"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    "shape", [(20, 80), (3, 80), (20, 9), (6, 7, 9), (6, 12, 50), (5, 20, 70), (9, 40, 3)], ids=str
)
def test_arrays_with_gaps(shape, dtype, mode, forced, cut):
    """Values and presence as two sources, or as stacked intermediates of a volume, from the array and packed."""
    x = image(shape, dtype)
    x[image(shape, seed=4) < 20] = np.nan
    weights = np.outer([1.0, 2, 1], [1.0, 3, 3, 1])
    weights = weights if len(shape) == 2 else np.multiply.outer(np.array([1.0, 2, 1]), weights)
    call = {"mode": mode, "cval": 2.0, "nan_policy": "omit", "method": "separable"}
    result = numbasep.correlate(x, weights, **call)
    np.testing.assert_allclose(result, normalised(x, weights, mode=mode, cval=2.0), rtol=1e-5)
    np.testing.assert_array_equal(result, forced(numbasep.correlate, x, weights, **call))
    np.testing.assert_array_equal(result, cut(1, 1, numbasep.correlate, x, weights, **call))


@pytest.mark.parametrize("mode", ["mirror", "constant"])
@pytest.mark.parametrize("shape", [(20, 80), (7, 1300), (5, 9), (4, 9, 300)], ids=str)
def test_dense_sums_of_arrays_with_gaps(shape, mode, blocks, forced):
    x = image(shape, "f4")
    x[image(shape, seed=4) < 20] = np.nan
    weights = np.random.default_rng(8).random((3, 3, 4)[-len(shape) :])
    call = {"mode": mode, "cval": 2.0, "nan_policy": "omit", "method": "direct"}
    result = numbasep.correlate(x, weights, **call)
    np.testing.assert_allclose(result, normalised(x, weights, mode=mode, cval=2.0), rtol=1e-5)
    np.testing.assert_array_equal(result, forced(numbasep.correlate, x, weights, **call))


# --------------------------------------------------------------------------- segments, tiles, threads


CUTS = ((1, 1 << 30), (1 << 20, 1), (1, 1), (4000, 9000), (1, 20000))


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
def test_the_same_bits_in_any_segments_tiles_and_threads(mode, dtype, cut, prepared, monkeypatch):
    for shape, taps in (
        ((19, 700), (5, 9)),
        ((5, 900), (9, 40)),
        ((33, 333, 3), (3, 3)),
        ((3, 600), (1, 100)),
    ):
        if not fits(taps, shape, mode):
            continue
        x, kernels = image(shape, dtype), kernel_pair(taps)
        call = {"mode": mode, "cval": 1.5, "axes": (0, 1), "output": np.float64}
        result = correlate_pair(x, kernels, **call)
        expected = oracle.separable_correlate(x, kernels, mode=mode, cval=1.5, axes=(0, 1))
        np.testing.assert_allclose(result, expected, rtol=1e-10)
        for buffer, cache in CUTS:
            other = cut(buffer, cache, correlate_pair, x, kernels, **call)
            np.testing.assert_array_equal(result, other, str((shape, taps, buffer, cache)))
            sizes = prepared[-1].geometry
            if (buffer, cache) == (1, 1 << 30) and taps != (1, 100):
                assert sizes[g.SEGMENT] < 0.6 * sizes[g.COLUMNS_OUT]
            if cache == 1 and shape[1] > 400 and taps[1] < 40:
                assert sizes[g.TILES] > 1
        monkeypatch.setattr(counts, "PARALLEL_WORK", 1)
        for workers in (2, 3, 7):
            other = cut(1, 20000, correlate_pair, x, kernels, workers=workers, **call)
            np.testing.assert_array_equal(result, other)
            assert prepared[-1].tasks > 1
        monkeypatch.undo()


def test_the_other_end_of_rows_that_are_wrapped(cut, prepared):
    """The first and the last of several segments sum columns of the opposite end, too."""
    for columns, taps in ((600, 9), (700, 41), (257, 100), (130, 260), (64, 200)):
        x, kernels = image((11, columns)), kernel_pair((3, taps))
        result = cut(1, 1 << 30, correlate_pair, x, kernels, mode="wrap")
        assert not prepared[-1].geometry[g.PACKED]
        np.testing.assert_allclose(result, oracle.separable_correlate(x, kernels, mode="wrap"), rtol=1e-11)
        np.testing.assert_array_equal(result, correlate_pair(x, kernels, mode="wrap"))
    assert prepared[0].geometry[g.SEGMENT] < 600


# --------------------------------------------------------------------------- outputs


@pytest.mark.thinned
@pytest.mark.parametrize("shift", [0, 1, 4, 7])
@pytest.mark.parametrize("columns", [256, 257, 271, 31, 16])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("least", [1, 1 << 60])  # bytes of finished rows from which they are gathered
def test_outputs_of_any_alignment_past_the_caches(
    shift, columns, dtype, least, forced, cut, prepared, monkeypatch
):
    monkeypatch.setattr(separable, "LEAST_GATHERED", least)
    gathered = set()
    x, rows = image((13, columns), dtype), 13
    expected = gaussian(x, 1)
    assert not prepared[-1].geometry[g.STREAM]
    monkeypatch.setattr(pass_request, "STREAM_BYTES", 1)
    aligned = columns * x.itemsize % VECTOR_BYTES == 0
    memory = np.full(rows * columns + 64, 7, dtype)
    start = -memory.ctypes.data % VECTOR_BYTES // memory.itemsize + shift
    y = memory[start : start + rows * columns].reshape(rows, columns)
    runs = (
        lambda f, *a, **k: f(*a, **k),
        forced,
        lambda *a, **k: cut(1, 1 << 30, *a, **k),
        lambda *a, **k: cut(1, 1, *a, **k),
    )
    for run in runs:
        y[:] = 7
        forget_plans()
        run(gaussian, x, 1, output=y)
        gathered.add(bool(prepared[-1].geometry[g.FINISHED]))
        assert bool(prepared[-1].geometry[g.STREAM]) == (aligned and not prepared[-1].geometry[g.FINISHED])
        np.testing.assert_array_equal(y, expected)
        assert (memory[:start] == 7).all()
        assert (memory[start + rows * columns :] == 7).all()
    assert True not in gathered if least > 1 else True in gathered


def test_large_outputs_do_go_past_the_caches(prepared):
    """Of any alignment, where rows of the output are a whole number of vectors apart."""
    for columns, shift in ((2048, 0), (2048, 5), (2049, 1)):
        rows = (8 << 20) // (4 * columns) + 3
        x = np.random.default_rng(11).random((rows, columns), np.float32)
        memory = np.full(rows * columns + 64, np.float32(7))
        y = memory[shift : shift + rows * columns].reshape(rows, columns)
        forget_plans()
        gaussian(x, 1, output=y)
        assert bool(prepared[-1].geometry[g.STREAM]) == (columns == 2048)
        assert (memory[:shift] == 7).all()
        assert (memory[shift + rows * columns :] == 7).all()
        part = gaussian(x[:100], 1)
        np.testing.assert_array_equal(y[:90], part[:90])


@pytest.mark.parametrize("sigma", [1, 7])
def test_large_strided_outputs(sigma):
    """As large as outputs that are written past the caches, which scattered ones must not be."""
    x = np.random.default_rng(19).random((1500, 1601), np.float32)
    memory = np.full((1500, 3202), np.float32(7))
    gaussian(x, sigma, output=memory[:, ::2])
    np.testing.assert_array_equal(memory[:, ::2], gaussian(x, sigma))
    assert (memory[:, 1::2] == 7).all()


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "f2"])
def test_strided_outputs(dtype, cut):
    for shape in ((9, 100), (3, 7), (9, 70, 3)):
        x, kernels = image(shape, dtype), [[0.25, 0.5, 0.25], [0.1, 0.3, 0.3, 0.3]]
        expected = correlate_pair(x, kernels, axes=(0, 1))
        for run in (lambda f, *a, **k: f(*a, **k), lambda *a, **k: cut(1, 1, *a, **k)):
            memory = np.full((shape[0] + 2, 3 * shape[1] + 5, *shape[2:]), 77, dtype)
            inside = (slice(1, -1), slice(2, 2 + 3 * shape[1], 3))
            run(correlate_pair, x, kernels, output=memory[inside], axes=(0, 1))
            np.testing.assert_array_equal(memory[inside], expected)
            memory[inside] = 77
            assert (memory == 77).all()


def test_nothing_outside_the_array_is_read():
    memory = np.full((60, 210), np.nan, np.float32)
    memory[10:50, 16:193] = np.random.default_rng(1).random((40, 177))
    view, alone = memory[10:50, 16:193], np.nan_to_num(memory)[10:50, 16:193]
    for filtered in (
        lambda x: gaussian(x, 1.5),
        lambda x: numbasep.correlate1d(x, [1, 2, 1]),
    ):
        np.testing.assert_array_equal(filtered(view), filtered(alone))


def test_large_complex_results_of_real_images():
    x = np.random.default_rng(23).random((1500, 1601), np.float32)
    kernel = np.outer([1, 2j, 1], [1, 1, 1j])
    result = numbasep.convolve(x, kernel)
    np.testing.assert_allclose(result.real, numbasep.convolve(x, kernel.real), atol=1e-5)
    np.testing.assert_allclose(result.imag, numbasep.convolve(x, kernel.imag), atol=1e-5)


# --------------------------------------------------------------------------- weights without structure


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", ">f4"])
def test_dense_sums_by_vertical_blocks(mode, dtype, blocks, forced, cut, prepared):
    rng = np.random.default_rng(31)
    ends = set()
    for shape in ((9, 200), (ROWS + 1, 65), (3, 33), (17, 130, 3), (2, 1100), (1, 70), (40, 9)):
        for taps in ((3, 3), (7, 5), (2, 12), (9, 9)):
            if not fits(taps, shape, mode):
                continue
            weights = rng.standard_normal(taps)
            weights[0, 0] = 0
            x = image(shape, dtype)
            call = {"mode": mode, "cval": 3.0, "axes": (0, 1), "method": "direct"}
            call["output"] = np.float32 if dtype in ("f4", ">f4") else np.float64
            result = numbasep.correlate(x, weights, **call)
            ends.add((bool(prepared[-1].geometry[g.PACKED]), bool(prepared[-1].geometry[g.RING])))
            expected = oracle.correlate(
                x.astype(np.float64), weights.reshape(*taps, *(1,) * (len(shape) - 2)), mode=mode, cval=3.0
            )
            np.testing.assert_allclose(
                result, expected, rtol=1e-4, atol=1e-2 if result.dtype == "f4" else 1e-9
            )
            np.testing.assert_array_equal(result, forced(numbasep.correlate, x, weights, **call))
            np.testing.assert_array_equal(result, cut(1, 1, numbasep.correlate, x, weights, **call))
    assert (True, True) in ends  # packed whole
    if mode not in ("constant", "full"):
        assert (False, mode != "valid") in ends  # from the array, the ends packed or not needed


@pytest.mark.parametrize("shift", [0, 1, 7])
@pytest.mark.parametrize("columns", [512, 515, 48])
@pytest.mark.parametrize("least", [1, 1 << 60])
def test_dense_sums_past_the_caches(shift, columns, least, blocks, forced, cut, prepared, monkeypatch):
    monkeypatch.setattr(separable, "LEAST_GATHERED", least)
    monkeypatch.setattr(pass_request, "STREAM_BYTES", 1)
    x, weights = image((13, columns), "f4"), np.random.default_rng(2).standard_normal((3, 5))
    memory = np.full(13 * columns + 64, np.float32(7))
    y = memory[shift : shift + 13 * columns].reshape(13, columns)
    expected = oracle.correlate(x, weights)
    for run in (
        lambda f, *a, **k: f(*a, **k), forced, lambda *a, **k: cut(1, 1 << 30, *a, **k),
        lambda *a, **k: cut(1, 1, *a, **k),
    ):  # fmt: skip
        y[:] = 7
        run(numbasep.correlate, x, weights, y, method="direct")
        aligned, gathered = columns * 4 % VECTOR_BYTES == 0, prepared[-1].geometry[g.FINISHED]
        assert bool(prepared[-1].geometry[g.STREAM]) == (aligned and not gathered)
        assert not gathered or least == 1
        np.testing.assert_allclose(y, expected, atol=1e-3)
        assert (memory[:shift] == 7).all()
        assert (memory[shift + 13 * columns :] == 7).all()
    apart = np.full((13, 2 * columns), np.float32(7))
    numbasep.correlate(x, weights, apart[:, ::2], method="direct")
    np.testing.assert_array_equal(apart[:, ::2], y)
    assert (apart[:, 1::2] == 7).all()


def test_volumes_of_several_sources(blocks, forced):
    rng = np.random.default_rng(3)
    for shape in ((5, 9, 130), (3, 20, 16), (1, 5, 70)):
        for weights, method in (
            (rng.standard_normal((3, 3, 4)), "direct"),
            (np.multiply.outer(np.outer([1.0, 2, 1], [1.0, 3]), [1.0, 2, 2]), "separable"),
            (
                sum(np.multiply.outer(np.outer(*rng.random((2, 5))), rng.random(5)) for _ in range(2)),
                "separable",
            ),
        ):
            for mode in ("reflect", "constant", "wrap"):
                x = image(shape)
                call = {"mode": mode, "cval": 2.0, "method": method}
                result = numbasep.correlate(x, weights, **call)
                expected = oracle.correlate(x, weights, mode=mode, cval=2.0)
                np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9)
                np.testing.assert_array_equal(result, forced(numbasep.correlate, x, weights, **call))


def test_sums_beyond_an_edge_are_rounded_as_those_inside():
    """One rounding for each tap where the kernels do it so."""
    rng = np.random.default_rng(1)
    for dtype in (np.float32, np.float64):
        for _ in range(200):
            w, v, t = (rng.standard_normal(3) * 10.0 ** rng.integers(-3, 3, 3)).astype(dtype)
            got = separable._fused(w, v, t)
            assert got.dtype == dtype
            exact = Fraction(float(w)) * Fraction(float(v)) + Fraction(float(t))
            off = abs(Fraction(float(got)) - exact)
            neighbours = (np.nextafter(got, dtype(-np.inf)), np.nextafter(got, dtype(np.inf)))
            if FUSES and not separable.PLAIN:
                assert all(off <= abs(Fraction(float(n)) - exact) for n in neighbours)
            else:
                assert got == dtype(w * v) + t
        with np.errstate(invalid="ignore"):
            assert np.isnan(separable._fused(dtype(np.inf), dtype(0), dtype(1)))


@pytest.mark.parametrize("mode", ["reflect", "constant"])
def test_weights_that_are_all_zero(mode):
    """A program without a single run, on an array that is fetched ahead."""
    x = np.random.default_rng(0).random((520, 1030), np.float32)
    for weights in (np.zeros((3, 3)), np.zeros((1, 3)), np.zeros((3, 1))):
        assert not numbasep.correlate(x, weights, mode=mode, cval=2.0).any()


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "f4", "f8"])
@pytest.mark.parametrize("taps", [(3, 3), (5, 5), (3, 1), (5, 3)])
def test_loops_for_few_taps_give_the_same_bits(dtype, taps):
    """Narrow images have no whole blocks, so that the loops for any number of taps compute them."""
    rng = np.random.default_rng(3)
    x, pair = rng.integers(0, 100, (40, 300)).astype(dtype), [rng.random(n) - 0.3 for n in taps]
    wide, margin = correlate_pair(x, pair), 5
    for first in range(0, 280, 7):
        narrow = correlate_pair(np.ascontiguousarray(x[:, first : first + 15]), pair)
        inside = slice(first + margin, first + 15 - margin)
        np.testing.assert_array_equal(wide[:, inside], narrow[:, margin:-margin])
