"""The FFT route: right everywhere, within its bound, in bounded memory, at the speed of its tiles."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from numbasep.arguments.casting import store
from numbasep.cpu.fft import overlap_save
from numbasep.cpu.fft import spectra as kernel_spectra
from numbasep.cpu.fft.spectra import spectra
from numbasep.planning import rounding
from numbasep.planning.facts import kernel_facts
from numbasep.planning.overlap import tiling
from numbasep.planning.workspace import transform_bytes
from tests.support.problems import problem

PADS = {
    "reflect": "symmetric", "mirror": "reflect", "nearest": "edge", "wrap": "wrap", "constant": "constant"
}  # fmt: skip
MODES = tuple(PADS)


def reference(x, weights, p):
    """Direct summation in double precision, by SciPy, complex parts one by one."""
    if p.input_dtype.kind == "c":
        real = reference(x.real, weights, _with_cval(p, p.cval.real))
        return real + 1j * reference(x.imag, weights, _with_cval(p, p.cval.imag))
    if np.iscomplexobj(weights):
        return reference(x, weights.real, p) + 1j * reference(x, weights.imag, p)
    wide = x.astype(np.float64)
    axes = tuple(window.axis for window in p.windows)
    shape = [1] * x.ndim
    for axis, n in zip(axes, weights.shape, strict=True):
        shape[axis] = n
    mode = p.windows[0].boundary.name.lower()
    if weights.size > 3000:  # direct summation would take minutes
        pads = [(n // 2, n - 1 - n // 2) for n in shape]
        options = {"constant_values": p.cval.real} if mode == "constant" else {}
        padded = np.pad(wide, pads, PADS[mode], **options)
        return scipy.signal.oaconvolve(
            padded, weights.reshape(shape)[(slice(None, None, -1),) * x.ndim], "valid"
        )
    return scipy.ndimage.correlate(wide, weights.reshape(shape), mode=mode, cval=p.cval.real)


def _with_cval(p, cval):
    import dataclasses

    real = {"c": np.dtype(np.float64), "f": p.input_dtype}[p.input_dtype.kind]
    return dataclasses.replace(p, cval=complex(cval), input_dtype=real)


def run(x, weights, p, workers=1, **options):
    out = np.empty(p.out_shape, p.output_dtype)
    overlap_save.correlate(x, weights, p, out, workers, **options)
    return out


def bound(p, weights, x):
    found = kernel_facts(weights)
    size = max(np.abs(x).max(initial=0), abs(p.cval))
    rounded = np.finfo(p.output_dtype).eps * found.l1 * size  # storing
    return rounding.fft_bound(p, found, tiling(p).points) * found.l1 * size + rounded


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize(
    ("shape", "taps"),
    [
        ((50, 60), (7, 9)),
        ((5, 7), (12, 20)),  # taps beyond the array, twice over
        ((450, 400), (21, 12)),  # several tiles along both axes
        ((300,), (31,)),
        ((20_011,), (101,)),  # several transforms at a time, a prime number of samples
        ((101,), (250,)),
        ((20, 21, 22), (4, 5, 6)),
        ((610, 520), (90, 101)),  # in stages
        ((48, 70, 80), (25, 30, 41)),
        ((1, 130, 90), (3, 9, 9)),  # a single sample along an axis
        ((130, 90, 1), (9, 9, 1)),
        ((1, 40), (3, 3)),
        ((1, 1), (5, 4)),
    ],
)
def test_every_boundary_and_type(shape, taps, dtype, mode, rng):
    x = rng.standard_normal(shape).astype(dtype)
    if x.dtype.kind == "c":
        x += 1j * rng.standard_normal(shape).astype(x.real.dtype)
    weights = rng.standard_normal(taps)
    p = problem(shape, taps, dtype, mode=mode, cval=3.5)
    assert np.abs(run(x, weights, p) - reference(x, weights, p)).max() <= bound(p, weights, x)


@pytest.fixture
def rng():
    return np.random.default_rng(1234)


def test_complex_weights_on_real_and_on_complex_data(rng):
    weights = rng.standard_normal((5, 6)) + 1j * rng.standard_normal((5, 6))
    x = rng.standard_normal((40, 50))
    p = problem(x.shape, weights.shape, np.float64, np.complex128, complex_kernel=True)
    assert np.abs(run(x, weights, p) - reference(x, weights, p)).max() <= bound(p, weights, x)
    z = x + 1j * rng.standard_normal(x.shape)
    p = problem(x.shape, weights.shape, np.complex128, complex_kernel=True)
    expected = reference(z, weights.real, p) + 1j * reference(z, weights.imag, p)
    assert np.abs(run(z, weights, p) - expected).max() <= bound(p, weights, z)


def test_real_results_in_a_complex_output(rng):
    x, weights = rng.standard_normal((30, 31)), rng.standard_normal((3, 4))
    p = problem(x.shape, weights.shape, np.float64, np.complex128)
    found = run(x, weights, p)
    assert np.abs(found.real - reference(x, weights, p)).max() <= bound(p, weights, x)
    assert not found.imag.any()


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)])
def test_some_axes_only(axes, rng):
    x = rng.standard_normal((30, 40, 23))
    weights = rng.standard_normal((5, 8)[: len(axes)])
    p = problem(x.shape, weights.shape, np.float64, axes=axes, mode="mirror")
    assert np.abs(run(x, weights, p) - reference(x, weights, p)).max() <= bound(p, weights, x)


@pytest.mark.parametrize("mode", ["valid", "full"])
def test_other_output_sizes(mode, rng):
    x, weights = rng.standard_normal((300, 70)), rng.standard_normal((9, 12))
    p = problem(x.shape, weights.shape, np.float64, mode=mode)
    expected = scipy.signal.correlate(x, weights, mode=mode, method="direct")
    assert np.abs(run(x, weights, p) - expected).max() <= bound(p, weights, x)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("shape", "taps", "axes", "stride"),
    [
        ((9000, 5), (301,), (0,), 1),
        ((5, 9000), (301,), (1,), 3),
        ((3, 600, 2, 500), (101, 120), (1, 3), 1),
        ((700, 600), (130, 101), (0, 1), 2),
        ((40_000,), (101,), (0,), 2),
    ],
)
def test_axes_beside_and_strides(shape, taps, axes, stride, mode, rng):
    x, weights = rng.standard_normal(shape), rng.standard_normal(taps)
    p = problem(shape, taps, np.float64, axes=axes, mode=mode, cval=0.5, stride=stride)
    every = tuple(slice(None, None, stride if axis in axes else None) for axis in range(len(shape)))
    expected = reference(x, weights, problem(shape, taps, np.float64, axes=axes, mode=mode, cval=0.5))[every]
    assert np.abs(run(x, weights, p) - expected).max() <= bound(p, weights, x)


def test_complex_weights_in_stages(rng):
    x = rng.standard_normal((600, 500))
    weights = rng.standard_normal((90, 80)) + 1j * rng.standard_normal((90, 80))
    p = problem(
        x.shape, weights.shape, np.float64, np.complex128, complex_kernel=True, mode="constant", cval=2
    )
    assert tiling(p).staged
    assert np.abs(run(x, weights, p) - reference(x, weights, p)).max() <= bound(p, weights, x)


def _layouts(x):
    big = np.zeros(tuple(2 * n + 3 for n in x.shape), x.dtype)
    strided = big[tuple(slice(1, 1 + 2 * n, 2) for n in x.shape)]
    strided[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    bytes_ = np.zeros(x.nbytes + 1, np.uint8)
    shifted = bytes_[1:].view(x.dtype).reshape(x.shape)
    shifted[...] = x
    return {
        "fortran": np.asfortranarray(x),
        "reversed": x[::-1, ::-1].copy()[::-1, ::-1],
        "strided": strided,
        "swapped": x.astype(x.dtype.newbyteorder()),
        "read-only": read_only,
        "misaligned": shifted,
        "broadcast": np.broadcast_to(x[:1], x.shape),
    }


@pytest.mark.thinned
@pytest.mark.parametrize(
    "layout", ["fortran", "reversed", "strided", "swapped", "read-only", "misaligned", "broadcast"]
)
@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.complex128])
def test_layouts_give_the_values_of_the_contiguous_array(layout, dtype, rng):
    x = (100 * rng.random((330, 290))).astype(dtype)
    weights = rng.standard_normal((17, 12))
    same = _layouts(x)[layout]
    p = problem(x.shape, weights.shape, same.dtype, np.float32 if dtype is np.uint16 else dtype)
    out = np.full((330, 580), 7, p.output_dtype)[:, ::-2]
    overlap_save.correlate(same, weights, p, out, 2)
    assert np.abs(out - reference(np.ascontiguousarray(same), weights, p)).max() <= bound(p, weights, x)


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize(
    ("shape", "taps"),
    [((600, 500), (21, 21)), ((300_000,), (500,)), ((900, 700), (201, 301)), ((90, 80, 70), (31, 31, 31))],
)
def test_threads_do_not_change_a_bit(shape, taps, threads, rng, monkeypatch):
    monkeypatch.setattr(overlap_save, "_threads", lambda *arguments: arguments[-1])
    overlap_save._work.cache_clear()
    x, weights = rng.random(shape, np.float32), rng.random(taps)
    p = problem(x.shape, weights.shape)
    np.testing.assert_array_equal(run(x, weights, p, threads), run(x, weights, p))


def test_four_callers_at_once(rng):
    x, weights = rng.random((400, 500)), [rng.random((9, n)) for n in (9, 10, 11, 12)]
    expected = [run(x, w, problem(x.shape, w.shape, np.float64)) for w in weights]
    found: list = [None] * 4

    def call(i):
        for _ in range(5):
            found[i] = run(x, weights[i], problem(x.shape, weights[i].shape, np.float64), 2)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_error_in_a_tile_stops_all_threads(monkeypatch, rng):
    calls = []

    def fail(*args):
        calls.append(args)
        raise MemoryError("no room")

    monkeypatch.setattr(overlap_save.extended_input, "gather", fail)
    x = rng.random((4000, 100), np.float32)
    with pytest.raises(MemoryError, match="no room"):
        run(x, np.ones((9, 9)), problem(x.shape, (9, 9)), 4)
    assert len(calls) <= 4


# ---------------------------------------------------------------------------------------- certificates


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["noise", "spike", "ones", "alternating", "ramp", "matched"])
@pytest.mark.parametrize("taps", [(3, 3), (15, 15), (64, 31)])
def test_adversaries_stay_within_the_bound(kind, taps, dtype, rng):
    shape = (500, 450)
    weights = rng.standard_normal(taps).astype(dtype).astype(np.float64)
    x = {
        "noise": rng.uniform(-1, 1, shape),
        "spike": rng.uniform(-1, 1, shape) * 1e-6,
        "ones": np.ones(shape),
        "alternating": np.indices(shape).sum(0) % 2 * 2.0 - 1,
        "ramp": np.linspace(-1, 1, shape[0])[:, None] * np.linspace(-1, 1, shape[1]),
        "matched": np.resize(np.sign(weights), shape),  # attains ||K||_1
    }[kind].astype(dtype)
    if kind == "spike":
        x[250, 200] = 1
    p = problem(shape, taps, dtype)
    truth = reference(x.astype(np.longdouble).astype(np.float64), weights, p)
    error = np.abs(run(x, weights, p) - truth).max()
    slack = 64 * 2.0**-53 * np.abs(weights).sum()  # of the reference itself
    assert error <= bound(p, weights, x) + slack
    if dtype is np.float32:
        assert error <= 0.2 * bound(p, weights, x)  # the bound is not tight: it has room for worse data


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_up_to_the_certified_magnitude_do_not_overflow(dtype, rng):
    weights = rng.uniform(0.5, 1.5, (31, 31))
    p = problem((400, 300), (31, 31), dtype)
    points = tiling(p).points
    limit = rounding.fft_largest_sample(p, kernel_facts(weights), points)
    for signs in (np.ones(p.shape), np.resize([1.0, -1.0, -1.0], p.shape)):
        assert np.isfinite(run((signs * limit).astype(dtype), weights, p)).all()
    with np.errstate(all="ignore"):
        assert not np.isfinite(
            run(np.full(p.shape, np.finfo(dtype).max / 100), weights / weights.sum(), p)
        ).all()


def test_proved_integers_are_the_exact_ones(rng):
    x = rng.integers(0, 256, (600, 500), np.uint8)
    weights = rng.integers(-1, 2, (9, 9)).astype(np.float64)
    l1 = float(np.abs(weights).sum())
    p = problem(x.shape, (9, 9), np.uint8, np.float32, integer_l1=l1)
    assert rounding.fft_is_exact(p, kernel_facts(weights), tiling(p).points)
    np.testing.assert_array_equal(run(x, weights, p, integers=True), reference(x, weights, p))
    p = problem(x.shape, (9, 9), np.uint8, np.int16, integer_l1=l1)
    np.testing.assert_array_equal(run(x, weights, p, integers=True), reference(x, weights, p))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(1, 12), st.sampled_from(MODES))
def test_any_small_shape(rows, columns, row_taps, column_taps, mode):
    rng = np.random.default_rng(rows * columns)
    x, weights = rng.standard_normal((rows, columns)), rng.standard_normal((row_taps, column_taps))
    p = problem(x.shape, weights.shape, np.float64, mode=mode, cval=-2.0)
    assert np.abs(run(x, weights, p) - reference(x, weights, p)).max() <= bound(p, weights, x)


# --------------------------------------------------------------------------------------------- spectra


def test_spectra_are_kept_and_bounded(monkeypatch, rng):
    made = []
    transform = overlap_save.transform
    monkeypatch.setattr(overlap_save, "transform", lambda *args: made.append(args) or transform(*args))
    with spectra.emptied():
        p, x = problem((64, 64), (9, 9), np.float64), rng.random((64, 64))
        first, second = rng.random((9, 9)), rng.random((9, 9))
        for weights in (first, second, first, second):
            run(x, weights, p)
        assert len(made) == 2
        one = spectra._bytes // 2
        monkeypatch.setattr(kernel_spectra, "SPECTRA_BYTES", 3 * one)
        kernels = [rng.random((9, 9)) for _ in range(10)]
        for weights in kernels:
            run(x, weights, p)
        assert len(spectra._kept) == 3
        assert spectra._bytes == 3 * one
        del kernels, weights
        made.clear()
        run(x, first, p)
        assert len(spectra._kept) == 1  # what belongs to kernels that are gone is forgotten
        assert spectra._bytes == one


def test_kernels_of_equal_bytes_but_other_shapes_or_types_do_not_mix(rng):
    flat = rng.random(16)
    x = rng.random((40, 40))
    for weights in (flat.reshape(2, 8), flat.reshape(4, 4), flat.view(np.complex128).reshape(2, 4)):
        output = weights.dtype if np.iscomplexobj(weights) else np.float64
        p = problem(x.shape, weights.shape, np.float64, output, complex_kernel=np.iscomplexobj(weights))
        assert np.abs(run(x, weights, p) - reference(x, weights, p)).max() <= bound(p, weights, x)


def test_memory_is_that_of_the_tiles(rng):
    import tracemalloc

    x = rng.random((3000, 3000), np.float32)
    weights = rng.random((31, 31))
    p = problem(x.shape, weights.shape)
    out = np.empty_like(x)
    with spectra.emptied():
        tracemalloc.start()
        try:
            overlap_save.correlate(x, weights, p, out, 1)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    reserved = transform_bytes(p, tiling(p), 1)
    assert peak < 1.05 * reserved
    assert reserved < x.nbytes / 4
    large = problem((12000, 12000), weights.shape)
    assert transform_bytes(large, tiling(large), 1) <= 2 * reserved


# --------------------------------------------------------------------------------------------- casting


def test_truncation_is_scipys(rng):
    values = np.concatenate([rng.uniform(-700, 700, 500), [-0.9, 0.9, 255.5, 256, -1, -1e5, 1e5]])
    for dtype in (np.uint8, np.int8, np.uint16, np.int16, np.int32, np.int64):
        out = np.zeros(values.shape, dtype)
        store(values, out)
        expected = scipy.ndimage.correlate1d(values, [1.0], output=dtype)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.uint64])
def test_saturation_rounds_half_to_even_and_clips(dtype):
    limits = np.iinfo(dtype)
    values = np.array([0.5, 1.5, 2.5, 1e30, -1e30, np.nan, np.inf, -np.inf, 41.49])
    out = np.zeros(values.shape, dtype)
    store(values, out, "saturate")
    assert out.tolist() == [0, 2, 2, limits.max, limits.min, 0, limits.max, limits.min, 41]


def test_complex_values_do_not_lose_their_imaginary_part():
    with pytest.raises(TypeError, match="complex"):
        store(np.zeros(3, np.complex64), np.zeros(3))


def test_other_byte_orders_are_written():
    out = np.zeros(3, ">i2")
    store(np.array([1.0, -2.9, 70000.0]), out)
    assert out.tolist() == [1, -2, 4464]
