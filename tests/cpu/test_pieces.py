"""Passes before one along a short last axis run piece by piece, against the oracle."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import ndimage

import numbasep
from numbasep.api import build
from numbasep.api.repeated_calls import shortcuts
from numbasep.cpu import bind
from numbasep.lowering import pieces
from tests.support import oracle

RNG = np.random.default_rng(8)


def forget() -> None:
    build.plans.clear()
    shortcuts.clear()


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Number of pieces of all joined passes."""
    counts: list[int] = []
    join = bind.pieces.join

    def noted(*arguments: object, **keywords: object) -> object:
        made = join(*arguments, **keywords)  # type: ignore[arg-type]
        counts.append(made.tasks)
        return made

    monkeypatch.setattr(bind.pieces, "join", noted)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 12 << 10)
    forget()
    yield counts
    forget()


def filtered(x: np.ndarray, axes: tuple[int, ...], mode: str) -> tuple[np.ndarray, np.ndarray]:
    """The result of a separable filter, and the oracle's."""
    taps = [RNG.random(n) - 0.3 for n in (5, 3, 4, 2)[: len(axes)]]
    kernel = taps[0]
    for other in taps[1:]:
        kernel = np.multiply.outer(kernel, other)
    got = numbasep.correlate(x, kernel, mode=mode, cval=2.0, axes=axes, method="separable")
    return got, oracle.correlate(x, kernel, mode=mode, cval=2.0, axes=axes)


@pytest.mark.jitoff
@pytest.mark.thinned
@pytest.mark.parametrize("mode", ["reflect", "mirror", "nearest", "constant", "wrap"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "c8"])
def test_pieces_are_those_of_the_oracle(mode: str, dtype: str, joined: list[int]) -> None:
    x = (RNG.random((90, 60, 3)) * 200).astype(dtype)
    if dtype == "c8":
        x.imag = RNG.random(x.shape)
    got, expected = filtered(x, (0, 1, 2), mode)
    np.testing.assert_allclose(got, expected, atol=1e-9 if dtype == "f8" else 2e-3)
    assert max(joined) > 2


def test_axes_and_orders(joined: list[int]) -> None:
    """Axes before, between and behind the filtered ones, Fortran order, mirrored and strided arrays."""
    x = RNG.random((5, 90, 24, 4), np.float32)
    for axes in ((0, 1, 2, 3), (1, 3), (2, 3), (0, 3), (0, 1, 3), (1, 2, 3)):
        for array in (x, x[::-1, ::-1], x[:, ::2], x[:, ::-2], np.asfortranarray(x).T.copy().T):
            got, expected = filtered(array, axes, "mirror")
            np.testing.assert_allclose(got, expected, atol=2e-4)
    assert max(joined) > 8


def test_any_number_of_threads_gives_the_same_bits(joined: list[int]) -> None:
    x = RNG.random((400, 300, 3), np.float32)
    results = [numbasep.gaussian_filter(x, 1.0, axes=(0, 1, 2), workers=n) for n in (1, 2)]
    assert len(joined) == 2
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("dtype", ["u2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(8, 627, 33), (5, 3, 300, 24)])
def test_sums_of_terms_after_another_axis(shape: tuple[int, ...], dtype: str) -> None:
    """Terms that read different intermediates are added, wherever they meet."""
    x = (RNG.random(shape) * 200).astype(dtype)
    wide, output = x.astype(np.float64), np.float32 if dtype == "u2" else dtype
    np.testing.assert_allclose(numbasep.laplace(x, output), ndimage.laplace(wide), atol=1e-3)
    terms = RNG.standard_normal((2, len(shape), 3))
    kernel = sum(functools.reduce(np.multiply.outer, term) for term in terms)
    got = numbasep.correlate(x, kernel, output, method="separable")
    np.testing.assert_allclose(got, ndimage.correlate(wide, kernel), atol=1e-6 * 200 * np.abs(kernel).sum())
