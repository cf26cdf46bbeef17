"""Transforms along rows: every boundary, type and division of the kernel, within the bound, the same on all threads."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from numbasep.cpu import threads
from numbasep.cpu.fft import long_lines, overlap_save
from numbasep.planning import lines as division
from numbasep.planning import rounding
from numbasep.planning.facts import kernel_facts
from numbasep.planning.workspace import line_bytes
from tests.support.problems import problem

MODES = ("reflect", "mirror", "nearest", "wrap", "constant")


@pytest.fixture
def rng():
    return np.random.default_rng(1234)


@pytest.fixture
def divided(monkeypatch):
    """A function that makes transforms have a given number of points."""
    caches = (division._cheapest, long_lines._prepare)

    def set_points(points, task_numbers=1 << 12):
        monkeypatch.setattr(division, "POINTS", (points,))
        monkeypatch.setattr(division, "TASK_NUMBERS", task_numbers)
        for cached in caches:
            cached.cache_clear()

    yield set_points
    for cached in caches:
        cached.cache_clear()


def run(x, weights, p, workers=1):
    out = np.empty(p.out_shape, p.output_dtype)
    assert long_lines.correlate(x, weights, p, out, workers)
    return out


def reference(x, weights, p):
    """Direct summation in double precision, by SciPy."""
    window = p.windows[-1]
    wide = scipy.ndimage.correlate1d(
        x.astype(np.float64), weights.reshape(-1), axis=window.axis, mode=window.boundary.name.lower(), cval=p.cval.real
    )  # fmt: skip
    assert wide.shape == p.out_shape
    return wide


def bound(p, weights, x):
    found = kernel_facts(weights)
    size = max(float(np.abs(x.astype(np.float64)).max(initial=0)), abs(p.cval))
    rounded = np.finfo(p.output_dtype).eps * found.l1 * size  # storing
    slack = 64 * 2.0**-53 * found.l1 * size  # of the reference itself
    return rounding.fft_bound(p, found, *division.transform_size(p)) * found.l1 * size + rounded + slack


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("points", [32, 64, 256, 2048])
@pytest.mark.parametrize(
    ("shape", "taps"),
    [
        ((3000,), 101),
        ((3, 700), 33),
        ((2, 5, 300), 64),
        ((1000,), 1000),
        ((70,), 400),
        ((1,), 5),
        ((40,), 1),
        ((9000, 1), 250),
    ],
)
def test_every_boundary_and_division(shape, taps, points, dtype, mode, rng, divided):
    divided(points)
    x = rng.standard_normal(shape).astype(dtype)
    axis = int(np.argmax(shape))
    weights = rng.standard_normal(taps)
    p = problem(shape, (taps,), dtype, axes=(axis,), mode=mode, cval=3.5)
    lines = division.lines(p)
    assert lines.points == points
    assert lines.parts == (-(-taps // points) if taps > points else 1)
    assert np.abs(run(x, weights, p) - reference(x, weights, p)).max() <= bound(p, weights, x)


@pytest.mark.parametrize("mode", ["valid", "full"])
@pytest.mark.parametrize("taps", [30, 500])
def test_other_output_sizes(mode, taps, rng):
    x, weights = rng.standard_normal((3, 2000)), rng.standard_normal(taps)
    p = problem(x.shape, (taps,), np.float64, axes=(1,), mode=mode)
    expected = scipy.signal.correlate(x, weights[None], mode=mode, method="direct")
    assert np.abs(run(x, weights, p) - expected).max() <= bound(p, weights, x)


@pytest.mark.parametrize("source", ["f2", "f4", ">f4", "f8", ">f8", "u1", "i2", ">i2", "?"])
@pytest.mark.parametrize("target", ["f4", "f8", ">f4", "f2"])
def test_types_and_byte_orders(source, target, rng):
    x = (20 * rng.random((2, 5000))).astype(source)
    weights = rng.standard_normal(301) / 300
    p = problem(x.shape, (301,), np.dtype(source), np.dtype(target), axes=(1,))
    assert np.abs(run(x, weights, p) - reference(x, weights, p)).max() <= bound(p, weights, x)


@pytest.mark.parametrize(
    "layout", ["fortran", "reversed", "strided", "rows apart", "misaligned", "broadcast", "read-only"]
)
def test_layouts(layout, rng):
    x, weights = rng.standard_normal((6, 900)), rng.standard_normal(101)
    bytes_ = np.zeros(x.nbytes + 1, np.uint8)
    shifted = bytes_[1:].view(x.dtype).reshape(x.shape)
    shifted[...] = x
    same = {
        "fortran": np.asfortranarray(x), "reversed": x[::-1, ::-1].copy()[::-1, ::-1],
        "strided": np.repeat(x, 2, axis=1)[:, ::2], "rows apart": np.repeat(x, 2, axis=0)[::-2][::-1],
        "misaligned": shifted, "broadcast": np.broadcast_to(x[:1], x.shape), "read-only": x.copy(),
    }[layout]  # fmt: skip
    same.flags.writeable = layout not in ("broadcast", "read-only")
    p = problem(x.shape, (101,), np.float64, axes=(1,))
    expected = reference(np.ascontiguousarray(same), weights, p)
    for out in (np.full((6, 900), 7.0), np.full((12, 1800), 7.0)[::-2, ::2], np.full((12, 900), 7.0)[1::2]):
        assert long_lines.correlate(same, weights, p, out, 2)
        assert np.abs(out - expected).max() <= bound(p, weights, x)


@pytest.mark.parametrize(("shape", "taps"), [((300_000,), 500), ((100_000,), 5001), ((4, 60_000), 301)])
def test_threads_do_not_change_a_bit(shape, taps, rng):
    x, weights = rng.random(shape, np.float32), rng.random(taps)
    p = problem(shape, (taps,), axes=(len(shape) - 1,))
    assert division.lines(p).threads > 1
    np.testing.assert_array_equal(run(x, weights, p, 2), run(x, weights, p))


@pytest.mark.parametrize("taps", [40, 700])
def test_what_a_workspace_held_before_does_not_matter(taps, rng):
    x, weights = rng.random(500), rng.random(taps)
    p = problem(x.shape, (taps,), np.float64)
    expected = run(x, weights, p)
    threads._pool.clear()
    with threads.borrow(8 << 20) as buffer:
        buffer.view(np.float64)[...] = np.nan
    np.testing.assert_array_equal(run(x, weights, p), expected)


def test_long_calls_return_to_python_between_tasks(rng, monkeypatch):
    x, weights = rng.random(100_000), rng.random(101)
    p = problem(x.shape, (101,), np.float64)
    expected = run(x, weights, p)
    monkeypatch.setattr(long_lines, "BATCH_POINTS", 1)
    np.testing.assert_array_equal(run(x, weights, p, 2), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["noise", "spike", "ones", "alternating", "ramp", "matched"])
@pytest.mark.parametrize("taps", [9, 300, 5001])
def test_adversaries_stay_within_the_bound(kind, taps, dtype, rng):
    n = 30_000
    weights = rng.standard_normal(taps).astype(dtype).astype(np.float64)
    x = {
        "noise": rng.uniform(-1, 1, n), "spike": rng.uniform(-1, 1, n) * 1e-6, "ones": np.ones(n),
        "alternating": np.arange(n) % 2 * 2.0 - 1, "ramp": np.linspace(-1, 1, n),
        "matched": np.resize(np.sign(weights), n),  # attains ||K||_1
    }[kind].astype(dtype)  # fmt: skip
    if kind == "spike":
        x[n // 2] = 1
    p = problem((n,), (taps,), dtype)
    error = np.abs(run(x, weights, p) - reference(x, weights, p)).max()
    assert error <= bound(p, weights, x)
    if dtype is np.float32:
        assert error <= 0.2 * bound(p, weights, x)  # the bound is not tight: it has room for worse data


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("taps", [31, 5001])
def test_samples_up_to_the_certified_magnitude_do_not_overflow(taps, dtype, rng):
    weights = rng.uniform(0.5, 1.5, taps)
    p = problem((20_000,), (taps,), dtype)
    points, parts = division.transform_size(p)
    limit = rounding.fft_largest_sample(p, kernel_facts(weights), 2 * points * parts)
    for signs in (np.ones(p.shape), np.resize([1.0, -1.0, -1.0], p.shape)):
        assert np.isfinite(run((signs * limit).astype(dtype), weights, p)).all()


def test_proved_integers_are_the_exact_ones(rng):
    x, weights = rng.integers(0, 256, 9000, np.uint8), rng.integers(-1, 2, 99).astype(np.float64)
    p = problem(x.shape, (99,), np.uint8, np.float32, integer_l1=float(np.abs(weights).sum()))
    assert rounding.fft_is_exact(p, kernel_facts(weights), *division.transform_size(p))
    out = np.empty(x.shape, np.float32)
    overlap_save.correlate(x, weights, p, out, integers=True)
    np.testing.assert_array_equal(out, reference(x, weights, p))


def test_other_problems_are_left_to_other_transforms():
    for p in (
        problem((100, 90), (5, 5)),
        problem((100, 90), (5,), axes=(0,)),
        problem((100,), (5,), np.complex64),
        problem((100,), (5,), stride=2),
        problem((100,), (5,), np.uint8, np.uint8),
        problem((100,), (5,), device="cuda"),
    ):
        assert division.lines(p) is None
    p = problem((100,), (5,))
    assert not long_lines.correlate(
        np.zeros(100, np.float32), np.ones(5) * 1j, p, np.zeros(100, np.float32), 1
    )


def test_division_covers_the_output(rng):
    for shape, taps in (((10_000,), 501), ((7, 999), 5001), ((1000, 300), 31), ((1_000_000,), 25), ((1,), 1)):
        for dtype in (np.float32, np.float64):
            p = problem(shape, (taps,), dtype, axes=(len(shape) - 1,))
            lines = division.lines(p)
            assert lines.tiles * lines.step >= shape[-1] > (lines.tiles - 1) * lines.step
            reached = lines.step * lines.parts if lines.parts > 1 else taps
            assert reached >= taps
            assert lines.step + min(taps, lines.step if lines.parts > 1 else taps) - 1 <= 2 * lines.points
            assert lines.tasks * lines.together >= lines.total


def test_workspace_is_that_of_a_few_tiles():
    for n in (100_000, 10_000_000):
        for taps in (101, 5001):
            p = problem((n,), (taps,))
            assert line_bytes(p, division.lines(p), 2) < 8 << 20


@pytest.mark.jitoff
@pytest.mark.parametrize(("shape", "taps", "mode"), [((150,), 9, "reflect"), ((2, 90), 50, "constant")])
def test_python_code_of_the_kernels(shape, taps, mode, rng):
    x, weights = rng.standard_normal(shape), rng.standard_normal(taps)
    p = problem(shape, (taps,), np.float64, axes=(len(shape) - 1,), mode=mode, cval=1.0)
    assert np.abs(run(x, weights, p) - reference(x, weights, p)).max() <= bound(p, weights, x)


@given(st.integers(1, 90), st.integers(1, 200), st.integers(1, 4), st.sampled_from(MODES))
def test_any_small_shape(samples, taps, rows, mode):
    rng = np.random.default_rng(samples * taps)
    x, weights = rng.standard_normal((rows, samples)), rng.standard_normal(taps)
    p = problem(x.shape, (taps,), np.float64, axes=(1,), mode=mode, cval=-2.0)
    out = np.empty_like(x)
    overlap_save.correlate(x, weights, p, out)
    assert np.abs(out - reference(x, weights, p)).max() <= bound(p, weights, x)
