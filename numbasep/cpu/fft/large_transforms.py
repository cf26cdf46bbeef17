"""Transforms too large for one thread, in which all threads share the work along each axis.

Each stage is cut into pieces that fit the cache.  The cuts depend on the tile alone, so that results do not depend on
the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ...arguments.casting import store
from ...arguments.problem import Problem
from ...planning.workspace import PIECE_BYTES, PIECE_POINTS
from .. import threads
from . import extended_input
from .thread_pool import ThreadTeam

Array = NDArray[Any]

COLUMNS = 8  # the columns of a piece are a multiple of this


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of which every axis is transformed; the first has the longest stride."""

    source: Array
    """The whole input array."""
    reaches: tuple[extended_input.Reach, ...]
    """Samples of `source` in the tile, by axis."""
    kept: tuple[slice, ...]
    """Results of the transforms that are outputs, by axis."""
    lengths: tuple[int, ...]
    """Length of the transform along each axis."""
    compute: np.dtype[Any]
    """Type of the samples that are transformed."""
    problem: Problem
    """The problem, for its boundary value and cast."""

    @property
    def _inner(self) -> tuple[int, ...]:
        """Shape of the spectrum of a row, along all axes but the first."""
        *others, last = self.lengths[1:]
        return (*others, last if self.compute.kind == "c" else last // 2 + 1)

    @property
    def _rows(self) -> int:
        """Rows per piece."""
        return max(PIECE_POINTS // math.prod(self.lengths[1:]), 1)

    @property
    def _outside(self) -> bool:
        """Whether the tile contains nonzero rows beyond a constant boundary."""
        first = self.reaches[0]
        return bool(self.problem.cval) and first.covered > first.target.stop - first.target.start

    def filter(self, factors: Sequence[Array], target: Array, team: ThreadTeam, integers: bool) -> None:
        """Filter the tile and store its outputs in `target`."""
        width = math.prod(self._inner)
        number = np.result_type(self.compute, np.complex64)
        rows = self.reaches[0].source.stop - self.reaches[0].source.start
        shape = (min(len(factors), 2), max(rows + self._outside, len(target)), width)
        with threads.borrow(math.prod(shape) * number.itemsize) as buffer:
            arrays = buffer[: math.prod(shape) * number.itemsize].view(number).reshape(shape)
            seen, summed = arrays[0], arrays[-1]  # the same memory if there is a single spectrum
            team.share(lambda start: self._forward(seen, start), range(0, rows, self._rows))
            if self._outside:
                self._boundary_row(seen[rows])
            parts = [target]
            if target.dtype.kind == "c" and self.compute.kind != "c":
                parts = [target.real, target.imag]
                target.imag = 0
            for part, factor in zip(parts, factors, strict=False):
                self._back(seen, summed, factor.reshape(self.lengths[0], width), part, team, rows, integers)

    def _back(
        self,
        seen: Array,
        summed: Array,
        factor: Array,
        part: Array,
        team: ThreadTeam,
        rows: int,
        integers: bool,
    ) -> None:
        columns = max(PIECE_BYTES // (self.lengths[0] * seen.itemsize) // COLUMNS, 1) * COLUMNS
        width = seen.shape[1]
        team.share(
            lambda start: self._multiply(
                seen, summed, factor, rows, slice(start, min(start + columns, width))
            ),
            range(0, width, columns),
        )
        team.share(
            lambda start: self._backward(summed, part, start, integers), range(0, len(part), self._rows)
        )

    def _forward(self, seen: Array, start: int) -> None:
        """Transform a piece of rows from `start` on along all axes except the first."""
        first = self.reaches[0].source
        stop = min(start + self._rows, first.stop - first.start)
        reaches = (extended_input.plain(first.start + start, first.start + stop), *self.reaches[1:])
        shape = (stop - start, *self.lengths[1:])
        block = extended_input.gather(self.source, reaches, shape, self.compute, self.problem.cval)
        seen[start:stop] = self._transform(block).reshape(stop - start, -1)

    def _boundary_row(self, row: Array) -> None:
        """Transform a row beyond a constant boundary."""
        block = np.zeros((1, *self.lengths[1:]), self.compute)
        cval = self.problem.cval
        covered = tuple(slice(0, reach.covered) for reach in self.reaches[1:])
        block[0][covered] = cval if self.compute.kind == "c" else cval.real
        row[...] = self._transform(block).reshape(-1)

    def _transform(self, block: Array) -> Array:
        axes = tuple(range(1, block.ndim))
        if self.compute.kind == "c":
            return np.asarray(scipy.fft.fftn(block, axes=axes))
        return np.asarray(scipy.fft.rfftn(block, axes=axes))

    def _multiply(self, seen: Array, summed: Array, factor: Array, rows: int, columns: slice) -> None:
        """Transform columns along the first axis, multiply by the spectrum of the kernel, and transform back."""
        first = self.reaches[0]
        block = np.zeros((self.lengths[0], columns.stop - columns.start), seen.dtype)
        if first.picks is not None:
            seen[:rows, columns].take(first.picks, axis=0, out=block[: first.covered])
        else:
            if self._outside:
                block[: first.covered] = seen[rows : rows + 1, columns]
            block[first.target] = seen[:rows, columns]
        block = scipy.fft.fft(block, axis=0, overwrite_x=True)
        block *= factor[:, columns]
        block = scipy.fft.ifft(block, axis=0, overwrite_x=True)
        kept = block[self.kept[0]]
        summed[: len(kept), columns] = kept

    def _backward(self, summed: Array, part: Array, start: int, integers: bool) -> None:
        """Transform a piece of rows back from `start` on and store the outputs."""
        stop = min(start + self._rows, len(part))
        values = summed[start:stop].reshape(stop - start, *self._inner)
        *others, last = range(1, values.ndim)
        if self.compute.kind == "c":
            others.append(last)
        for axis in others:
            values = scipy.fft.ifft(values, axis=axis)
            values = values[(slice(None),) * axis + (self.kept[axis],)]
        if self.compute.kind != "c":
            values = scipy.fft.irfft(values, self.lengths[-1], axis=last)
            values = values[(slice(None),) * last + (self.kept[last],)]
        if integers:
            np.rint(values, out=values)
        store(values, part[start:stop], self.problem.cast)
