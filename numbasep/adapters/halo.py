"""Halos: the samples that a block of the result depends on, including the boundary, in plain integers.

With stride `step`, results [a, b) along an axis need the samples [a step + first, (b - 1) step + first + taps) of the
extended array.  Samples beyond the edges are read from the position given by `boundary.source_index`, however far
away, so that a block is filtered in mode "valid" for every mode of the call.  Constant boundaries are left to the
filter, since `cval` may not be representable in the type of the input.  The block is then cut at the edge and filtered
in the mode of the call, and results that are invalid because of the cut are dropped; it starts at a multiple of `step`.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..arguments.boundary import Boundary, source_index
from ..arguments.problem import Window


@dataclass(frozen=True, slots=True)
class Run:
    """Samples of the extended block that are adjacent in the array."""

    start: int
    """Position of the first sample in the array."""
    step: int
    """1, or -1 for a reflection, or 0 for a repeated sample."""
    target: int
    """Position of the first sample in the extended block."""
    length: int
    """Number of samples."""


@dataclass(frozen=True, slots=True)
class Span:
    """Samples that a range of results needs along an axis."""

    runs: tuple[Run, ...]
    """Runs of which the extended block consists, in order."""
    length: int
    """Number of samples of the extended block."""
    within: bool
    """Whether the block can be filtered in mode "valid"; otherwise it needs the mode of the call, and `cut`."""
    cut: slice
    """Results to keep if the block is filtered in the mode of the call."""


def make_span(window: Window, start: int, stop: int) -> Span:
    """Return the span of the results [start, stop) along an axis.

    Parameters
    ----------
    window : Window
        Filtered axis of the whole array.
    start, stop : int
        Range of results, numbered over the whole array.

    Examples
    --------
    >>> from numbasep.arguments.problem import make_window
    >>> window = make_window(0, 10, 3, 0, "mirror", flip=False)
    >>> [(run.start, run.step, run.length) for run in make_span(window, 0, 4).runs]
    [(1, 0, 1), (0, 1, 5)]
    """
    step = window.step
    low, high = start * step + window.first, (stop - 1) * step + window.first + window.taps
    inside = max(low, 0), min(high, window.size)
    if window.boundary == Boundary.CONSTANT:
        within = inside == (low, high)
        first, last = inside if within else (inside[0] // step * step, inside[1])
        run = Run(first, 1, 0, last - first)
        return Span((run,), last - first, within, slice(start - first // step, stop - first // step))
    runs = [*_continued(window, low, min(0, high))]
    if inside[0] < inside[1]:
        runs.append((inside[0], 1, inside[1] - inside[0]))
    runs += _continued(window, max(window.size, low), high)
    placed, target = list[Run](), 0
    for first, step, length in runs:
        placed.append(Run(first, step, target, length))
        target += length
    return Span(tuple(placed), high - low, within=True, cut=slice(None))


def whole_span(start: int, stop: int) -> Span:
    """Return the span of samples [start, stop) without a halo, for axes not filtered or filtered in one block."""
    return Span((Run(start, 1, 0, stop - start),), stop - start, within=False, cut=slice(None))


def _continued(window: Window, low: int, high: int) -> Iterator[tuple[int, int, int]]:
    """Yield (start, step, length) of the runs of positions [low, high), which are all beyond the same edge."""
    sources = [source_index(position, window.size, window.boundary) for position in range(low, high)]
    done = 0
    while done < len(sources):
        start, following = sources[done], sources[done + 1 : done + 2]
        step = following[0] - start if following and abs(following[0] - start) <= 1 else 0
        length = 1
        while done + length < len(sources) and sources[done + length] == start + step * length:
            length += 1
        yield start, step if length > 1 else 0, length
        done += length


# --------------------------------------------------------------------------------------------- chunks


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a run that is in one chunk."""

    chunk: int
    """Index of the chunk along the axis."""
    low: int
    """First sample, counted from the start of the chunk."""
    high: int
    """End of the samples, counted from the start of the chunk."""
    step: int
    """Step of the run."""
    target: int
    """Position of the first sample in the extended block."""
    length: int
    """Number of samples in the extended block."""

    @property
    def source(self) -> slice:
        """Slice of the chunk, in the order of the block; a single sample, to be repeated, for step 0."""
        return self.within(0)

    def within(self, offset: int) -> slice:
        """Return `source`, counted from sample `offset` of the chunk."""
        low, high = self.low - offset, self.high - offset
        if self.step >= 0:
            return slice(low, high)
        return slice(high - 1, low - 1 if low else None, -1)

    def clipped(self, low: int, high: int) -> Piece | None:
        """Return the part of the piece in [low, high) of the extended block, or None; `target` counts from `low`."""
        start, stop = max(self.target, low), min(self.target + self.length, high)
        if start >= stop:
            return None
        skipped, length, count = start - self.target, stop - start, (stop - start if self.step else 1)
        first = {1: self.low + skipped, -1: self.high - skipped - length, 0: self.low}[self.step]
        return Piece(self.chunk, first, first + count, self.step, start - low, length)

    @property
    def place(self) -> slice:
        """Slice of the extended block."""
        return slice(self.target, self.target + self.length)


def pieces(span: Span, bounds: Sequence[int]) -> tuple[Piece, ...]:
    """Split the runs of a span at the chunk boundaries ``bounds = (0, ..., size)``.

    Examples
    --------
    >>> from numbasep.arguments.problem import make_window
    >>> span = make_span(make_window(0, 10, 7, 0, "reflect", flip=False), 8, 10)
    >>> [(piece.chunk, piece.source, piece.place) for piece in pieces(span, (0, 6, 8, 10))]
    [(0, slice(5, 6, None), slice(0, 1, None)), (1, slice(0, 2, None), slice(1, 3, None)), ...]
    """
    found = []
    for run in span.runs:
        done = 0
        while done < run.length:
            position = run.start + run.step * done
            chunk = bisect.bisect_right(bounds, position) - 1
            low, high = bounds[chunk], bounds[chunk + 1]
            left = {1: high - position, -1: position - low + 1, 0: run.length}[run.step]
            length = min(run.length - done, left)
            first = {1: position, -1: position - length + 1, 0: position}[run.step] - low
            count = length if run.step else 1
            found.append(Piece(chunk, first, first + count, run.step, run.target + done, length))
            done += length
    return tuple(found)
