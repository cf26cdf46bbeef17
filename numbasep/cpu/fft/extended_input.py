"""Read the samples under a range of outputs, extended beyond the edges of the array."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...arguments.boundary import OUTSIDE, Boundary, index_map
from ...arguments.problem import Window
from ...lowering.layout import restrict

Array = NDArray[Any]

SHORT = 1 << 13  # positions up to which a reach is cached


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Input positions under a range of outputs along an axis, and their places in a block."""

    source: slice
    """Input positions that are read."""
    target: slice
    """Their places in the block."""
    covered: int
    """Positions of the block under the windows; those outside `target` have the boundary value."""
    picks: Array | None = None
    """For each covered position, the index in `source` of the sample that it copies; None if they are in order."""


def plain(start: int, stop: int) -> Reach:
    """Return positions [start, stop) without extension."""
    return Reach(slice(start, stop), slice(0, stop - start), stop - start)


def whole(window: Window, length: int) -> Reach:
    """Return all samples of an axis; constant boundaries fill the rest of `length` positions."""
    covered = length if window.boundary is Boundary.CONSTANT else window.size
    return Reach(slice(0, window.size), slice(0, window.size), covered)


def reach(window: Window, start: int, stop: int) -> Reach:
    """Return the samples under the windows of outputs [start, stop) along a filtered axis."""
    return (_short if (stop - start) * window.step + window.taps <= SHORT else _make)(window, start, stop)


def _make(window: Window, start: int, stop: int) -> Reach:
    part = restrict(window, start, stop)
    first, count, size = part.first, part.reach, part.size
    low, high = max(first, 0), min(first + count, size)
    if part.boundary is Boundary.CONSTANT or (low == first and high == first + count):
        if low >= high:
            return Reach(slice(0, 0), slice(0, 0), count)
        return Reach(slice(low, high), slice(low - first, high - first), count)
    before = min(max(-first, 0), count)
    after = min(max(first + count - size, 0), count - before)
    inside = np.arange(first + before, first + count - after)
    edges = [
        np.array(index_map(at, n, size, part.boundary), inside.dtype)
        for at, n in ((first, before), (first + count - after, after))
    ]
    positions = np.concatenate((edges[0], inside, edges[1]))
    low = int(positions.min())
    if low == OUTSIDE:
        raise AssertionError("only the constant boundary leads outside")
    return Reach(slice(low, int(positions.max()) + 1), slice(0, count), count, positions - low)


_short = functools.lru_cache(maxsize=512)(_make)


def gather(
    source: Array, reaches: Sequence[Reach], shape: Sequence[int], compute: np.dtype[Any], cval: complex
) -> Array:
    """Return a block of `shape` and type `compute` with the samples of the reaches, padded with zeros.

    If it equals a part of `source`, that is returned without a copy.
    """
    seen = source[tuple(reach.source for reach in reaches)]
    for position, reach in enumerate(reaches):
        if reach.picks is not None:
            seen = seen.take(reach.picks, axis=position)
    if seen.shape == tuple(shape) and seen.dtype == compute and seen.flags.aligned:
        return seen
    block = np.empty(shape, compute)
    inside = tuple(reach.target for reach in reaches)
    if any(s.start or s.stop != n for s, n in zip(inside, shape, strict=True)):
        block[...] = 0
        covered = tuple(slice(0, reach.covered) for reach in reaches)
        if cval and inside != covered:
            block[covered] = cval if compute.kind == "c" else cval.real
    np.copyto(block[inside], seen, casting="unsafe")
    return block
