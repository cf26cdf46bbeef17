"""Dense kernels read from the array itself: the same bits as from packed rows, at every edge, size and type."""

from __future__ import annotations

import numpy as np
import pytest

import numbasep
from numbasep.api import build
from numbasep.api.repeated_calls import shortcuts
from numbasep.cpu import pass_request, prepare
from numbasep.cpu.intrinsics.vectors import TARGET
from numbasep.lowering import counts
from numbasep.lowering import kernels as lowered
from tests.support import oracle

MODES = ("reflect", "mirror", "nearest", "wrap", "constant", "valid", "full")
TAPS = ((3, 3), (2, 7), (9, 4), (15, 15), (1, 3), (29, 3), (3, 40))
SHAPES = ((40, 70), (14, 16), (33, 64), (61, 33))


def forget_plans() -> None:
    build.plans.clear()
    shortcuts.clear()


@pytest.fixture
def packed(monkeypatch):
    """A function that filters with all rows packed."""

    def run(*args, **keywords):
        forget_plans()
        with monkeypatch.context() as patch:
            patch.setattr(lowered, "dense_reads_array", lambda *_: False)
            result = numbasep.correlate(*args, method="direct", **keywords)
        forget_plans()
        return result

    return run


def dense(taps, seed=0):
    return np.random.default_rng(seed).standard_normal(taps)


def image(shape, dtype, seed=1):
    return (np.random.default_rng(seed).random(shape) * 200).astype(dtype)


def test_which_rows_are_read_from_the_array(monkeypatch):
    seen = []
    found = lowered.dense_reads_array
    monkeypatch.setattr(lowered, "dense_reads_array", lambda *args: seen.append(found(*args)) or seen[-1])
    cases = [
        (np.ones((40, 50), np.float32), dense((3, 3)), True),
        (np.ones((40, 50), np.uint8), dense((3, 3)), False),  # converted once, not for every tap
        (np.ones((40, 3), np.float32), dense((3, 3)), False),  # no whole vector
    ]
    if TARGET.vector_bytes >= 64:  # elsewhere other kernels compute these, or a copy of the array is filtered
        cases += [
            (np.ones((80, 200), np.float32)[:, ::2], dense((3, 3)), False),
            (np.ones((64, 1024), np.float32), dense((15, 15)), False),  # rows of 4096 bytes share a cache set
            (np.ones((64, 1000), np.float32), dense((15, 15)), True),
        ]
    for x, kernel, direct in cases:
        seen.clear()
        forget_plans()
        numbasep.correlate(x, kernel, method="direct")
        assert seen[-1] == direct
    forget_plans()


@pytest.mark.jitoff
@pytest.mark.parametrize("mode", ["reflect", "wrap", "constant"])
def test_small_images_word_by_word(mode, packed):
    x, kernel = image((19, 37), np.float32), dense((3, 4))
    direct = numbasep.correlate(x, kernel, mode=mode, cval=2.0, method="direct")
    np.testing.assert_array_equal(direct, packed(x, kernel, mode=mode, cval=2.0))
    expected = oracle.correlate(x.astype(np.float64), kernel, mode=mode, cval=2.0)
    np.testing.assert_allclose(direct, expected, atol=1e-3)
    out = np.zeros((19, 74), np.float32)
    numbasep.correlate(x, kernel, out[:, ::2], mode, 2.0, method="direct")
    np.testing.assert_array_equal(out[:, ::2], direct)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_bits_equal_those_of_packed_rows(mode, dtype, packed):
    for taps in TAPS:
        for shape in SHAPES:
            if mode == "valid" and any(t > n for t, n in zip(taps, shape, strict=True)):
                continue
            x, kernel = image(shape, dtype), dense(taps)
            direct = numbasep.correlate(x, kernel, mode=mode, cval=3.0, method="direct")
            np.testing.assert_array_equal(direct, packed(x, kernel, mode=mode, cval=3.0), str((taps, shape)))
            if taps in TAPS[1:4] and shape in SHAPES[1:3] and dtype == "f8":
                expected = oracle.correlate(x, kernel, mode=mode, cval=3.0)
                np.testing.assert_allclose(direct, expected, atol=1e-10)


@pytest.mark.parametrize("mode", ["reflect", "constant", "full"])
def test_colour_volumes_and_complex_numbers(mode, packed):
    colour, kernel = image((35, 44, 3), np.float32), dense((5, 3))
    for x, weights in (
        (colour, kernel[:, :, None]),
        (colour[..., :2].copy().view(np.complex64), kernel[:, :, None]),
        (image((9, 30, 33), np.float32), dense((3, 5, 3))),
    ):
        direct = numbasep.correlate(x, weights, mode=mode, method="direct")
        np.testing.assert_array_equal(direct, packed(x, weights, mode=mode))
        expected = oracle.correlate(x.astype(np.result_type(x, np.float64)), weights, mode=mode)
        np.testing.assert_allclose(direct, expected, atol=5e-3)


def test_an_infinity_reaches_only_where_weights_are(packed):
    x, kernel = image((44, 60), np.float32), dense((5, 5))
    kernel[1:4, 2] = 0
    for place in ((0, 0), (20, 30), (43, 59), (20, 59)):
        x[place] = np.inf
        direct = numbasep.correlate(x, kernel, mode="constant", method="direct")
        expected = oracle.correlate(x.astype(np.float64), kernel, mode="constant")
        np.testing.assert_array_equal(np.isfinite(direct), np.isfinite(expected))
        np.testing.assert_array_equal(direct, packed(x, kernel, mode="constant"))
        x[place] = 1.0


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_written_past_the_caches(monkeypatch, threads):
    x, kernel = image((203, 517), np.float32), dense((7, 3))
    expected = numbasep.correlate(x, kernel, method="direct")
    forget_plans()
    with monkeypatch.context() as patch:
        patch.setattr(pass_request, "STREAM_BYTES", 1)
        patch.setattr(counts, "PARALLEL_WORK", 1)
        patch.setattr(prepare, "FETCH_BYTES", 1)
        for shift in (0, 3):  # aligned rows, and rows to be aligned
            memory = np.zeros((203, 528), np.float32)
            out = memory[:, shift : shift + 517]
            numbasep.correlate(x, kernel, out, method="direct", workers=threads)
            np.testing.assert_array_equal(out, expected)
            forget_plans()
