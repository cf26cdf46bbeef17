"""Reference implementations in NumPy of the CUDA kernels' intrinsics, for Numba's CUDA simulator.

The simulator runs one Python thread a lane, so a word costs microseconds: they work on slices, never element by
element.  Pointers are one-dimensional arrays here, and an index beyond one is an error.
"""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np

LANES = 32


def scalar_type(code):
    """Nothing is typed in the simulator."""
    return np.dtype(code)


def aligned(memory):
    """The shared array itself: every load is possible everywhere."""
    return memory


def commit():
    """Copies have arrived when they return."""


def warp_barrier():
    """A barrier of the block, which is one warp in the simulator."""
    threading.current_thread().syncthreads()


def _decoded(raw, storage):
    """Numbers as they lie in memory, as NumPy numbers."""
    if storage.code == "f2":
        return raw.view(np.float16)
    return raw.astype(bool) if storage.code == "b1" else raw


def to_sums(raw, storage, compute):
    """Numbers as they lie in memory, in the type of the sums."""
    return _decoded(raw, storage).astype(compute)


def from_sums(values, storage):
    """Sums as they are stored."""
    with np.errstate(all="ignore"):
        if storage.code == "f2":
            return values.astype(np.float16).view(np.uint16)
        if not storage.is_integer:
            return values.astype(storage.code)
        kept = storage.raw
        if storage.saturate:
            limits = np.iinfo(kept)
            exact = [0 if v != v else v for v in np.rint(values).tolist()]
            whole = np.array([int(min(max(v, limits.min), limits.max)) for v in exact], kept)
        elif storage.code == "u8":
            size = [int(abs(v)) if abs(v) < 2.0**64 else 2**64 - 1 for v in values.tolist()]
            whole = np.array(
                [(-s if v <= -1 else s) % 2**64 for s, v in zip(size, values.tolist(), strict=True)], kept
            )
        else:
            bits = 32 if storage.itemsize < 4 or storage.code == "i4" else 64
            least = -(2 ** (bits - 1))
            wide = [int(v) if abs(v) < -least else least for v in values.tolist()]
            whole = np.array(wide, f"i{bits // 8}").astype(kept)
        return (whole != 0).astype(kept) if storage.code == "b1" else whole


def source_place(table, position, first, size):
    """See `cuda_ptx.source_place`."""
    if 0 <= position < size:
        return position
    return table[position - min(first, 0) - (size if position > 0 else 0)]


def ring_words(storage, ring, compute, depth, pitch):
    """See `cuda_ptx.ring_words`."""
    kept = ring.raw

    def converted(raw):
        return raw if storage == ring else from_sums(to_sums(raw, storage, compute), ring)

    def copy_row(memory, at, x, index, lane):
        chunk = 16 // storage.itemsize
        for first in range(lane * chunk, pitch, LANES * chunk):
            assert (at + first) % chunk == 0 and (index + first) % chunk == 0  # noqa: PT018 - one rule
            memory.view(kept)[at + first : at + first + chunk] = x[index + first : index + first + chunk]

    def copy_one(memory, at, x, index):
        memory.view(kept)[at] = converted(x[index : index + 1])[0]

    def put(memory, at, value):
        memory.view(kept)[at] = from_sums(np.array([value], compute), ring)[0]

    def wait():
        pass

    return SimpleNamespace(copy_row=copy_row, copy_one=copy_one, put=put, wait=wait)


def advance_word(g):
    """See `cuda_ptx.advance_word`."""
    bits = np.arange(g.taps)

    def chosen(masks, term):
        return (masks[term] >> bits) & 1 if g.masked else np.ones(g.taps, int)

    def advance(memory, at, pending, line_taps, column_taps, line_masks, column_masks):
        count = g.width + g.reach
        samples = to_sums(memory.view(g.ring.raw)[at + g.lead : at + g.lead + count], g.ring, g.compute)
        unfinished = pending.reshape(-1, g.width)
        moved = np.zeros((g.taps + 1, g.width), g.compute)  # row k: before tap k
        if g.down:
            moved[1:] = np.concatenate([np.zeros((1, g.width), g.compute), unfinished])
        with np.errstate(all="ignore"):
            for term in range(g.terms):
                sums = samples[: g.width]
                if g.along:
                    sums = np.zeros(g.width, g.compute)
                    taps = line_taps[term * g.taps : (term + 1) * g.taps]
                    for k in np.flatnonzero(chosen(line_masks, term)):
                        sums = sums + taps[k] * samples[k * g.step : k * g.step + g.width]
                if g.down:
                    taps = np.array(column_taps[term * g.taps : (term + 1) * g.taps], g.compute)
                    used = chosen(column_masks, term) != 0
                    moved[1:][used] += taps[used, None] * sums
        if not g.down:
            return tuple(sums)
        unfinished[:] = moved[1:-1]
        return tuple(moved[-1])

    return advance


def result_words(result, compute, width):
    """See `cuda_ptx.result_words`."""

    def divided(sums, divisor):
        with np.errstate(all="ignore"):
            return tuple(np.array(sums, compute) / divisor)

    def finite(sums):
        return bool(np.isfinite(sums).all())

    def store_some(y, index, sums, count):
        count = min(count, width)
        y[index : index + count] = from_sums(np.array(sums[:count], compute), result)

    def store(y, index, sums):
        assert index % width == 0
        store_some(y, index, sums, width)

    def write(y, index, value):
        y[index] = from_sums(np.array([value], compute), result)[0]

    return SimpleNamespace(divided=divided, finite=finite, store=store, store_some=store_some, write=write)


def math_words(compute):
    """See `cuda_ptx.math_words`."""

    def root(value):
        with np.errstate(invalid="ignore"):
            return np.sqrt(value)

    return np.trunc, root


def read_word(storage, compute):
    """See `cuda_ptx.read_word`."""

    def read(x, index):
        return to_sums(x[index : index + 1], storage, compute)[0]

    return read


def accumulate_word(storage, compute, length, rows, columns, *, outside):
    """See `cuda_ptx.accumulate_word`."""

    def accumulate(sums, x, places, offsets, t, weights, w, cval):
        block = sums.reshape(rows, columns)
        across = np.array(places)
        with np.errstate(all="ignore"):
            for j in range(length + rows - 1):
                index = offsets[t + j] + across
                beyond = (offsets[t + j] < 0) | (across < 0)
                values = to_sums(x[np.where(beyond, 0, index)], storage, compute)
                if outside:
                    values[beyond] = cval
                for i in range(max(0, j - length + 1), min(rows, j + 1)):
                    block[i] += weights[w + j - i] * values

    return accumulate


def line_word(compute, length, rows, width, pitch):
    """See `cuda_ptx.line_word`."""

    def accumulate(sums, memory, at, weights, w):
        assert length == 1 or at % width == 0
        block, samples = sums.reshape(rows, width), memory.view(compute)
        with np.errstate(all="ignore"):
            for r in range(rows):
                for k in range(length):
                    start = at + r * pitch + k
                    block[r] += weights[w + k] * samples[start : start + width]

    return accumulate
