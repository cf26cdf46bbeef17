"""Rows filtered straight from the array: the same bits as packed rows, at every edge, size, alignment and type."""

from __future__ import annotations

import numpy as np
import pytest

import numbasep
from numbasep.api import build
from numbasep.api.shortcuts import shortcuts
from numbasep.backends import edges
from tests import oracle

MODES = ("reflect", "mirror", "nearest", "wrap", "constant", "valid", "full")
TAPS = ((3, 3), (1, 5), (5, 1), (9, 9), (3, 17), (4, 2), (17, 4), (21, 33), (1, 40), (12, 18))
SHAPES = ((40, 70), (3, 16), (33, 64), (9, 257), (17, 33))


def forget_plans() -> None:
    build.plans.clear()
    shortcuts.clear()


@pytest.fixture
def packed(monkeypatch):
    """A function that filters with all rows packed, as where neither kernel that reads the array is of use."""
    return without(monkeypatch, "SLIDES", "TURNS")


@pytest.fixture
def turned(monkeypatch):
    """A function that filters every term from the array through turned sums, short ones too."""
    return without(monkeypatch, "SLIDES")


def without(monkeypatch, *names):
    def run(function, *args, **keywords):
        forget_plans()
        with monkeypatch.context() as patch:
            for name in names:
                patch.setattr(edges, name, False)
            result = function(*args, **keywords)
        forget_plans()
        return result

    return run


def kernel_pair(taps, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random(n) + 0.1 for n in taps]


@pytest.mark.skipif(not (edges.SLIDES and edges.TURNS), reason="needs AVX-512, or plain Python")
def test_terms_of_any_length_do_run_directly(monkeypatch):
    seen = []
    found = edges.direct_edges
    monkeypatch.setattr(
        "numbasep.backends.prepare.direct_edges", lambda *args: seen.append(found(*args)) or seen[-1]
    )
    forget_plans()
    numbasep.gaussian_filter(np.ones((40, 50), np.float32), 1)
    assert seen[-1].short
    numbasep.gaussian_filter(np.ones((40, 50), np.float32), 9)
    assert not seen[-1].short
    forget_plans()


@pytest.mark.jitoff
@pytest.mark.parametrize("mode", ["reflect", "wrap", "constant"])
@pytest.mark.parametrize("taps", [(3, 9), (1, 5)])
def test_small_images_word_by_word(mode, taps, packed, turned):
    x = np.random.default_rng(3).random((11, 37), np.float32)
    kernels = kernel_pair(taps)
    direct = numbasep.separable_correlate(x, kernels, mode=mode)
    np.testing.assert_array_equal(direct, packed(numbasep.separable_correlate, x, kernels, mode=mode))
    np.testing.assert_array_equal(direct, turned(numbasep.separable_correlate, x, kernels, mode=mode))


TYPES_AND_MODES = [("f4", mode) for mode in MODES] + [
    (dtype, mode) for dtype in ("f8", "u1", "f2") for mode in ("mirror", "constant")
]


@pytest.mark.parametrize(("dtype", "mode"), TYPES_AND_MODES)
def test_bits_equal_those_of_packed_rows(mode, dtype, packed, turned):
    rng = np.random.default_rng(3)
    for taps in TAPS:
        kernels = kernel_pair(taps)
        for shape in SHAPES[:2]:
            if mode == "valid" and any(t > n for t, n in zip(taps, shape, strict=True)):
                continue
            x = (rng.random(shape) * 200).astype(dtype)
            direct = numbasep.separable_correlate(x, kernels, output=np.float64, mode=mode)
            for other in (packed, turned):
                result = other(numbasep.separable_correlate, x, kernels, output=np.float64, mode=mode)
                np.testing.assert_array_equal(direct, result, str((taps, shape)))


@pytest.mark.thinned
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("inner", [1, 3, 2])
def test_sums_of_terms_agree_with_the_oracle(mode, inner, turned):
    rng = np.random.default_rng(4)
    kernel = rng.random((7, 2)) @ rng.random((2, 21))
    kernel[:, 10] = 0  # taps along a row need not be adjacent
    x = rng.random((35, 44, inner))
    expected = oracle.correlate(x, kernel[:, :, None], mode=mode)
    for run in (lambda f, *a, **k: f(*a, **k), turned):
        result = run(numbasep.correlate, x, kernel[:, :, None], mode=mode, method="separable")
        np.testing.assert_allclose(result, expected, rtol=1e-11)


@pytest.mark.skipif(not (edges.SLIDES and edges.TURNS), reason="needs AVX-512, or plain Python")
@pytest.mark.parametrize(("dtype", "mode"), TYPES_AND_MODES)
def test_several_short_terms_in_one_pass(monkeypatch, mode, dtype, turned):
    seen, found = [], edges.direct_edges
    monkeypatch.setattr(
        "numbasep.backends.prepare.direct_edges", lambda *args: seen.append(found(*args)) or seen[-1]
    )
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
        for shape in ((24, 41), (3, 16), (9, 130)):
            if mode == "valid" and any(t > n for t, n in zip(taps, shape, strict=True)):
                continue
            x = (rng.random((*shape, inner)) * 200).astype(dtype)
            call = {"output": np.float64, "mode": mode, "method": "separable", "axes": (0, 1)}
            result = numbasep.correlate(x, kernel, **call)
            expected = oracle.correlate(x.astype(float), kernel[:, :, None], mode=mode)
            np.testing.assert_allclose(result, expected, rtol=1e-10, err_msg=str((rank, taps, shape)))
            np.testing.assert_array_equal(result, turned(numbasep.correlate, x, kernel, **call))
    assert any(edge is not None and edge.several for edge in seen)


@pytest.mark.parametrize("mode", MODES)
def test_every_size_agrees_with_the_oracle(mode):
    rng = np.random.default_rng(5)
    for taps in TAPS:
        kernels = kernel_pair(taps, 1)
        for shape in SHAPES:
            if mode == "valid" and any(t > n for t, n in zip(taps, shape, strict=True)):
                continue
            x = rng.random(shape)
            expected = oracle.separable_correlate(x, kernels, mode=mode, cval=0.0)
            np.testing.assert_allclose(
                numbasep.separable_correlate(x, kernels, mode=mode),
                expected,
                rtol=1e-12,
                err_msg=str((taps, shape)),
            )


@pytest.mark.parametrize("origin", [(-1, 1), (1, -2), (0, 2)])
def test_shifted_windows(origin, packed):
    x = np.random.default_rng(7).random((23, 40))
    kernels = kernel_pair((5, 5), 2)
    result = numbasep.separable_correlate(x, kernels, origin=origin)
    np.testing.assert_array_equal(result, packed(numbasep.separable_correlate, x, kernels, origin=origin))
    np.testing.assert_allclose(result, oracle.separable_correlate(x, kernels, origin=origin), rtol=1e-12)


@pytest.mark.thinned
@pytest.mark.parametrize("shift", [0, 1, 4, 7])
@pytest.mark.parametrize("columns", [2048, 2049, 2071])
def test_outputs_of_any_alignment_past_the_caches(shift, columns, packed):
    rows = (8 << 20) // (4 * columns) + 3  # large enough to be streamed
    x = np.random.default_rng(11).random((rows, columns), np.float32)
    memory = np.full(rows * columns + 64, np.float32(7))
    y = memory[shift : shift + rows * columns].reshape(rows, columns)
    numbasep.gaussian_filter(x, 1, output=y)
    assert (memory[:shift] == 7).all()
    assert (memory[shift + rows * columns :] == 7).all()
    np.testing.assert_array_equal(y, packed(numbasep.gaussian_filter, x, 1))


def test_nothing_outside_the_array_is_read():
    memory = np.full((60, 90), np.nan, np.float32)
    memory[10:50, 16:71] = np.random.default_rng(1).random((40, 55))
    view = memory[10:50, 16:71]
    np.testing.assert_array_equal(
        numbasep.gaussian_filter(view, 1.5), numbasep.gaussian_filter(view.copy(), 1.5)
    )


def test_colour_and_complex_columns(packed):
    rng = np.random.default_rng(13)
    colour = rng.random((30, 40, 3), np.float32)
    result = numbasep.gaussian_filter(colour, 0.6, axes=(0, 1))
    np.testing.assert_array_equal(result, packed(numbasep.gaussian_filter, colour, 0.6, axes=(0, 1)))
    for channel in range(3):
        np.testing.assert_allclose(
            result[..., channel], numbasep.gaussian_filter(colour[..., channel], 0.6), 2e-6
        )
    z = (colour[..., 0] + 1j * colour[..., 1]).astype(np.complex64)
    parts = numbasep.gaussian_filter(z, 0.8)
    np.testing.assert_array_equal(parts.real, numbasep.gaussian_filter(np.ascontiguousarray(z.real), 0.8))
    np.testing.assert_array_equal(parts.imag, numbasep.gaussian_filter(np.ascontiguousarray(z.imag), 0.8))


@pytest.mark.parametrize("sigma", [1, 7])
def test_large_strided_outputs(sigma):
    """As large as outputs that are written past the caches, which scattered ones must not be."""
    x = np.random.default_rng(19).random((1500, 1601), np.float32)
    memory = np.full((1500, 3202), np.float32(7))
    numbasep.gaussian_filter(x, sigma, output=memory[:, ::2])
    np.testing.assert_array_equal(memory[:, ::2], numbasep.gaussian_filter(x, sigma))
    assert (memory[:, 1::2] == 7).all()


def test_large_complex_results_of_real_images():
    x = np.random.default_rng(23).random((1500, 1601), np.float32)
    kernel = np.outer([1, 2j, 1], [1, 1, 1j])
    result = numbasep.convolve(x, kernel)
    np.testing.assert_allclose(result.real, numbasep.convolve(x, kernel.real), atol=1e-5)
    np.testing.assert_allclose(result.imag, numbasep.convolve(x, kernel.imag), atol=1e-5)
