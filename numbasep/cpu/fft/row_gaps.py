"""NaN and infinities in rows that `long_lines` transforms, which reads them as 0: only what they reach is marked.

The outputs under the windows of a few samples are short intervals of a row.  So the array is not copied, and marks of
its size are not made (`missing_data` does both).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ...arguments.boundary import Boundary
from ...arguments.problem import Problem, Window
from ...lowering.layout import restrict
from ...planning.lines import lines
from ...planning.operators import Operator
from ..largest_magnitude import split_finite
from . import long_lines
from .marks import Array, Marks

MOST_SPANS = 1 << 9  # intervals of outputs that are looked at one by one
MOST_MARKED = 32  # the same for kernels with zeros or weights of both signs, and for infinities
SAMPLES_PER_RUN = 20_000  # a run of NaN that is left out takes as long as two transforms of so many samples


class Interval(NamedTuple):
    """An interval of outputs of a row whose windows contain samples that are not finite."""

    row: int
    first: int
    stop: int
    columns: Array | None
    """These samples; None if some windows extend beyond the edges."""


def is_simple(problem: Problem, x: Array, out: Array) -> bool:
    """Return whether the rows of a problem and of its arrays are contiguous."""
    return (
        len(problem.windows) == 1
        and lines(problem) is not None
        and all(array.dtype.char in "fd" and array.dtype.isnative for array in (x, out))
        and x.flags.carray
        and out.flags.c_contiguous
    )


def correlate(
    operator: Operator, problem: Problem, x: Array, out: Array, workers: int, largest_sample: float
) -> bool:
    """Filter as `missing_data.correlate`; return False, without writing, if the samples reach too many intervals."""
    found = _spans(problem.windows[0], x, workers, largest_sample)
    if found is None:
        return False
    bad, spans = found
    marks, window = Marks(operator, problem, workers), problem.windows[0]
    plain = marks.full and not np.isinf(x.reshape(-1)[bad]).any()
    if len(spans) > MOST_MARKED and not plain:
        return False
    long_lines.correlate(x, operator.weights, problem, out, workers)
    rows, targets = x.reshape(-1, window.size), out.reshape(-1, window.out_size)
    for row, first, stop, columns in spans:
        target = targets[row, first:stop]
        if plain and columns is not None:
            target[...] = np.nan
            continue
        samples, part = _under(rows[row], restrict(window, first, stop))
        marks.inside(samples, ~np.isfinite(samples), {0: replace(part, axis=0)}).write(target)
    return True


def correlate_valid(
    operator: Operator, problem: Problem, x: Array, out: Array, workers: int, largest_sample: float,
    weight: float, least: float,
) -> bool:  # fmt: skip
    """Filter `x` with its NaN left out: sums are divided by the valid share of the weights, which sum to `weight`.

    Where that share is at most `least`, results are NaN.  Return False, without writing, for data with infinities or
    too many NaN.
    """
    window = problem.windows[0]
    found = _spans(window, x, workers, largest_sample)
    if found is None or np.count_nonzero(np.diff(found[0]) > 1) > 2 + x.size // SAMPLES_PER_RUN:
        return False
    if np.isinf(x.reshape(-1)[found[0]]).any():
        return False
    long_lines.correlate(x, operator.weights, problem, out, workers)
    rows, targets = x.reshape(-1, window.size), out.reshape(-1, window.out_size)
    sums = np.concatenate(([0.0], np.cumsum(operator.weights.reshape(-1), dtype=np.float64)))
    for row, first, stop, columns in found[1]:
        target = targets[row, first:stop]
        if columns is None:
            share = _share(operator, problem, rows[row], restrict(window, first, stop), workers)
        else:
            share = weight - _missing(sums, columns - window.first - first, stop - first)
        part = share / weight
        with np.errstate(divide="ignore", invalid="ignore"):
            np.copyto(target, np.where(np.abs(part) > least, target / part, np.nan), casting="same_kind")
    return True


def _missing(sums: Array, columns: Array, count: int) -> Array:
    """Return the sums of the weights of `columns`, for `count` outputs; the first reads column 0 with its first weight.

    `sums` holds the sums of the first weights, so that each run of adjacent columns takes a difference.
    """
    total, taps = np.zeros(count), sums.size - 1
    ends = np.flatnonzero(np.diff(columns) > 1)
    for first, last in zip(columns[[0, *(ends + 1)]].tolist(), columns[[*ends, -1]].tolist(), strict=True):
        begin, stop = max(first - taps + 1, 0), min(last + 1, count)
        to = np.arange(begin, stop)
        total[begin:stop] += sums[np.minimum(last + 1 - to, taps)] - sums[np.maximum(first - to, 0)]
    return total


def _share(operator: Operator, problem: Problem, row: Array, window: Window, workers: int) -> Array:
    """Return the sum of the weights of valid samples, for windows that extend beyond the edges."""
    samples, part = _under(row, window)
    share = np.empty(window.out_size, problem.real_dtype)
    one = replace(
        problem, shape=samples.shape, out_shape=share.shape, windows=(replace(part, axis=0),),
        input_dtype=share.dtype, output_dtype=share.dtype, cval=1 + 0j,
    )  # fmt: skip
    long_lines.correlate(np.isfinite(samples).astype(share.dtype), operator.weights, one, share, workers)
    return share


def _spans(
    window: Window, x: Array, workers: int, largest_sample: float
) -> tuple[Array, list[Interval]] | None:
    """Return the indices of samples that are not finite, and the disjoint intervals of outputs that they reach.

    Return None if a finite sample exceeds `largest_sample`, or there are too many intervals.
    """
    largest, bad = split_finite(x, workers)
    if not largest <= largest_sample:
        return None
    apart = np.flatnonzero(np.diff(bad) > window.taps) + 1
    several = bad.size and bad[0] // window.size != bad[-1] // window.size
    ends = np.flatnonzero(np.diff(bad // window.size)) + 1 if several else np.empty(0, np.int64)
    if apart.size + ends.size >= MOST_SPANS:
        return None
    spans: list[Interval] = []
    for low, high in zip((0, *ends), (*ends, bad.size), strict=True) if bad.size else ():
        row, columns = int(bad[low]) // window.size, bad[low:high] % window.size
        inside = apart[(apart > low) & (apart < high)] - low
        spans += _of_row(window, row, np.split(columns, inside) if inside.size else [columns])
    return bad, spans


def _of_row(window: Window, row: int, clusters: list[Array]) -> Iterator[Interval]:
    """Yield the intervals that clusters of samples of a row reach."""
    found: list[tuple[int, int, Array | None]] = [
        (first, stop, None) for first, stop in _edges(window, int(clusters[0][0]), int(clusters[-1][-1]))
    ]
    for columns in clusters:
        first = int(columns[0]) - window.first - window.taps + 1
        stop = int(columns[-1]) - window.first + 1
        found.append((max(first, 0), min(stop, window.out_size), columns))
    last: tuple[int, int, Array | None] | None = None
    for span in sorted((span for span in found if span[0] < span[1]), key=lambda span: span[:2]):
        if last is None:
            last = span
        elif span[0] < last[1]:
            last = last[0], max(last[1], span[1]), None
        else:
            yield Interval(row, *last)
            last = span
    if last is not None:
        yield Interval(row, *last)


def _edges(window: Window, low: int, high: int) -> Iterator[tuple[int, int]]:
    """Yield the intervals of outputs that read beyond the edges, if samples from `low` to `high` may be read there."""
    if window.boundary is Boundary.CONSTANT:
        return
    before = max(-window.first, 0)
    after = max(window.first + window.reach - window.size, 0)
    wraps = window.boundary is Boundary.WRAP
    left = low < before + window.taps or (wraps and high >= window.size - before - window.taps)
    right = high >= window.size - after - window.taps or (wraps and low < after + window.taps)
    if left and before:
        yield 0, min(before, window.out_size)
    if right and after:
        yield max(window.out_size - after, 0), window.out_size


def _under(row: Array, window: Window) -> tuple[Array, Window]:
    """Return the samples under a window without those that it does not reach, and the window for these."""
    first, stop = window.first, window.first + window.reach
    if first < 0 or stop > window.size:
        return row, window
    return row[first:stop], replace(window, size=stop - first, first=0)
