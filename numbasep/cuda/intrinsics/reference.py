"""Reference implementations in NumPy of the CUDA kernels' intrinsics, for Numba's CUDA simulator.

The simulator runs a Python thread per lane, and each intrinsic costs microseconds, so these work on slices instead of
elements.  Pointers are one-dimensional arrays here, and an index out of bounds is an error.
"""

import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

LANES = 32


def options(variant):
    """Return no options: the simulator has no launch bounds."""
    return {}


def scalar_type(code):
    """Return the NumPy dtype: the simulator needs no Numba types."""
    return np.dtype(code)


@dataclass(frozen=True)
class Pointer:
    """A pointer into an array."""

    array: Any
    """The whole array."""
    index: int
    """Index of the element that is pointed to."""

    def part(self, first: int, stop: int) -> Any:
        """Return a view of the elements from `first` to `stop`, relative to the pointer."""
        assert self.index + first >= 0 and self.index + stop <= self.array.size  # noqa: PT018 - one rule
        return self.array[self.index + first : self.index + stop]


def moved(x, count):
    """See `device.moved`."""
    at = x if isinstance(x, Pointer) else Pointer(x, 0)
    return Pointer(at.array, int(at.index + count))


def aligned(memory, offset):
    """Return the shared array after `offset`: NumPy needs no alignment."""
    return memory[offset:]


def commit():
    """Do nothing: copies are complete when they return."""


def warp_barrier():
    """Wait at a barrier of the block, which is one warp in the simulator."""
    threading.current_thread().syncthreads()


def _decoded(raw, storage):
    """View raw memory as elements of a storage type."""
    if storage.code == "f2":
        return raw.view(np.float16)
    return raw.astype(bool) if storage.code == "b1" else raw


def to_sums(raw, storage, compute):
    """Convert raw memory to the type of the sums."""
    return _decoded(raw, storage).astype(compute)


def from_sums(values, storage):
    """Convert sums to raw memory of a storage type."""
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
    """See `device.source_place`."""
    if 0 <= position < size:
        return position
    return table[position - min(first, 0) - (size if position > 0 else 0)]


def ring_intrinsics(storage, ring, compute, depth, pitch):
    """See `device.ring_intrinsics`."""
    kept = ring.raw

    def converted(raw):
        return raw if storage == ring else from_sums(to_sums(raw, storage, compute), ring)

    def copy_row(memory, at, x, lane):
        chunk = 16 // storage.itemsize
        assert at % chunk == 0 and x.index % chunk == 0  # noqa: PT018 - one rule
        for first in range(0, pitch - lane * chunk, LANES * chunk):
            ahead = at + lane * chunk + first
            memory.view(kept)[ahead : ahead + chunk] = x.part(first, first + chunk)

    def copy_words(memory, at, x, begin, end, every, lane):
        word = max(4 // storage.itemsize, 1)
        by = x.index % word
        begin, end = (0, pitch) if every else (begin, end)
        assert begin % word == 0 and end % word == 0  # noqa: PT018 - one rule
        for first in range(begin + lane * word, end, LANES * word):
            memory.view(kept)[at + first : at + first + word] = x.part(first - by, first - by + word)
        return by

    def copy_one(memory, at, x, index):
        memory.view(kept)[at] = converted(x[index : index + 1])[0]

    def put(memory, at, value):
        memory.view(kept)[at] = from_sums(np.array([value], compute), ring)[0]

    def wait():
        pass

    return SimpleNamespace(copy_row=copy_row, copy_words=copy_words, copy_one=copy_one, put=put, wait=wait)


def advance_intrinsic(g, *, displaced=False):
    """See `arithmetic.advance_intrinsic`."""
    bits = np.arange(g.taps)

    def chosen(masks, term):
        return (masks[term] >> bits) & 1 if g.masked else np.ones(g.taps, int)

    def advance(memory, at, by, pending, line_taps, column_taps, line_masks, column_masks):
        count, at = g.width + g.reach, at + (by if displaced else 0)
        samples = to_sums(memory.view(g.ring.raw)[at + g.lead : at + g.lead + count], g.ring, g.compute)
        unfinished = pending.reshape(-1, g.width)
        moved = np.zeros((g.taps + 1, g.width), g.compute)  # row k: partial sums over the taps before tap k
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


def result_intrinsics(result, compute, width):
    """See `results.result_intrinsics`."""

    def divided(sums, divisor):
        with np.errstate(all="ignore"):
            return tuple(np.array(sums, compute) / divisor)

    def finite(sums, count):
        return bool(np.isfinite(sums[: max(count, 0)]).all())

    def store(y, index, sums):
        place = moved(y, index)
        assert place.index % min(width, 16 // result.itemsize) == 0
        place.part(0, width)[:] = from_sums(np.array(sums, compute), result)

    def staged(memory, start, first, stop):
        return memory[start:].view(result.raw)[first:stop]

    def stage(memory, start, at, sums):
        staged(memory, start, at, at + width)[:] = from_sums(np.array(sums, compute), result)

    def flush(y, memory, start, count, every, lane):
        first, stop = lane * width, min((lane + 1) * width, count)
        if first < stop:
            y.part(first, stop)[:] = staged(memory, start, first, stop)

    def write(y, index, value):
        y[index] = from_sums(np.array([value], compute), result)[0]

    return SimpleNamespace(divided=divided, finite=finite, store=store, stage=stage, flush=flush, write=write)


def math_intrinsics(compute):
    """See `device.math_intrinsics`."""

    def root(value):
        with np.errstate(invalid="ignore"):
            return np.sqrt(value)

    return np.trunc, root


def read_intrinsic(storage, compute, *, constant=True):
    """See `device.read_intrinsic`."""

    def read(x, index):
        return to_sums(x[index : index + 1], storage, compute)[0]

    return read


def accumulate_intrinsic(storage, compute, length, rows, columns, *, outside):
    """See `arithmetic.accumulate_intrinsic`."""

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


def line_intrinsic(compute, length, rows, width, pitch):
    """See `arithmetic.line_intrinsic`."""

    def accumulate(sums, memory, at, weights, w):
        assert length == 1 or at % width == 0
        block, samples = sums.reshape(rows, width), memory.view(compute)
        with np.errstate(all="ignore"):
            for r in range(rows):
                for k in range(length):
                    start = at + r * pitch + k
                    block[r] += weights[w + k] * samples[start : start + width]

    return accumulate
