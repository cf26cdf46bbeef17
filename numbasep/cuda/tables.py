"""Tables of taps and boundaries that the CUDA kernels read; see `cuda.passes`."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arguments.boundary import Boundary, source_index
from ..arguments.problem import Window
from ..planning.operators import Factor, Term
from ..system.types import Array
from .intrinsics.vocabulary import OUTSIDE, ElementType

SMALL_INTEGERS = ("u1", "i1", "u2", "i2")
FAR_OUTSIDE = -(1 << 60)  # stays negative when the offsets of other axes are added


@dataclass(frozen=True, slots=True)
class Operand:
    """An array that launches read or write."""

    slot: int
    """Slot of the buffer."""
    shape: tuple[int, ...]
    """Shape, with complex numbers as a last axis of two."""
    storage: ElementType
    """Type of the elements."""
    cval: float = 0.0
    """Value beyond a constant boundary."""
    base: int = 0
    """Element of the buffer at which the array starts."""

    def stride(self, axis: int) -> int:
        """Return the stride of an axis in elements."""
        return math.prod(self.shape[axis + 1 :])


@dataclass(frozen=True, slots=True)
class RowAxis:
    """Number and strides of the rows of a plane."""

    rows: int
    """Number of output rows."""
    stride_in: int
    """Stride of the input rows in elements."""
    stride_out: int
    """Stride of the output rows in elements."""


def storage_of(dtype: np.dtype[Any], *, saturate: bool = False) -> ElementType:
    """Return the storage type of a dtype, for complex dtypes that of their parts."""
    real = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    return ElementType(real.str[1:], saturate and real.kind in "biu")


# --------------------------------------------------------------------------- taps


def grouped(terms: Sequence[Term], part: Callable[[Term], Term]) -> list[list[Term]]:
    """Group terms whose factors in `part(term)` are equal."""
    groups: dict[Any, list[Term]] = {}
    for term in terms:
        key = tuple((f.taps.tobytes(), f.start, f.stop, f.sparse) for f in part(term))
        groups.setdefault(key, []).append(term)
    return list(groups.values())


def merged(factors: Sequence[Factor]) -> Factor:
    """Return the sum of factors along the same axis."""
    if len(factors) == 1:
        return factors[0]
    total = np.zeros(factors[0].taps.size)
    for factor in factors:
        total[factor.positions] += factor.taps[factor.positions]
    return Factor(total, 0, total.size, sparse=True)


def gain_of(term: Term) -> float:
    """Return the gain of a term for constant input: the product of the sums of its taps."""
    return math.prod(float(f.taps[f.positions].sum()) for f in term)


def border_after(cval: float, gain: float) -> float:
    """Return the boundary value of an intermediate; zero stays zero even if the gain is not finite."""
    return cval * gain if cval else 0.0


def front_of(window: Window, klass: int) -> int:
    """Return the number of masked taps before the window's own.

    They centre the window in its tap class if that is possible, since rows of centred kernels are copied in chunks.
    """
    centred = window.first + klass // 2
    return centred if 0 <= centred <= klass - window.taps else 0


def in_class(factor: Factor, front: int, klass: int, *, used: bool) -> tuple[Array, int | None]:
    """Return the taps padded to a tap class, and a bit mask of the taps used; None if the axis is not filtered."""
    taps = np.zeros(klass)
    if not used:
        return taps, None
    positions = factor.positions + front
    taps[positions] = factor.taps[factor.positions]
    return taps, sum(1 << int(p) for p in positions)


def dense_list(
    weights: Array | None, fronts: Sequence[int], along: Window | None, down: Window | None
) -> tuple[Array, Array]:
    """Return the nonzero dense weights for the repair as flattened (row, column) taps of the class, and values."""
    if weights is None:
        return np.zeros(2, np.int32), np.zeros(0)
    planar = weights.reshape(down.taps if down else 1, along.taps if along else 1)
    rows, columns = np.nonzero(planar)
    places = np.stack([rows + fronts[1], columns + fronts[0]], axis=1)
    return places.astype(np.int32).ravel(), planar[rows, columns]


def pieces_of(positions: Array, lengths: Sequence[int], align: int = 1) -> list[tuple[int, int]]:
    """Split ascending positions into pieces (start, length); pieces longer than 1 start at a multiple of `align`.

    Examples
    --------
    >>> pieces_of(np.array([0, 1, 2, 3, 4, 7]), (4, 2, 1))
    [(0, 4), (4, 1), (7, 1)]
    """
    pieces = []
    for run in np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1):
        start, stop = (int(run[0]), int(run[-1]) + 1) if run.size else (0, 0)
        while start < stop:
            length = next(n for n in lengths if n <= stop - start and (n == 1 or start % align == 0))
            pieces.append((start, length))
            start += length
    return pieces


# --------------------------------------------------------------------------- tables


def continued(first: int, count: int, size: int, boundary: Boundary) -> Array:
    """Return `source_index` for `count` positions from `first` on, evaluated only where it is not the identity."""
    table = np.arange(first, first + count, dtype=np.int64)
    before, after = min(count, max(0, -first)), min(count, max(0, size - first))
    for i in itertools.chain(range(before), range(max(before, after), count)):
        table[i] = source_index(first + i, size, int(boundary))
    return table


def row_table(window: Window, first: int, count: int, stride: int) -> Array:
    """Return the offset of each of `count` extended rows from `first` on, `stride` elements per row, or OUTSIDE."""
    rows = continued(first, count, window.size, window.boundary)
    return np.where(rows == OUTSIDE, OUTSIDE, rows * stride)


def column_table(window: Window, first: int, count: int, step: int) -> Array:
    """Return the input element that each of `count` extended elements from `first` on copies, or OUTSIDE.

    A position of the axis has `step` elements.
    """
    start = first // step
    positions = continued(start, (first + count) // step - start + 1, window.size, window.boundary)
    spread = np.where(positions == OUTSIDE, OUTSIDE, positions * step)[:, None] + np.arange(step)
    spread[positions == OUTSIDE] = OUTSIDE
    skipped = first - start * step
    return spread.ravel()[skipped : skipped + count]


def beyond_table(window: Window, first: int, stop: int, step: int) -> Array:
    """Return `column_table` of the elements from `first` to `stop` that are before the axis, then of those after it.

    The table is never empty.  Its size depends on the kernel and the tile, not on the size of the axis.
    """
    size = window.size * step
    before = column_table(window, first, max(0, -first), step)
    after = column_table(window, size, max(0, stop - size), step)
    return np.concatenate([before, after]) if before.size + after.size else np.zeros(1, np.int64)


def row_axis(source: Operand, target: Operand, along: Window | None, down: Window | None) -> RowAxis:
    """Return the rows of a pass over planes."""
    if down is not None:
        return RowAxis(down.out_size, source.stride(down.axis), target.stride(down.axis))
    assert along is not None  # without vertical taps, all axes before the filtered one are merged into rows
    step = source.stride(along.axis)
    return RowAxis(math.prod(source.shape[: along.axis]), along.size * step, along.out_size * step)


def plane_table(source: Operand, target: Operand, along: Window | None, down: Window | None) -> Array:
    """Return an array (planes, 2) of the offsets at which each plane starts in the source and in the target."""
    starts = np.array([[source.base, target.base]], np.int64)
    if down is None:
        return starts
    last = along.axis if along else down.axis
    for axis in range(last):
        if axis != down.axis:
            strides = np.array([source.stride(axis), target.stride(axis)], np.int64)
            steps = np.arange(source.shape[axis], dtype=np.int64)[:, None] * strides
            starts = (starts[:, None, :] + steps[None, :, :]).reshape(-1, 2)
    return starts


def outer_tables(source: Operand, target: Operand, windows: Sequence[Window]) -> tuple[Array, Array]:
    """Return the offsets of the source planes, (planes, taps), and of the target planes, (planes,).

    A plane spans the axes of the last two windows.  Source planes beyond a constant boundary are OUTSIDE.
    """
    sources, targets = np.array([[source.base]], np.int64), np.array([target.base], np.int64)
    by_axis = {window.axis: window for window in windows[:-2]}
    plane = {window.axis for window in windows[-2:]}
    for axis in range(windows[-1].axis):
        if axis in plane:
            continue
        window = by_axis.get(axis)
        taps = window.taps if window else 1
        count = window.out_size if window else source.shape[axis]
        table = np.arange(count, dtype=np.int64)[:, None] * source.stride(axis)
        if window:
            line = row_table(window, window.first, count + taps - 1, source.stride(axis))
            table = np.lib.stride_tricks.sliding_window_view(np.where(line < 0, FAR_OUTSIDE, line), taps)
        total = sources[:, None, :, None] + table[None, :, None, :]
        sources = total.reshape(len(sources) * count, -1)
        steps = np.arange(count, dtype=np.int64) * target.stride(axis)
        targets = (targets[:, None] + steps).ravel()
    return np.where(sources < 0, OUTSIDE, sources), targets


def flat_table(rows: Sequence[Sequence[int]]) -> Array:
    """Return rows of integers as a flat table, never empty."""
    return np.array(rows, np.int64).ravel() if rows else np.zeros(1, np.int64)


def holds_border(source: Operand, windows: Sequence[Window], code: str) -> bool:
    """Return whether the input type represents the boundary value exactly, as converted to the type of the sums."""
    if source.storage.code == code or all(w.boundary != Boundary.CONSTANT for w in windows):
        return True
    value = np.array(source.cval).astype(code)
    if source.storage.is_integer and not (np.isfinite(value) and value == np.rint(value)):
        return False
    if source.storage.is_integer:
        limits = np.iinfo("u1" if source.storage.code == "b1" else source.storage.code)
        return bool(limits.min <= value <= (1 if source.storage.code == "b1" else limits.max))
    return bool(np.array_equal(value.astype(source.storage.code).astype(code), value, equal_nan=True))


def fits_int32(terms: Sequence[Term], source: Operand, target: Operand, divisor: float) -> bool:
    """Return whether sums of small integers are certain to fit 32 bits, which allows a shorter cast."""
    if target.storage.saturate or not all(o.storage.code in SMALL_INTEGERS for o in (source, target)):
        return False
    norm = sum(math.prod(float(np.abs(f.taps[f.positions]).sum()) for f in term) for term in terms)
    largest = max(256.0**source.storage.itemsize, abs(source.cval))
    return norm * largest < abs(divisor) * 2.0**30
