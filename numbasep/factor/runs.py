"""Flat kernels (disks, rings, diamonds, balls) as sums of runs of equal weights.

The weights in a column of a flat kernel are equal.  So the column takes the sum of the rows under it, and the result
is the sum over the columns of these sums, each shifted to its column::

    S_c[j] = sum over rows i of column c of x[i, j]        out[j] = sum over columns c of S_c[j + c]

Columns with the same rows share one sum, and sums share common rows: those of a disk are nested, so that each is the
next narrower one plus two rows.  Rows are only added, never subtracted, so that infinities and NaN spread as in direct
summation, and rounding errors are those of sums.  A disk of radius r takes 2 (2 r + 1) additions per sample instead of
pi r**2.  With several weights, there are several sums.  The rows of all planes of a volume, as of a ball, are treated
alike.

Pure NumPy and integers; `cpu.kernels.flat` runs the sums that are found here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .arguments import Array, ScaledKernel
from .column_ends import ColumnEnds, column_ends
from .form import relative_error
from .integer import as_integers

MOST_WEIGHTS = 6  # largest number of different weights of a flat kernel
MOST_SUMS = 160  # largest number of different columns
LEAST_NONZEROS = 20  # smallest number of non-zero weights; fewer are faster by direct summation
_MOST_CHANGES = 0.6  # largest number of changes of weight along rows, per non-zero weight: noise has more
_FEW_COLUMNS = 12  # up to this number of columns the search is fast, so changes are not counted against it
_LEAST_SHARED = 4  # smallest number of common rows of two sums that become a sum of their own
# costs, in additions of rows: storing a vector, loading an unaligned vector
_STORE, _SHIFTED = 1.0, 1.4


class RowSum(NamedTuple):
    """A sum of rows: another sum plus further rows."""

    base: int
    """Index of the earlier sum that it continues; -1 if there is none."""
    rows: tuple[int, ...]
    """Further rows, numbered over all planes of the window."""


class Double(NamedTuple):
    """A sum and its neighbour: ``D[j] = S[j] + S[j + shift]``."""

    base: int
    """Index of a sum or of an earlier double; doubles are numbered after the sums."""
    shift: int
    """Distance of the two sums in columns."""


class Shifted(NamedTuple):
    """A shifted sum, or double, with its weight in the result."""

    sum: int
    """Index of the sum or double."""
    shift: int
    """Shift in columns, from the first column of the window."""
    weight: float
    """Weight of the sum."""


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """A kernel as sums of rows: ``K = sum of shifted sums / divisor``."""

    sums: tuple[RowSum, ...]
    """Sums of rows; each comes directly after the sum that it continues, or loads it."""
    doubles: tuple[Double, ...]
    """Sums of neighbouring elements of these."""
    shifted: tuple[Shifted, ...]
    """Shifted sums, whose total is the result."""
    intervals: tuple[tuple[int, int, bool], ...] | None
    """(first row, last row, whether it contains the previous interval) of each sum; None unless the kernel is 2-D, all
    sums consist of adjacent rows, and sums that share any rows (`_share`) would not load fewer."""
    divisor: float
    """Divisor of the result; if it is not 1, the weights are integers."""
    exact: bool
    """Whether the weights are integers that, over the divisor, give the kernel rounded to its own dtype."""
    error: float
    """``||K - sum / divisor||_1 / ||K||_1``."""
    roundings: int
    """Largest number of roundings on the way from a sample to the result."""
    shape: tuple[int, ...]
    """Shape of the window."""
    ends: ColumnEnds | None
    """The kernel by differences of output rows, for bytes; None if its columns have too many ends."""

    @property
    def weighted(self) -> bool:
        """Whether there are several different weights."""
        return len({part.weight for part in self.shifted}) > 1

    @property
    def continued(self) -> tuple[int, ...]:
        """Indices of sums that a sum other than the next one continues."""
        return continued_sums(self.sums)

    @property
    def counts(self) -> list[int]:
        """Number of rows in each sum."""
        found: list[int] = []
        for base, rows in self.sums:
            found.append(len(rows) + (found[base] if base >= 0 else 0))
        return found

    @property
    def row_additions(self) -> int:
        """Number of additions of rows per row of output."""
        return sum(len(s.rows) + (s.base >= 0) for s in self.sums) - len(self.sums)

    @property
    def operations(self) -> int:
        """Additions and multiplications per output element."""
        scaled = self.weighted * len(self.shifted) or 1
        return self.row_additions + len(self.doubles) + len(self.shifted) - 1 + scaled

    @property
    def paired_operations(self) -> int:
        """Additions and multiply-adds per output element if two output rows share the additions of common rows."""
        rows = sum(len(one.rows) for one in self.sums)
        return round(min(rows, (rows + self.row_loads) / 2)) + sum(map(len, self.columns))

    @property
    def columns(self) -> list[list[tuple[int, float]]]:
        """(column, weight) pairs of each sum, with doubles written as sums."""
        reach = [[(i, 0)] for i in range(len(self.sums))]
        for base, shift in self.doubles:
            reach.append([*reach[base], *((which, at + shift) for which, at in reach[base])])
        found: list[list[tuple[int, float]]] = [[] for _ in self.sums]
        for number, shift, weight in self.shifted:
            for which, at in reach[number]:
                found[which].append((at + shift, weight))
        return found

    @property
    def row_loads(self) -> float:
        """Number of vectors of rows loaded per vector of output."""
        if self.intervals is None:
            return sum(len(s.rows) + (s.base >= 0) for s in self.sums)
        return _interval_loads(self.intervals)


def continued_sums(sums: Sequence[RowSum]) -> tuple[int, ...]:
    """Return the indices of sums that a sum other than the next one continues."""
    return tuple(sorted({s.base for i, s in enumerate(sums) if s.base >= 0 and s.base != i - 1}))


def find(kernel: ScaledKernel) -> Flat | None:
    """Write a kernel as sums of rows, if it has few different weights; else return None.

    Parameters
    ----------
    kernel : ScaledKernel
        Real kernel with two or more axes.

    Returns
    -------
    Flat or None

    Examples
    --------
    >>> from numbasep.factor.arguments import as_kernel
    >>> y, x = np.ogrid[-15:16, -15:16]
    >>> found = find(as_kernel(x * x + y * y <= 225))
    >>> found.operations, found.exact, found.divisor
    (58, True, 1.0)
    """
    values = kernel.values
    if values.ndim < 2 or values.dtype.kind == "c" or kernel.nonzeros < LEAST_NONZEROS:
        return None
    present = values[values != 0]
    if np.unique(present[:256]).size > MOST_WEIGHTS or np.unique(present).size > MOST_WEIGHTS:
        return None
    rows = values.reshape(-1, values.shape[-1])
    changes = np.count_nonzero(rows[:, 1:] != rows[:, :-1])
    if rows.shape[1] > _FEW_COLUMNS and changes > _MOST_CHANGES * kernel.nonzeros:
        return None
    integers = as_integers(kernel)
    if integers is not None:
        table, divisor = integers[0], math.ldexp(integers[1], -kernel.exponent)
    else:
        table, divisor = np.ldexp(values, kernel.exponent), 1.0
    if not 0 < abs(divisor) < math.inf or not np.isfinite(table).all():
        return None
    error = relative_error(kernel, integers[0] / integers[1]) if integers is not None else 0.0
    return _take_apart(table, divisor, error, exact=integers is not None)


def _take_apart(table: Array, divisor: float, error: float, *, exact: bool) -> Flat | None:
    """Return the sums of ``table / divisor``, or None if it has too many different columns."""
    rows = table.reshape(-1, table.shape[-1])
    targets: dict[bytes, Array] = {}
    entries: list[tuple[bytes, int, float]] = []
    for weight in np.unique(rows[rows != 0]).tolist():
        mask = rows == weight
        for column in np.flatnonzero(mask.any(axis=0)).tolist():
            support = mask[:, column]
            targets.setdefault(support.tobytes(), support)
            entries.append((support.tobytes(), column, weight))
    if len(targets) > MOST_SUMS:
        return None
    supports = np.array(list(targets.values()))
    chain, index = _intervals(supports) if table.ndim == 2 else (None, [])
    nested = chain is not None and sum(not wider for _, _, wider in chain) == 1
    sums, index_of_shared, depth = _share(supports) if not nested else ([], [], [])
    if chain is not None and (nested or _interval_loads(chain) <= sum(len(s.rows) for s in sums)):
        sums, depth = _interval_sums(chain), [b - a for a, b, _ in chain]
    else:
        chain, index = None, index_of_shared
    number = {key: index[i] for i, key in enumerate(targets)}
    wanted: dict[tuple[int, float], list[int]] = {}
    for key, column, weight in entries:
        wanted.setdefault((number[key], weight), []).append(column)
    doubles, shifted = _along(wanted, len(sums))
    depth_of_doubles = int(math.log2(max((d.shift for d in doubles), default=0.5)) + 1)
    return Flat(
        sums=tuple(sums), doubles=tuple(doubles), shifted=tuple(shifted),
        intervals=tuple(chain) if chain is not None else None, divisor=divisor, exact=exact, error=error,
        roundings=max(depth) + depth_of_doubles + len(shifted) + 2, shape=table.shape, ends=column_ends(table),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------- any rows


def _share(supports: Array) -> tuple[list[RowSum], list[int], list[int]]:
    """Find sums for sets of rows that share common rows, greedily: the two sets with the most common rows come first.

    Return the sums in order, the index of the sum of each support, and the number of additions of each sum.
    """
    given = len(supports)
    size = 2 * given
    sets = np.zeros((size, supports.shape[1]), np.float32)
    sets[:given] = supports
    known = {row.tobytes(): i for i, row in enumerate(sets[:given])}
    base = [-1] * size
    counts = sets.sum(axis=1)
    # number of rows that two sets have in common; -1 if one of them already continues another set
    common = np.full((size, size), -1.0, np.float32)
    common[:given, :given] = sets[:given] @ sets[:given].T
    np.fill_diagonal(common, -1)
    alive = np.arange(size) < given
    made = given

    def continues(i: int, other: int) -> None:
        base[i], alive[i] = other, False
        common[i, :] = common[:, i] = -1

    while True:
        a, b = divmod(int(common.argmax()), size)
        shared = int(common[a, b])
        if shared < 2:
            break
        if counts[a] > counts[b]:
            a, b = b, a
        if counts[a] == shared:  # b contains a
            continues(b, a)
            continue
        both = sets[a] * sets[b]
        new = known.get(both.tobytes(), made)
        if shared < _LEAST_SHARED or (new == made and made == size) or not (new == made or alive[new]):
            common[a, b] = common[b, a] = -1
            continue
        if new == made:
            sets[new], counts[new], known[both.tobytes()] = both, shared, new
            overlap = np.where(alive, sets @ both, -1)
            common[new, :] = common[:, new] = overlap
            alive[new] = True
            made += 1
        continues(a, new)
        continues(b, new)
    return _in_order([row.astype(np.int32) for row in sets[:made]], base[:made], given)


def _in_order(sets: list[Array], base: list[int], wanted: int) -> tuple[list[RowSum], list[int], list[int]]:
    """Order the sums so that as many as possible directly follow the sum that they continue."""
    children: dict[int, list[int]] = {}
    for i, parent in enumerate(base):
        children.setdefault(parent, []).append(i)
    place: dict[int, int] = {}
    sums: list[RowSum] = []
    depth: list[int] = []
    pending = children.get(-1, [])[::-1]
    while pending:
        i = pending.pop()
        parent = base[i]
        fresh = sets[i] if parent < 0 else sets[i] & ~sets[parent] & 1
        rows = tuple(np.flatnonzero(fresh).tolist())
        above = -1 if parent < 0 else place[parent]
        place[i] = len(sums)
        depth.append(len(rows) + (depth[above] if above >= 0 else -1))
        sums.append(RowSum(above, rows))
        pending += children.get(i, [])
    return sums, [place[i] for i in range(wanted)], depth


# ---------------------------------------------------------------------------------- nested intervals


def _intervals(supports: Array) -> tuple[list[tuple[int, int, bool]] | None, list[int]]:
    """Order the supports by chains of nested intervals; return the intervals and the index of each support.

    The intervals are None if a support is not an interval of rows.
    """
    ends = []
    for support in supports:
        rows = np.flatnonzero(support)
        if rows[-1] - rows[0] + 1 != rows.size:
            return None, []
        ends.append((int(rows[0]), int(rows[-1])))
    chains: list[list[int]] = []
    for i in sorted(range(len(ends)), key=lambda i: ends[i][1] - ends[i][0]):
        a, b = ends[i]
        fitting = [c for c in chains if a <= ends[c[-1]][0] and ends[c[-1]][1] <= b]
        if fitting:
            min(fitting, key=lambda c: ends[c[-1]][0] - a + b - ends[c[-1]][1]).append(i)
        else:
            chains.append([i])
    order = [(i, n > 0) for chain in chains for n, i in enumerate(chain)]
    place = {i: n for n, (i, _) in enumerate(order)}
    return [(*ends[i], wider) for i, wider in order], [place[i] for i in range(len(ends))]


def _interval_loads(intervals: Any) -> float:
    """Return the vectors loaded per vector of output if pairs of output rows share the rows of an interval."""
    total, before = 0, (0, 0)
    for a, b, wider in intervals:
        total += before[0] - a + b - before[1] if wider else b - a + 2
        before = (a, b)
    return total / 2


def _interval_sums(intervals: list[tuple[int, int, bool]]) -> list[RowSum]:
    """Return the sum for each interval: the sum for the previous one, if nested, plus further rows."""
    sums: list[RowSum] = []
    for n, (a, b, wider) in enumerate(intervals):
        low, high = intervals[n - 1][:2] if wider else (a, a - 1)
        sums.append(RowSum(n - 1 if wider else -1, (*range(a, low), *range(high + 1, b + 1))))
    return sums


# -------------------------------------------------------------------------------------- along rows


def _along(wanted: dict[tuple[int, float], list[int]], first: int) -> tuple[list[Double], list[Shifted]]:
    """Shift each sum to its columns; adjacent columns use doubling: sums of 2, 4, 8, ... neighbours."""
    doubles: list[Double] = []
    shifted: list[Shifted] = []
    made: dict[tuple[int, int], int] = {}
    for (which, weight), columns in wanted.items():
        runs = _runs(columns)
        level = min(range(6), key=lambda n: _cost_along(runs, n))
        for start, length in runs:
            at = start
            for n in range(level, -1, -1):
                width = 1 << n
                while start + length - at >= width:
                    shifted.append(Shifted(_doubled(which, n, first, doubles, made), at, weight))
                    at += width
    return doubles, shifted


def _doubled(
    which: int, level: int, first: int, doubles: list[Double], made: dict[tuple[int, int], int]
) -> int:
    """Return the index of the sum of ``2 ** level`` neighbours of a sum, and add it to `doubles` if needed."""
    if level == 0:
        return which
    if (which, level) not in made:
        base = _doubled(which, level - 1, first, doubles, made)
        doubles.append(Double(base, 1 << (level - 1)))
        made[which, level] = first + len(doubles) - 1
    return made[which, level]


def _runs(columns: list[int]) -> list[tuple[int, int]]:
    """Return (first, length) of each run of adjacent columns."""
    breaks = [0, *(i for i in range(1, len(columns)) if columns[i] != columns[i - 1] + 1), len(columns)]
    return [(columns[a], b - a) for a, b in itertools.pairwise(breaks)]


def _cost_along(runs: list[tuple[int, int]], level: int) -> float:
    """Return the cost of shifting a sum to runs of columns if it is doubled `level` times."""
    loads = sum((n >> level) + (n & ((1 << level) - 1)).bit_count() for _, n in runs)
    return _SHIFTED * loads + level * (1 + _SHIFTED + _STORE)
