"""Volumes filtered along three axes in one pass, piece by piece, against the oracle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import numbasep
from numbasep.api import build
from numbasep.api.repeated_calls import shortcuts
from numbasep.cpu import bind, pass_request
from numbasep.lowering import volumes
from tests.support import oracle

RNG = np.random.default_rng(5)


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Rows of the pieces of all joined passes."""
    strips: list[int] = []
    join = bind.volumes.join

    def noted(front: object, back: object, strip: int) -> object:
        strips.append(strip)
        return join(front, back, strip)  # type: ignore[arg-type]

    monkeypatch.setattr(bind.volumes, "join", noted)
    monkeypatch.setattr(volumes, "PIECE_BYTES", 24 << 10)
    monkeypatch.setattr(volumes, "LEAST_STRIP", 8)
    forget()
    yield strips
    forget()


def forget() -> None:
    build.plans.clear()
    shortcuts.clear()


def separable(*taps: int) -> np.ndarray:
    """A kernel of so many taps along each axis."""
    kernel = np.ones(1)
    for n in taps:
        kernel = np.multiply.outer(kernel, RNG.random(n) - 0.3)
    return kernel[0]


@pytest.mark.jitoff
@pytest.mark.thinned
@pytest.mark.parametrize("mode", ["reflect", "mirror", "nearest", "constant", "wrap", "valid"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "c8"])
def test_volumes_are_those_of_the_oracle(mode: str, dtype: str, joined: list[int]) -> None:
    x = (RNG.random((9, 21, 84)) * 200).astype(dtype)
    if dtype == "c8":
        x.imag = RNG.random(x.shape)
    kernel = separable(5, 3, 4)
    output = np.float64 if dtype == "u1" else None
    expected = oracle.correlate(x, kernel, mode=mode, cval=2.0)
    got = numbasep.correlate(x, kernel, output, mode, 2.0, method="separable")
    np.testing.assert_allclose(got, expected, atol=1e-8 if dtype == "f8" else 2e-3)
    if mode in ("reflect", "mirror", "nearest", "valid"):
        assert joined
        assert joined[0] < 21


def test_planes_and_axes_of_any_order(joined: list[int]) -> None:
    """Axes between, behind and before the filtered ones, arrays in any order, parts of larger ones, other origins."""
    x = RNG.random((3, 9, 2, 40, 40), np.float32)
    for axes, inside in (
        ((1, 3, 4), x),
        ((0, 3, 4), x),
        ((1, 2, 3, 4), x),
        ((0, 1, 2), x[:, :, 0]),
        ((0, 1), x[0, :, 0]),
        ((0, 2), x[0]),
    ):
        for array in (inside, np.asfortranarray(inside), inside[..., ::-1], inside[..., 3:39]):
            sizes = [3] * len(axes)
            kernel = separable(*sizes)
            expected = oracle.correlate(array, kernel, axes=axes, origin=1)
            whole = np.full((*array.shape[:-1], array.shape[-1] + 5), 7, np.float32)
            got = whole[..., 2:-3]
            numbasep.correlate(array, kernel, got, axes=axes, origin=1, method="separable")
            np.testing.assert_allclose(got, expected, atol=1e-4)
            assert (whole[..., :2] == 7).all()
            assert (whole[..., -3:] == 7).all()
    assert joined


@pytest.mark.parametrize("gathered", [False, True])
def test_bits_do_not_depend_on_threads_or_pieces(
    gathered: bool, joined: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pass_request, "STREAM_BYTES", 1 if gathered else 1 << 60)
    x = RNG.random((45, 61, 130), np.float32)
    results = []
    for piece in (24 << 10, 1 << 30, 1):  # strips, whole planes, slabs
        monkeypatch.setattr(volumes, "PIECE_BYTES", piece)
        for workers in (1, 2):
            forget()
            results.append(numbasep.gaussian_filter(x, 1.2, workers=workers))
    assert set(joined) == {8, 61} or 61 in joined
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("step", [1, 2, -1])
@pytest.mark.parametrize("order", ["C", "F"])
def test_other_axes_between_the_filtered_ones(
    step: int, order: str, joined: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "PIECE_BYTES", 128 << 10)
    whole = RNG.random((5, 6, 40, 64)) * 90
    kernels = [RNG.standard_normal(n) for n in (3, 4, 5)]
    for dtype in (np.float32, np.float64, np.uint8):
        x = (
            np.asarray(whole.astype(dtype)[:, ::step], order=order)
            if step == 1
            else whole.astype(dtype)[:, ::step]
        )
        out = np.zeros(x.shape, order=order)
        numbasep.separable_correlate(x, kernels, output=out, axes=(0, 2, 3))
        expected = oracle.separable_correlate(x, kernels, axes=(0, 2, 3))
        np.testing.assert_allclose(out, expected, atol=1e-2 if dtype == np.float32 else 1e-9)
