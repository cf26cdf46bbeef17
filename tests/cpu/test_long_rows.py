"""Few long rows cut into many, and two axes filtered in turn: the same answers, whatever the shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbasep as nsp
from numbasep.cpu import bind
from numbasep.lowering import shapes
from numbasep.lowering.shapes import are_in_turn, cut_rows
from tests.support import oracle

MODES = ("reflect", "mirror", "nearest", "wrap", "constant")
rng = np.random.default_rng(6)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each filter along one axis, into how many parts it was cut; short signals are cut, too."""
    monkeypatch.setattr(shapes, "LEAST_CUT", 1 << 17)
    seen: list[int] = []
    own = bind.cut_parts

    def note(*arguments: Any) -> Any:
        made = list(own(*arguments))
        seen.append(len(made))
        return iter(made)

    monkeypatch.setattr(bind, "cut_parts", note)
    return seen


def judge(x: np.ndarray, taps: np.ndarray, axis: int, **keywords: Any) -> None:
    __tracebackhide__ = True
    got = nsp.correlate1d(x, taps, axis, **keywords)
    expected = oracle.correlate(x, taps, axes=(axis,), every_tap=True, **keywords)
    slack = (2e-6 if x.dtype.char in "efFB" else 1e-14) * len(taps) * np.abs(taps).sum()
    oracle.assert_close(got, expected, slack * oracle.largest(x, keywords.get("cval", 0.0)))


SHAPES = [((20_001,), 0), ((1, 40_000), 1), ((3, 17_003), 1), ((9_001, 2), 0), ((2, 2_500, 30), 1)]


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "complex64", ">f4"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("mode", MODES)
def test_rows_that_are_cut(
    mode: str, shape: tuple[int, ...], axis: int, dtype: str, parts: list[int]
) -> None:
    x = (rng.random(shape) * 90).astype(dtype)
    for taps, origin in ((1, 0), (2, 0), (9, 4), (9, -4), (301, 60)):
        weights = rng.integers(-3, 9, taps) if dtype == "uint8" else rng.standard_normal(taps)
        judge(x, weights, axis, mode=mode, cval=2.0, origin=origin)
    assert max(parts) == 3
    x = x.real.astype("float32")
    x.flat[[0, x.size // 3, x.size - 1]] = np.nan, np.inf, -np.inf
    judge(x, np.array([1.0, 0, 2, -1]), axis, mode=mode, cval=2.0)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16", "complex64", ">f4"])
@pytest.mark.parametrize("mode", MODES)
def test_pieces_of_a_row_are_summed_as_rows(mode: str, dtype: str) -> None:
    for samples in (40, 255, 256, 257, 700, 1025, 5_000):
        x = (rng.random(samples) * 90).astype(dtype)
        for taps, origin in ((3, 0), (10, -2), (31, 0)):
            weights = rng.integers(-3, 9, taps) if dtype in ("uint8", "int16") else rng.standard_normal(taps)
            judge(x, weights, 0, mode=mode, cval=2.0, origin=origin)
            judge(np.stack([x, x[::-1]])[:, :, None][::-1], weights, 1, mode=mode, cval=2.0, origin=origin)


def test_cut_rows_take_gaps_and_sizes(parts: list[int]) -> None:
    x = rng.random(40_000)
    for mode in ("valid", "full"):
        got = nsp.convolve(x, np.arange(1.0, 12), mode=mode)
        np.testing.assert_allclose(got, np.convolve(x, np.arange(1.0, 12), mode), rtol=1e-13)
    gaps = np.where(rng.random(x.size) < 0.1, np.nan, x)
    valid = ~np.isnan(gaps)
    taps = np.arange(1.0, 8)
    total, share = (oracle.correlate(v, taps) for v in (np.where(valid, gaps, 0), valid.astype(float)))
    got = nsp.correlate(gaps, taps, nan_policy="omit")
    np.testing.assert_allclose(got, np.where(share > 1e-12, total / share * taps.sum(), np.nan), rtol=1e-12)
    assert parts.count(3) >= 2
    assert 2 in parts or 1 in parts  # nothing of mode "valid" lies beyond the ends
    one, two = (nsp.correlate1d(x, taps, workers=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "complex64"])
@pytest.mark.parametrize("shape", [(5, 40, 130), (30, 3, 2, 70), (40, 30, 100, 1)])
@pytest.mark.parametrize("axes", [(0, 1), (0,), (1,)])
@pytest.mark.parametrize("mode", MODES)
def test_axes_with_much_inside(mode: str, axes: tuple[int, ...], shape: tuple[int, ...], dtype: str) -> None:
    x = (rng.random(shape) * 90).astype(dtype)
    output = "float64" if dtype == "uint8" else dtype
    for kernels in ([[1.0, 2, 4, -1]] * len(axes), [[3.0, 1, 2, 0, 1, 2, 5, 1, 1]] * len(axes)):
        got = nsp.separable_correlate(x, kernels, output=output, mode=mode, cval=1.5, axes=axes)
        expected = oracle.separable_correlate(x, kernels, mode, 1.5, axes=axes)
        norm = np.prod([np.abs(k).sum() for k in kernels])
        slack = (1e-5 if np.dtype(output).char in "fF" else 1e-13) * norm * 90
        oracle.assert_close(got, expected, slack)


def test_the_rules() -> None:
    assert are_in_turn(65)
    assert not are_in_turn(64)
    for samples in (shapes.LEAST_CUT // 9 + 1, 4_000_000):
        count, length = cut_rows(samples, 1, 9, 1)
        assert samples - 2 * length < count * length <= samples
    assert cut_rows(shapes.LEAST_CUT // 9, 1, 9, 1) == (0, 0)
    assert cut_rows(100_000, 1, 5001, 1) == (0, 0)
