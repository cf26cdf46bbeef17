"""Correlation by overlap-save, with Fourier transforms of tiles that overlap by the kernel and fit the cache.

Overlap-save (A. V. Oppenheim, R. W. Schafer, "Discrete-Time Signal Processing", section 8.7): the circular
correlation of ``L`` samples with ``taps`` weights equals the linear one at its first ``L - taps + 1``
positions. The transforms are those of `scipy.fft`; the tiles come from `numbasep.planning.overlap`.  Small tiles are
transformed in groups, each by one thread; threads share the work on large tiles, axis by axis (`large_transforms`).
Real data along the last axis only take the compiled transforms of `long_lines` instead.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ...arguments.casting import store
from ...arguments.problem import Problem
from ...planning.machine import REFERENCE
from ...planning.overlap import Tiling, tile_seconds, tiling
from ...planning.workspace import transform_bytes
from .. import threads
from . import extended_input, large_transforms, long_lines
from .spectra import Shape, reduced, spectra, transform
from .thread_pool import ThreadTeam

Array = NDArray[Any]


def correlate(
    x: Array, weights: Array, problem: Problem, out: Array, workers: int = 1, *, integers: bool = False
) -> None:
    """Filter `x` into `out`, which must not overlap it.

    Parameters
    ----------
    x : ndarray
        Finite input of any layout and byte order, of the problem's shape.
    weights : ndarray
        Dense kernel in correlation orientation, with an axis for each window of the problem; its transform is cached
        as long as the array exists.
    problem : Problem
        The problem, with at least one window and no empty axis.
    out : ndarray
        Output of the problem's shape, of any layout.
    workers : int
        Maximum number of threads.
    integers : bool
        Whether the exact results are integers, to which results are then rounded.
    """
    if long_lines.correlate(x, weights, problem, out, workers):
        if integers:
            np.rint(out, out=out)
        return
    order = tuple(sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))) if x.ndim > 1 else (0,)
    work, count = _work(problem, order, workers)
    tiles = work.tiling
    _check_memory(problem, tiles, count)
    found = spectra.get(
        weights,
        (problem.windows, work.kernel),
        lambda: transform(reduced(weights, problem.windows, tiles.windows), work.kernel),
    )
    factors = work.factors(found)
    source, target = work.view(x), work.view(out)
    with ThreadTeam(count) as team:
        if not tiles.staged:
            team.share(
                lambda tile: _filter_group(work, factors, source, target, tile, integers), work.tiles()
            )
            return
        for tile in work.tiles():
            starts, stops, _ = work.extent(target.shape, tile)
            region = work.alone(work.part(target, starts, stops))
            work.staged(source, starts, stops).filter(factors, region, team, integers)


def _threads(problem: Problem, tiles: Tiling, workers: int) -> int:
    """Return the number of threads that pays off; a group of tiles is transformed by a single thread.

    If threads shared a group, its transforms would be combined into vectors differently, which some versions of
    scipy.fft round differently.
    """
    count = workers if tiles.staged else min(workers, tiles.tasks)
    if count < 2:
        return 1
    double = problem.real_dtype.itemsize == 8
    together = -(-tiles.tiles // tiles.tasks)
    work, share = tile_seconds(REFERENCE, tiles.lengths, tiles.tiles, together, count, double=double)
    return count if work * (1 - share) > REFERENCE.fft_thread_seconds else 1


def _check_memory(problem: Problem, tiles: Tiling, workers: int) -> None:
    """Raise MemoryError before anything is written if memory is insufficient."""
    threads.check_memory(transform_bytes(problem, tiles, workers), workers - 1)


class _Work:
    """Geometry shared by all tiles of a call: axes of more than one sample, in the memory order of the arrays."""

    def __init__(self, problem: Problem, tiles: Tiling, order: tuple[int, ...]) -> None:
        at = {window.axis: i for i, window in enumerate(tiles.windows)}
        kept = [axis for axis in order if axis in at or problem.out_shape[axis] != 1]
        self.problem, self.tiling, self._order = problem, tiles, order
        self._index = tuple(slice(None) if axis in kept else 0 for axis in order)
        transformed = [at[axis] for axis in kept if axis in at]
        self.windows = tuple(tiles.windows[at[axis]] if axis in at else None for axis in kept)
        self.axes = tuple(position for position, axis in enumerate(kept) if axis in at)
        self.lengths = tuple(tiles.lengths[i] for i in transformed)
        self.whole = tuple(axis in at and tiles.whole[at[axis]] for axis in kept)
        self.steps = tuple(tiles.steps[axis] for axis in kept)
        self.counts = tuple(tiles.counts[axis] for axis in kept)
        self.along = kept.index(tiles.along)
        self.strides = tuple(1 if window is None else window.step for window in self.windows)
        self.compute = np.dtype(
            problem.compute_dtype if problem.input_dtype.kind == "c" else problem.real_dtype
        )
        shifts = tuple(tiles.windows[i].first if tiles.whole[i] else 0 for i in transformed)
        self.kernel = Shape(tuple(transformed), self.lengths, shifts, self.compute.char)

    def view(self, array: Array) -> Array:
        """Return a view of an array with axes in the order of `windows`."""
        return array.transpose(self._order)[self._index]

    def factors(self, found: Sequence[Array]) -> tuple[Array, ...]:
        """Return spectra with an axis for each axis of a tile."""
        shape = [1] * len(self.windows)
        for position, n in zip(self.axes, found[0].shape, strict=True):
            shape[position] = n
        return tuple(spectrum.reshape(shape) for spectrum in found)

    def tiles(self) -> Iterator[tuple[int, ...]]:
        """Yield the first tile of each group, as indices of tiles."""
        group = [self.tiling.group if axis == self.along else 1 for axis in range(len(self.counts))]
        ranges = (range(0, count, step) for count, step in zip(self.counts, group, strict=True))
        return itertools.product(*ranges)

    def extent(
        self, shape: tuple[int, ...], tile: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """Return the first and the end output position of a group of tiles along each axis, and its number of tiles."""
        starts = tuple(index * step for index, step in zip(tile, self.steps, strict=True))
        stops = [min(a + step, n) for a, step, n in zip(starts, self.steps, shape, strict=True)]
        at, step = self.along, self.steps[self.along]
        stops[at] = min(starts[at] + self.tiling.group * step, shape[at])
        return starts, tuple(stops), -(-(stops[at] - starts[at]) // step)

    def part(self, target: Array, starts: Sequence[int], stops: Sequence[int]) -> Array:
        """Return the outputs of a tile."""
        return target[tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))]

    def alone(self, region: Array, starts: Sequence[int] | None = None) -> Array:
        """Drop the axes that are not transformed by taking position `starts` along them."""
        starts = starts or (0,) * len(self.windows)
        pairs = zip(self.windows, starts, strict=True)
        return region[tuple(start if window is None else slice(None) for window, start in pairs)]

    def reaches(self, starts: Sequence[int], stops: Sequence[int]) -> list[extended_input.Reach]:
        """Return the samples under a tile along each axis."""
        lengths = iter(self.lengths)
        found = []
        for window, everything, start, stop in zip(self.windows, self.whole, starts, stops, strict=True):
            if window is None:
                found.append(extended_input.plain(start, stop))
                continue
            length = next(lengths)
            found.append(
                extended_input.whole(window, length)
                if everything
                else extended_input.reach(window, start, stop)
            )
        return found

    def kept(self, starts: Sequence[int], stops: Sequence[int]) -> tuple[slice, ...]:
        """Return the slices of the transforms' results that are outputs."""
        return tuple(
            slice(0, (b - a) * step, step) for a, b, step in zip(starts, stops, self.strides, strict=True)
        )

    def staged(self, source: Array, starts: tuple[int, ...], stops: tuple[int, ...]) -> large_transforms.Tile:
        """Return a tile without the axes that are not transformed, along which it has a single sample."""
        reaches, kept = self.reaches(starts, stops), self.kept(starts, stops)
        return large_transforms.Tile(
            self.alone(source, starts),
            tuple(reaches[axis] for axis in self.axes),
            tuple(kept[axis] for axis in self.axes),
            self.lengths,
            self.compute,
            self.problem,
        )


@functools.lru_cache(maxsize=64)
def _work(problem: Problem, order: tuple[int, ...], workers: int) -> tuple[_Work, int]:
    """Return the geometry of a call's tiles and the number of threads."""
    tiles = tiling(problem)
    return _Work(problem, tiles, order), _threads(problem, tiles, workers)


def _filter_group(
    work: _Work,
    factors: tuple[Array, ...],
    source: Array,
    target: Array,
    tile: tuple[int, ...],
    integers: bool,
) -> None:
    """Filter a group of adjacent tiles, stacked along a new first axis: transform, multiply, transform back, store."""
    starts, stops, count = work.extent(target.shape, tile)
    reaches = work.reaches(starts, stops)
    lengths = dict(zip(work.axes, work.lengths, strict=True))
    shape = [
        lengths.get(axis, stop - start) for axis, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]
    at, apart = work.along, work.steps[work.along] * work.strides[work.along]
    shape[at] += (count - 1) * apart
    samples = extended_input.gather(source, reaches, shape, work.compute, work.problem.cval)
    shape[at] -= (count - 1) * apart
    block = samples[None]
    if count > 1:
        strides = (apart * samples.strides[at], *samples.strides)
        block = np.lib.stride_tricks.as_strided(samples, (count, *shape), strides)
    region = work.part(target, starts, stops)
    each = list(stops)
    each[at] = min(starts[at] + work.steps[at], stops[at])
    kept = (slice(None), *work.kept(starts, each))
    axes = tuple(axis + 1 for axis in work.axes)
    if work.compute.kind == "c":
        spectrum = scipy.fft.fftn(block, axes=axes)
        spectrum *= factors[0]
        _store(work, invert(spectrum, axes, kept), region, at, integers)
        return
    *others, last = axes
    spectrum = scipy.fft.rfftn(block, axes=axes) if others else scipy.fft.rfft(block, axis=last)
    parts = [region]
    if target.dtype.kind == "c":
        parts = [region.real, region.imag]
        region.imag = 0
    for part, factor in zip(parts, factors, strict=False):
        product = np.multiply(spectrum, factor, out=spectrum if factor is factors[-1] else None)
        product = invert(product, others, kept)
        result = scipy.fft.irfft(product, work.lengths[-1], last, overwrite_x=True)
        _store(work, keep(result, last, kept), part, at, integers)


def _store(work: _Work, values: Array, region: Array, at: int, integers: bool) -> None:
    """Store the outputs of the tiles of a group, stacked along the first axis, in turn along axis `at` of `region`."""
    if integers:
        np.rint(values, out=values)
    cast = work.problem.cast
    if len(values) == 1:
        store(values[0], region, cast)
        return
    step = work.steps[at]
    full, rest = divmod(region.shape[at], step)
    if at:
        values = np.moveaxis(values, 0, at)
    before = (slice(None),) * at
    shape = (*region.shape[:at], full, step, *region.shape[at + 1 :])
    strides = (*region.strides[:at], step * region.strides[at], *region.strides[at:])
    store(values[(*before, slice(full))], np.lib.stride_tricks.as_strided(region, shape, strides), cast)
    if rest:
        store(values[(*before, full, slice(rest))], region[(*before, slice(full * step, None))], cast)


def invert(spectrum: Array, axes: Sequence[int], kept: tuple[slice, ...]) -> Array:
    """Transform back along `axes`; after each, drop values that are not outputs to save work for the rest."""
    for axis in axes:
        spectrum = scipy.fft.ifft(spectrum, axis=axis, overwrite_x=True)
        spectrum = keep(spectrum, axis, kept)
    return spectrum


def keep(values: Array, axis: int, kept: tuple[slice, ...]) -> Array:
    """Return the outputs along an axis."""
    return values[(slice(None),) * axis + (kept[axis],)]
