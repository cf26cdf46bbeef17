"""Short rows: an axis of few samples as one long vector, against the oracle, in every way its rows can lie."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import numbasep as nsp
from numbasep.cpu import bind, short_rows
from numbasep.cpu.kernels import short_rows as kernels
from numbasep.lowering.shapes import LEAST_NUMBERS, are_short
from tests.support import oracle

MODES = ("reflect", "mirror", "nearest", "wrap", "constant")
rng = np.random.default_rng(5)


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each pass along one axis, whether it was prepared as short rows."""
    seen: list[bool] = []

    def noted(own: Any, short: bool) -> Any:
        def note(*arguments: Any, **keywords: Any) -> Any:
            seen.append(short)
            return own(*arguments, **keywords)

        return note

    monkeypatch.setattr(short_rows, "prepare", noted(short_rows.prepare, True))
    monkeypatch.setattr(bind, "prepare_pass", noted(bind.prepare_pass, False))
    return seen


def samples(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    x = rng.standard_normal(shape) * 50
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return (np.abs(x) if np.dtype(dtype).kind in "bu" else x).astype(dtype)


def rows_for(size: int, inner: int) -> int:
    """Rows enough for the path, of which the last is not the end of a vector."""
    return LEAST_NUMBERS // (size * inner) + 3


def judge(x: np.ndarray, taps: Any, **keywords: Any) -> None:
    """A filter along axis 1 is the oracle's answer within the bound of its plan."""
    __tracebackhide__ = True
    got = nsp.correlate1d(x, taps, 1, **keywords)
    taps = np.asarray(taps)
    expected = oracle.correlate(x, taps, axes=(1,), every_tap=True, **keywords)
    slack = 2e-6 if x.dtype.char in "efFbB" else 1e-14
    scale = np.abs(taps).sum() * max(oracle.largest(x, keywords.get("cval", 0.0)), 1e-30)
    oracle.assert_close(got, expected, slack * len(taps) * scale, "truncate")


SIZES = (1, 2, 3, 4, 5, 7, 8, 12, 16, 23, 32, 40, 100)


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES)
def test_sizes_windows_and_origins(mode: str, size: int, dtype: str, prepared: list[bool]) -> None:
    """Any axis under any window: shorter than it, longer, and once round the axis and more."""
    for taps, inner in zip((1, 2, 3, 4, 9, 25), (3, 1, 2, 5, 1, 15), strict=True):
        x, weights = samples(dtype, (rows_for(size, inner), size, inner)), rng.standard_normal(taps)
        for origin in {0, -(taps // 2), (taps - 1) // 2}:
            judge(x, weights, mode=mode, cval=1.5, origin=origin)
    assert any(prepared)


STORED = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32",
          "float64", "complex64", "complex128", ">f4", ">i2", ">c16")  # fmt: skip


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("mode", MODES)
def test_types(mode: str, dtype: str, prepared: list[bool]) -> None:
    """Integers exactly, wrapped and cut off as they are elsewhere; complex numbers as two rows in one."""
    x = samples(dtype, (rows_for(6, 2), 6, 2))
    judge(x, [1, -2, 0, 3, 1], mode=mode, cval=2.0)
    assert prepared == [True]
    for cast, output in itertools.product(("truncate", "saturate"), ("uint8", "int16", "float64")):
        if x.dtype.kind == "c" or x.dtype.itemsize > 2:
            continue
        got = nsp.convolve(x, [1, -2, 0, 3, 1], output, mode, 2.0, axes=(1,), cast=cast)
        wide = oracle.convolve(x, np.array([1, -2, 0, 3, 1]), mode, 2.0, axes=(1,))
        oracle.assert_close(got, wide, 0.0 if x.dtype.kind in "bui" else 1e-2, cast)
    assert all(prepared)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_leaks_from_one_row_to_the_next(mode: str, dtype: str, prepared: list[bool]) -> None:
    """NaN and infinities reach what their row's windows hold, the zero weights among them, and nothing else."""
    for size, inner, taps in itertools.product(
        (1, 3, 9), (1, 4), ([1.0, 2, 1], [1.0, -2, 1], [0.0, 1, 0, 0, -1])
    ):
        x = samples(dtype, (rows_for(size, inner), size, inner))
        for value in (np.nan, np.inf, -np.inf):
            x.flat[rng.integers(0, x.size, x.size // 40)] = value
        x[-1, -1, -1], x[0, 0, 0] = np.inf, np.nan
        judge(x, taps, mode=mode, cval=1.0)
    judge(samples(dtype, (900, 3, 1)), [0.0, 1, 2, 0], mode=mode, cval=np.inf)
    judge(samples(dtype, (900, 3, 1)), [0.0, 1, 2, 0], mode=mode, cval=np.nan)
    assert all(prepared)


def test_rows_that_lie_apart(prepared: list[bool]) -> None:
    """Runs begin anywhere: every second plane, mirrored ones, another order of the outer axes in the result."""
    base = samples("float32", (6, 900, 5, 2))
    expected = [oracle.correlate(x, np.arange(1.0, 6), "mirror", axes=(2,)) for x in (base[::2], base[::-1])]
    for x, want in zip((base[::2], base[::-1]), expected, strict=True):
        oracle.assert_close(nsp.correlate1d(x, np.arange(1.0, 6), 2, mode="mirror"), want, 1e-3)
        out = np.zeros((x.shape[0] * 3, *x.shape[1:]), "f4")[1::3]
        nsp.correlate1d(x, np.arange(1.0, 6), 2, out, "mirror")
        oracle.assert_close(out, want, 1e-3)
    assert prepared == [True] * 4
    apart = samples("float32", (900, 5, 4))[:, :, ::2]  # columns with gaps are copied first
    want = oracle.correlate(apart, np.arange(1.0, 4), axes=(1,))
    oracle.assert_close(nsp.correlate1d(apart, np.arange(1.0, 4), 1), want, 1e-3)
    assert prepared[4:] == [True]


KERNELS = {
    "one term": np.multiply.outer(np.outer([1, 2, 3, 1, 1.0], [1, -1, 2, 0.5]), [1, 3, 1.0]),
    "two terms": np.multiply.outer(np.outer([1, 2, 3, 1, 1.0], [1, 0, 2, 0.5]), [1, 3, 1.0])
    + np.multiply.outer(np.outer([1, 0, -3, 2, 1.0], [1, 1, 1, 0.5]), [2, 1, -1.0]),
    "terms that share": np.multiply.outer(np.eye(5)[:, :4] + rng.random((5, 1)), [1, 3, 1.0]),
}


@pytest.mark.thinned
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "complex64"])
@pytest.mark.parametrize("shape", [(20, 30, 5), (4, 90, 8), (150, 3, 4), (3, 3, 300)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", list(KERNELS))
@pytest.mark.parametrize("mode", MODES)
def test_short_last_axes_behind_others(
    mode: str, name: str, order: Any, shape: tuple[int, ...], dtype: str
) -> None:
    """One axis after the other, for sums of several terms, too; the border is that of all at once."""
    x, weights = np.asarray(samples(dtype, shape), order=order), KERNELS[name]
    output = "float64" if dtype == "uint8" else dtype
    got = nsp.correlate(x, weights, output, mode, 1.5, method="separable")
    expected = oracle.correlate(x, weights, mode, 1.5)
    slack = (
        (1e-5 if np.dtype(output).char in "fF" else 1e-13) * np.abs(weights).sum() * oracle.largest(x, 1.5)
    )
    oracle.assert_close(got, expected, slack)


def test_every_thread_count_gives_the_same_bits() -> None:
    x = samples("float32", (1 << 18, 3))
    one, two = (nsp.gaussian_filter(x, 1.0, workers=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.jitoff
def test_plain_python_reads_and_writes_inside(monkeypatch: pytest.MonkeyPatch, prepared: list[bool]) -> None:
    """The same kernel without a compiler, where each access is a slice that must be inside."""
    x = samples("float32", (LEAST_NUMBERS // 15 + 1, 5, 3))
    x[3, 2, 1] = np.nan
    for mode in MODES:
        judge(x, [1.0, 2, -1, 3], mode=mode, cval=1.0)
    assert all(prepared)


def test_blocks_are_those_of_the_rule() -> None:
    """The bytes that the rule allows for a block of vectors are the most that one has."""
    from numbasep.cpu.intrinsics.vectors import VECTOR_BYTES
    from numbasep.lowering.shapes import BLOCK_BYTES

    assert VECTOR_BYTES * kernels.VECTORS <= BLOCK_BYTES
    assert not are_short(8, 1, 9, 4, LEAST_NUMBERS - 1)


@pytest.mark.parametrize("shape", [(40_000, 33), (50_000, 2, 16), (3, 15_000, 50)])
@pytest.mark.parametrize("mode", ["reflect", "wrap", "constant"])
def test_long_axes_before_a_short_one_are_cut_into_slabs(shape: tuple[int, ...], mode: str) -> None:
    """The slabs of the short axis cut the long one, too, which alone would be cut into rows."""
    x = rng.random(shape, np.float32)
    for axes in (None, (0, len(shape) - 1), (0,)):
        got = nsp.gaussian_filter(x, 1.5, axes=axes, mode=mode)
        np.testing.assert_allclose(got, ndimage.gaussian_filter(x, 1.5, axes=axes, mode=mode), atol=1e-6)
