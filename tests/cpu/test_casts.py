"""Casts of numbers that integers cannot hold: the same on every processor."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

import numbasep as nsp
from numbasep.cpu.intrinsics import memory, narrowing, vectors
from numbasep.cpu.intrinsics.memory import Storage, round_cast
from numbasep.cpu.intrinsics.register_blocks import BlockIntrinsics
from numbasep.cpu.kernels.epilogue import store_rows
from numbasep.lowering.target import LINE_VECTORS

NUMBERS = np.array(
    [0.0, -0.5, 1.9, -1.9, 255.0, 256.0, -1.0, 2.0**31, 2.0**31 - 128, -(2.0**31), 3e9, -3e9, 2.0**33 + 2048, 1e20,
     -1e20, np.inf, -np.inf, np.nan, 65535.0, 70000.0, 2.0**62, -(2.0**62), 0.5, 1.5, 2.5, 254.5, 255.5, 126.5, 127.5,
     -128.5, -129.5, 32767.5, -32768.5, 65534.5, 65535.5]
)  # fmt: skip


def stored(dtype, compute, *, blocks=False, saturate=False):
    storage = Storage(np.dtype(dtype).str[1:], saturate=saturate)
    numbers = np.resize(NUMBERS, 128).astype(compute)
    out = np.zeros(128, dtype)
    lanes, read_block = vectors.lanes(np.dtype(compute)), BlockIntrinsics(1, LINE_VECTORS).read
    width = LINE_VECTORS * lanes

    @njit
    def store_all(x, y):
        if blocks:
            for j in range(0, x.size, width):
                store_rows(y, j, width, 1, storage, read_block(x, j, width))
        else:
            for j in range(0, x.size, lanes):
                memory.store_as(y, j, storage, vectors.load(x, j))

    store_all(numbers, out.view(np.uint8))
    return numbers, out


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("compute", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "uint32", "int64"])
@pytest.mark.parametrize("blocks", [False, True])
def test_what_an_integer_cannot_hold(monkeypatch, dtype, compute, defined, blocks):
    """By the instruction of x86-64, and by comparisons as on processors without it."""
    if not defined:
        monkeypatch.setattr(memory, "CONVERTS_TO_LEAST", False)
        monkeypatch.setattr(narrowing, "PACKS", False)
    numbers, out = stored(dtype, compute, blocks=blocks)
    wide = np.iinfo(np.int32 if np.dtype(dtype).itemsize < 4 or dtype == "int32" else np.int64)
    with np.errstate(invalid="ignore"):
        inside = (numbers >= float(wide.min)) & (numbers < -float(wide.min))
        whole = [int(v) if ok else int(wide.min) for v, ok in zip(numbers, inside, strict=True)]
    bits = 8 * np.dtype(dtype).itemsize
    expected = np.array([v % 2**bits for v in whole], np.uint64).astype(f"uint{bits}").view(dtype)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(round_cast(numbers, np.dtype(dtype), saturate=False), expected)


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_numbers_are_rounded_to_even_and_clipped(dtype, blocks):
    numbers, out = stored(dtype, "float32", blocks=blocks, saturate=True)
    info = np.iinfo(dtype)
    expected = [0 if np.isnan(v) else min(max(np.rint(v), info.min), info.max) for v in numbers]
    np.testing.assert_array_equal(out, np.array(expected).astype(dtype))


def test_a_swapped_output_does_not_decide_how_the_next_is_written() -> None:
    """Plans keep a fast way to run small passes, which is for one byte order of the output."""
    x, kernel = np.random.default_rng(0).random((60, 60), np.float32), np.random.default_rng(1).random((5, 5))
    results = [nsp.convolve(x, kernel, np.empty(x.shape, dtype)) for dtype in (">f4", "<f4", ">f4")]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
