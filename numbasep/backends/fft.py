"""Correlation by fast Fourier transforms: tiles that overlap by the kernel, each small enough for the cache.

Overlap-save (A. V. Oppenheim, R. W. Schafer, "Discrete-Time Signal Processing", section 8.7): the circular
correlation of ``L`` samples with ``taps`` weights equals the linear one at its first ``L - taps + 1``
positions. The transforms are those of `scipy.fft`; the tiles come from `numbasep.overlap`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from numbasep import forks
from numbasep.backends import threads
from numbasep.boundary import OUTSIDE, Boundary, index_map
from numbasep.casting import store
from numbasep.lowering.layout import restrict
from numbasep.overlap import BATCH_POINTS, Tiling, tiling
from numbasep.problem import Problem, Window
from numbasep.workspace import transform_bytes

Array = NDArray[Any]

SPECTRA_BYTES = 64 << 20  # kernel spectra that are kept


def correlate(
    x: Array, weights: Array, problem: Problem, out: Array, workers: int = 1, *, integers: bool = False
) -> None:
    """Filter `x` into `out`, which must not overlap it.

    Parameters
    ----------
    x : ndarray
        Finite input of any layout and byte order, of the problem's shape.
    weights : ndarray
        Dense kernel in correlation orientation, one axis for each window of the problem.
    problem : Problem
        At least one window and no empty axis.
    out : ndarray
        Output of the problem's shape, of any layout.
    workers : int
        Threads.
    integers : bool
        The exact results are known to be integers: round to them before storing.
    """
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    tiles = tiling(problem)
    # A transform is the task of one thread: split between several it would be grouped into vectors differently, and
    # some versions of scipy.fft round these differently.
    count = min(workers, tiles.tiles)
    _check_memory(problem, count)
    work = _Work(problem, tiles, tuple(order), weights)
    source, target = x.transpose(order), out.transpose(order)
    origins = itertools.product(*(range(work.tiling.counts[axis]) for axis in order))
    _run_threads(count, lambda tile: _filter_tile(work, source, target, tile, integers), origins)


def _check_memory(problem: Problem, workers: int) -> None:
    """Raise MemoryError before anything is written, not in a tile in the middle."""
    tiles = tiling(problem)
    batch = max(BATCH_POINTS, tiles.points)
    nbytes = transform_bytes(problem, batch, tiles.points, workers)
    threads.check_memory(nbytes, workers - 1)


def _run_threads(workers: int, task: Any, items: Iterator[Any]) -> None:
    """Call `task` on every item from `workers` threads, the caller's among them; stop at the first error."""
    if workers == 1:
        for item in items:
            task(item)
        return
    lock, stopped = threading.Lock(), threading.Event()

    def draw() -> None:
        try:
            while not stopped.is_set():
                with lock:
                    item = next(items, None)
                if item is None:
                    return
                task(item)
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(workers - 1, thread_name_prefix="numbasep-fft") as pool:
        others: list[Future[None]] = []
        with contextlib.suppress(RuntimeError):  # no more threads are to be had: go on with those that are
            others.extend(pool.submit(draw) for _ in range(workers - 1))
        draw()
        for other in others:
            other.result()


class _Work:
    """What all tiles of a call share, its axes in the memory order of the input."""

    __slots__ = ("axes", "compute", "lengths", "order", "problem", "spectra", "strides", "tiling", "windows")

    def __init__(self, problem: Problem, tiles: Tiling, order: tuple[int, ...], weights: Array) -> None:
        self.problem, self.tiling, self.order = problem, tiles, order
        where = {window.axis: i for i, window in enumerate(problem.windows)}
        kept = [axis for axis in order if axis in where]
        self.windows = tuple(problem.windows[where[axis]] if axis in where else None for axis in order)
        self.strides = tuple(1 if window is None else window.step for window in self.windows)
        self.axes = tuple(position for position, axis in enumerate(order) if axis in where)
        self.lengths = tuple(tiles.lengths[where[axis]] for axis in kept)
        self.compute = np.dtype(
            problem.compute_dtype if problem.input_dtype.kind == "c" else problem.real_dtype
        )
        spectra = _spectra.get(weights.transpose([where[axis] for axis in kept]), self.lengths, self.compute)
        shape = [1] * len(order)
        for position, n in zip(self.axes, spectra[0].shape, strict=True):
            shape[position] = n
        self.spectra = tuple(spectrum.reshape(shape) for spectrum in spectra)


def _filter_tile(work: _Work, source: Array, target: Array, tile: tuple[int, ...], integers: bool) -> None:
    """Gather, transform, multiply, transform back, store."""
    starts, stops = _extent(work, target.shape, tile)
    block = _gather(work, source, starts, stops)
    region = target[tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))]
    kept = tuple(
        slice(0, (b - a) * step, step) for a, b, step in zip(starts, stops, work.strides, strict=True)
    )
    if work.compute.kind == "c":
        spectrum = scipy.fft.fftn(block, axes=work.axes)
        spectrum *= work.spectra[0]
        result = _invert(spectrum, work.axes, kept)
        store(_rounded(result, integers), region, work.problem.cast)
        return
    spectrum = scipy.fft.rfftn(block, axes=work.axes)
    *others, last = work.axes
    parts = [region]
    if target.dtype.kind == "c":
        parts = [region.real, region.imag]
        region.imag = 0
    for part, factor in zip(parts, work.spectra, strict=False):
        product = np.multiply(spectrum, factor, out=spectrum if factor is work.spectra[-1] else None)
        product = _invert(product, others, kept)
        result = scipy.fft.irfft(product, work.lengths[-1], last, overwrite_x=True)
        store(_rounded(_keep(result, last, kept), integers), part, work.problem.cast)


def _invert(spectrum: Array, axes: Sequence[int], kept: tuple[slice, ...]) -> Array:
    """Transform back along `axes`, dropping after each what is no output: the rest has less to do."""
    for axis in axes:
        spectrum = scipy.fft.ifft(spectrum, axis=axis, overwrite_x=True)
        spectrum = _keep(spectrum, axis, kept)
    return spectrum


def _keep(values: Array, axis: int, kept: tuple[slice, ...]) -> Array:
    return values[(slice(None),) * axis + (kept[axis],)]


def _rounded(values: Array, integers: bool) -> Array:
    return np.rint(values, out=values) if integers else values


def _extent(
    work: _Work, shape: tuple[int, ...], tile: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First and past-last output position of a tile along every axis."""
    steps = [work.tiling.steps[axis] for axis in work.order]
    starts = tuple(index * step for index, step in zip(tile, steps, strict=True))
    stops = tuple(min(a + step, n) for a, step, n in zip(starts, steps, shape, strict=True))
    return starts, stops


# ----------------------------------------------------------------------------------------- gathering


@dataclass(frozen=True, slots=True)
class _Reach:
    """Input positions under a tile along one axis, and where in the tile they go."""

    source: slice
    """Input positions that are read."""
    target: slice
    """Where they stand in the tile, if `picks` is None."""
    picks: Array | None = None
    """Otherwise: for each position of the tile, which of the positions read it shows."""


@functools.lru_cache(maxsize=1024)
def _reach(window: Window, start: int, stop: int) -> _Reach:
    """What the outputs [start, stop) see along a filtered axis."""
    part = restrict(window, start, stop)
    first, count = part.first, part.reach
    low, high = max(first, 0), min(first + count, window.size)
    if window.boundary is Boundary.CONSTANT or (low == first and high == first + count):
        low, high = min(low, window.size), max(high, low)
        return _Reach(slice(low, high), slice(low - first, high - first))
    positions = np.array(index_map(first, count, window.size, window.boundary))
    if positions.min() == OUTSIDE:
        raise AssertionError("only the constant boundary leads outside")
    low = int(positions.min())
    return _Reach(slice(low, int(positions.max()) + 1), slice(0, count), positions - low)


def _gather(work: _Work, source: Array, starts: tuple[int, ...], stops: tuple[int, ...]) -> Array:
    """The samples under a tile in the computing type, continued beyond the edges, zeros behind them.

    Where these are samples of the input just as they are, no copy is made.
    """
    reaches, shape = [], []
    lengths = iter(work.lengths)
    covered = []
    for window, start, stop in zip(work.windows, starts, stops, strict=True):
        if window is None:
            reaches.append(_Reach(slice(start, stop), slice(0, stop - start)))
            shape.append(stop - start)
            covered.append(slice(0, stop - start))
        else:
            reaches.append(_reach(window, start, stop))
            shape.append(next(lengths))
            covered.append(slice(0, restrict(window, start, stop).reach))
    seen = source[tuple(reach.source for reach in reaches)]
    for position, reach in enumerate(reaches):
        if reach.picks is not None:
            seen = seen.take(reach.picks, axis=position)
    inside = tuple(reach.target for reach in reaches)
    if seen.shape == tuple(shape) and seen.dtype == work.compute and seen.flags.aligned:
        return seen
    block = np.empty(shape, work.compute)
    if any(s.start or s.stop != n for s, n in zip(inside, shape, strict=True)):
        block[...] = 0
        if work.problem.cval and inside != tuple(covered):
            cval = work.problem.cval
            block[tuple(covered)] = cval if work.compute.kind == "c" else cval.real
    np.copyto(block[inside], seen, casting="unsafe")
    return block


# ---------------------------------------------------------------------------------- kernel spectra


class _Spectra:
    """Transforms of kernels, the most recently used first to stay."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, tuple[Array, ...]] = OrderedDict()
        self._bytes = 0
        self._lock = forks.lasting_lock()
        forks.in_children(self._clear)

    def get(self, weights: Array, lengths: tuple[int, ...], compute: np.dtype[Any]) -> tuple[Array, ...]:
        """Spectra by which transforms of `lengths` points are multiplied to correlate with `weights`.

        One for complex transforms (`compute` is complex) and for real weights; two, of the real and the
        imaginary weights, for complex weights on real data.
        """
        key = (weights.shape, weights.dtype.char, weights.tobytes(), lengths, compute.char)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        spectra = _transform(weights, lengths, compute)
        size = sum(spectrum.nbytes for spectrum in spectra)
        with self._lock:
            if size <= SPECTRA_BYTES and key not in self._kept:
                self._kept[key] = spectra
                self._bytes += size
            while self._bytes > SPECTRA_BYTES:
                _, old = self._kept.popitem(last=False)
                self._bytes -= sum(spectrum.nbytes for spectrum in old)
        return spectra

    def _clear(self) -> None:
        self._kept, self._bytes = OrderedDict(), 0

    @contextlib.contextmanager
    def emptied(self) -> Iterator[None]:
        """Start without spectra, for measurements and tests."""
        with self._lock:
            kept, size = self._kept, self._bytes
            self._kept, self._bytes = OrderedDict(), 0
        try:
            yield
        finally:
            with self._lock:
                self._kept, self._bytes = kept, size


_spectra = _Spectra()


def _transform(weights: Array, lengths: tuple[int, ...], compute: np.dtype[Any]) -> tuple[Array, ...]:
    """Conjugate transforms, taken in double precision so that they are right to a rounding."""
    if compute.kind == "c":
        wide = np.zeros(lengths, np.complex128)
        wide[tuple(map(slice, weights.shape))] = weights
        return (scipy.fft.ifftn(wide, norm="forward").astype(compute),)
    halves = (weights.real, weights.imag) if weights.dtype.kind == "c" else (weights,)
    single = compute == np.float32
    return tuple(
        np.conj(scipy.fft.rfftn(half.astype(np.float64), lengths)).astype(
            np.complex64 if single else np.complex128
        )
        for half in halves
    )
