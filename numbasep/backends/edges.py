"""Which passes are filtered straight from the array, and where they find the columns beyond its edges.

For separable terms they are among the sums down the rows: a boundary repeats columns, so the pass down the rows gives
the same numbers there, bit for bit, as on rows that were extended first.  Dense kernels are given copies of the ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..boundary import OUTSIDE, source_index
from ..kernels.dense_words import DENSE_ROWS
from ..kernels.memory import Storage
from ..kernels.simd import VECTOR_BYTES
from ..kernels.stripes import SLIDES
from ..kernels.turned_words import TURNS
from ..kernels.valid import AS_STORED
from ..passes import (
    MOST_CONVERSIONS,
    MOST_SPAN,
    MOST_TERMS,
    MOST_WAYS,
    SEVERAL,
    pays_as_boxes,
    rows_in_a_set,
)
from .layout import Planes, plain_window
from .program import Program

FIRST, LAST = 1, 2  # ends of a row


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Columns beyond the edges, by their places among the sums of the first and the last columns of a row."""

    table: npt.NDArray[np.int64]
    """From the first element read to the end of the first vector, then from the last vector on; OUTSIDE for zeros."""
    last: int
    """Where the part for the last vector begins."""
    blocks: int
    """Vectors of columns at each end that `table` refers to."""
    left: int
    """Which ends the elements left of the array come from: FIRST, LAST or both."""
    right: int
    """And those right of it."""
    short: bool
    """Whether `kernels.fused` filters the pass, not `kernels.turned`."""
    several: bool = False
    """Whether it does so for several terms at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Elements beyond the edges of a row by their sources in the row, for dense kernels."""

    table: npt.NDArray[np.int64]
    """From the first element read to the start of the row, then from its end on; OUTSIDE for the boundary's value."""
    last: int
    """Where the part behind the row begins."""
    width: int
    """Elements that kernels copy of each row, of both ends together."""


def dense_ends(planes: Planes, storage: Storage, compute: np.dtype[Any], height: int) -> Ends | None:
    """What the kernel of a dense pass has to know of rows that it reads from the array; None if it has to pack them.

    Parameters
    ----------
    planes : Planes
        Roles of the axes.
    storage : Storage
        How the input lies in memory.
    compute : numpy.dtype
        float32 or float64.
    height : int
        Rows of output that it computes at a time.
    """
    columns, inner, window = planes.columns, planes.inner, plain_window(planes.columns)
    lanes, size = VECTOR_BYTES // compute.itemsize, columns.size_in * inner
    first, span, item = window.first * inner, (window.taps - 1) * inner, compute.itemsize
    rows = height + plain_window(planes.rows).taps - 1
    if (
        storage != Storage(f"f{item}")
        or columns.stride_in != inner
        or size < lanes
        or span > MOST_SPAN
        or (
            height == DENSE_ROWS
            and rows_in_a_set(rows, planes.rows.stride_in * item, span * item) > MOST_WAYS
        )
    ):
        return None
    stop = max(size, first + columns.size_out * inner + span) + 2 * lanes + span
    positions = np.concatenate([np.arange(first, 0), np.arange(size, stop)])
    left = lanes + span - first if first < 0 else 0
    right = max(stop - (size - lanes - span), 0)
    table = _sources(positions, size, inner, int(window.boundary))
    return Ends(table, max(-first, 0), left + right)


def direct_edges(
    planes: Planes, program: Program, storage: Storage, compute: np.dtype[Any],
    constants: npt.NDArray[Any], views: int,
) -> Edges | None:  # fmt: skip
    """Where kernels find columns beyond the edges, or None if the pass has to pack its rows.

    Parameters
    ----------
    planes, program
        What is computed on which layout.
    storage : Storage
        How the input lies in memory.
    compute : numpy.dtype
        float32 or float64.
    constants : (sources, 1 + period) array
        Divisor and boundary value.
    views : int
        How the input is seen (`kernels.valid`).
    """
    columns, inner, window = planes.columns, planes.inner, plain_window(planes.columns)
    width = VECTOR_BYTES // compute.itemsize
    elements, first = columns.size_in * inner, window.first * inner
    span = (window.taps - 1) * inner
    numbers = planes.rows.size_out * columns.size_out * inner
    box = program.boxes and pays_as_boxes(plain_window(planes.rows).taps, numbers)
    fits = (
        (TURNS or SLIDES)
        and program.separable
        and not box
        and columns.stride_in == columns.stride_out == inner
        and not storage.swapped
        and elements >= width
        and span <= MOST_SPAN
        and np.isfinite(program.weights).all()
    )
    if not fits:
        return None
    stop = first + columns.size_out * inner + span
    left = np.arange(first, max(first, width))
    right = np.arange(elements - width, max(stop, elements) + 3 * width)
    positions = np.concatenate([left, right])
    sources = _sources(positions, elements, inner, int(window.boundary))
    beyond = ((positions < 0) | (positions >= elements)) & (positions < stop)
    if (sources[beyond] == OUTSIDE).any() and (views != AS_STORED or constants[:, 1:].any()):
        return None
    depth = np.minimum(sources, elements - 1 - sources)[beyond]
    blocks = int(depth.max(initial=-1)) // width + 1
    from_first = _places(sources, elements, width, max(blocks, 1), FIRST)
    from_last = _places(sources, elements, width, max(blocks, 1), LAST)
    is_left = np.arange(sources.size) < left.size  # the nearer end, if it has the element
    own, other = np.where(is_left, (from_first, from_last), (from_last, from_first))
    table = np.where(positions >= stop, OUTSIDE, np.where(own != OUTSIDE, own, other))
    left_ends, right_ends = (_ends(table[beyond & side], blocks * width) for side in (is_left, ~is_left))
    n_terms = max(program.share_term, len(program.terms) - program.share_term)
    short = (
        SLIDES
        and n_terms <= MOST_TERMS
        and blocks <= 1
        and span <= (width if n_terms == 1 else width // SEVERAL)  # two vectors hold what one slides to
        and -width <= first
        and (storage.dtype == compute or plain_window(planes.rows).taps <= MOST_CONVERSIONS)
    )
    return Edges(table, left.size, blocks, left_ends, right_ends, short, short and n_terms > 1)


def _sources(
    positions: npt.NDArray[np.int64], elements: int, inner: int, boundary: int
) -> npt.NDArray[np.int64]:
    """The element that each position of the continued row shows, or OUTSIDE."""
    columns, at = np.unique(positions // inner, return_inverse=True)
    found = np.array([source_index(int(c), elements // inner, boundary) for c in columns], np.int64)[at]
    return np.where(found == OUTSIDE, OUTSIDE, found * inner + positions % inner)


def _places(
    sources: npt.NDArray[np.int64], elements: int, width: int, blocks: int, end: int
) -> npt.NDArray[np.int64]:
    """Where elements stand among the sums of the first or the last columns; OUTSIDE where they do not.

    Blocks that would reach beyond the row are moved into it, as `kernels.turned` does.
    """
    depth = sources if end == FIRST else elements - 1 - sources
    block = depth // width
    if end == FIRST:
        start, at = np.minimum(block * width, elements - width), block
    else:
        start, at = np.maximum(elements - (block + 1) * width, 0), 2 * blocks - 1 - block
    return np.where((sources == OUTSIDE) | (block >= blocks), OUTSIDE, at * width + sources - start)


def _ends(table: npt.NDArray[np.int64], last: int) -> int:
    """Which ends places refer to; those of the last columns begin at `last`."""
    inside = table[table != OUTSIDE]
    return FIRST * bool((inside < last).any()) | LAST * bool((inside >= last).any())
