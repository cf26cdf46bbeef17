"""Strokes (instructions of `cpu.intrinsics.flat_sums`) that compute the sums of a flat kernel in registers."""

from __future__ import annotations

import math
from itertools import pairwise

from ..factor.runs import RowSum, continued_sums
from ..lowering.flat import MOST_BYTES
from .flat_tables import SumBlocking, WorkspaceLayout
from .intrinsics import flat_sums

DOUBLED = 1.3  # cost of doubling sums, in shifts


class Strokes:
    """Builder of the strokes for a block of columns of two output rows.

    S and T are the sums for output rows q and q + 1, which have most input rows in common: the shared rows.  A sum that
    continues another one starts from the S of the other: all its rows or, if the T to come lacks some, the shared rows.
    """

    def __init__(self, blocking: SumBlocking, layout: WorkspaceLayout, factor: float) -> None:
        self.blocking, self.layout, self.factor = blocking, layout, factor
        self.strokes: list[int] = []
        self.weights: list[float] = []
        self.pending, self.weight, self.opened = 0, 0.0, False  # bytes in results that are not multiplied yet

    def program(self) -> tuple[list[int], list[float]]:
        """Return the strokes and the weight of each."""
        sums, columns = self._apart_from_the_last()
        saved = continued_sums(sums)
        rows: list[frozenset[int]] = []
        for base, more in sums:
            before = rows[base] if base >= 0 else frozenset()
            rows.append(before | {self.blocking.entry(row) for row in more})
        shared = [own & {row + 1 for row in own} for own in rows]
        held: list[frozenset[int]] = []  # rows of S after each sum; T is complete if S is
        others = [
            [n for n, other in enumerate(sums) if other.base == i and n != i + 1] for i in range(len(sums))
        ]

        # S may contain all rows of sum i if the sums that start from it share these rows, or can add rows to S and T.
        complete = [all(rows[i] <= shared[n] for n in others[i]) for i in range(len(sums))]
        for i in reversed(range(len(sums) - 1)):
            if sums[i + 1].base == i:
                complete[i] &= complete[i + 1] or rows[i] <= shared[i + 1]
        for i, (base, _) in enumerate(sums):
            direct = base < 0 or base == i - 1
            if base < 0:
                self._stroke(flat_sums.CLEAR)
            elif not direct:
                self._stroke(flat_sums.RESTORE, self.layout.buffer(saved.index(base)))
            start = held[base] if base >= 0 else frozenset()
            follows = i + 1 < len(sums) and sums[i + 1].base == i
            whole = complete[i]
            if whole and follows and start <= shared[i]:
                apart = _cost(rows[i + 1], shared[i + 1], shared[i])
                added = 2 * len(rows[i + 1] - rows[i]) if complete[i + 1] else math.inf
                whole = min(_cost(rows[i + 1], shared[i + 1], rows[i]), added) <= apart
            assert whole or start <= shared[i]
            held.append(rows[i] if whole else shared[i])
            saved_to = self.layout.buffer(saved.index(i)) if i in saved else None
            each = direct and (base < 0 or start == rows[base])
            if whole and each and 2 * len(rows[i] - start) < _cost(rows[i], shared[i], start):
                self._rows(sorted(rows[i] - start), flat_sums.EACH)
                if saved_to is not None:
                    self._stroke(flat_sums.SAVE, saved_to)
                self._columns(columns[i], len(rows[i]), doubled=not others[i] and not follows)
                continue
            sets = tuple(sorted(part) for part in _parts(rows[i], shared[i], start))
            if whole:
                self._both(sets, saved_to)
                self._columns(columns[i], len(rows[i]), doubled=not others[i] and not follows)
            else:
                self._apart(sets, saved_to, columns[i], len(rows[i]))
        self._flush()
        return self.strokes, self.weights

    def _apart_from_the_last(self) -> tuple[list[RowSum], list[list[tuple[int, float]]]]:
        """Return the sums and their columns, with the last sum split if this saves shifts.

        The last sum consists of another one and further rows.  If the other one takes its columns, too, the further
        rows are a sum of their own.  In a disk, the columns next to the longest one then form one run with it.
        """
        sums, columns = list(self.blocking.flat.sums), self.blocking.flat.columns
        base, rows = sums[-1]
        together = sorted(columns[-2] + columns[-1]) if len(sums) > 1 else []
        children = sum(s.base == base for s in sums)
        if (
            base == len(sums) - 2
            and children == 1
            and self.blocking.inner == 1
            and len({w for _, w in together}) == 1
        ):
            most = self._most(self.blocking.flat.counts[-2])
            parts = in_powers([column for column, _ in together], most)
            if len(parts) + DOUBLED * parts[-1][0] + 1 < len(columns[-2]):
                shifted = [RowSum(-1, rows), *(RowSum(s.base + (s.base >= 0), s.rows) for s in sums[:-1])]
                return shifted, [columns[-1], *columns[:-2], together]
        return sums, columns

    def _stroke(self, code: int, *operands: int, amount: int = 0, weight: float = 0.0) -> None:
        self.strokes.append(flat_sums.stroke_word(code, *operands, amount=amount))
        self.weights.append(weight * self.factor)

    def _code(self, kind: int, elements: int) -> tuple[int, int]:
        return flat_sums.shift_code(kind, elements, self.blocking.extra, self.blocking.lanes)

    def _rows(self, rows: list[int], code: int = flat_sums.ROW) -> None:
        """Add `rows` to S; with the code EACH, also add the row after each to T."""
        for first in range(0, len(rows), 3):
            part = rows[first : first + 3]
            self._stroke(code + len(part) - 1, *part)

    def _lean(self, rows: list[int]) -> None:
        """Set T to the sum of S and `rows`, which are never empty."""
        for n, row in enumerate(rows):
            self._stroke(flat_sums.MORE if n else flat_sums.LEAN, row)

    def _both(self, sets: tuple[list[int], ...], saved_to: int | None) -> None:
        """Add all rows of `sets` to S and T; both are complete then."""
        shared, later, own = sets
        if shared and len(later) == len(own) == 1:
            self._rows(shared[:-1])
            self._stroke(flat_sums.GROW, shared[-1], later[0], own[0])
        else:
            self._rows(shared)
            self._lean(later)
            self._rows(own)
        if saved_to is not None:
            self._stroke(flat_sums.SAVE, saved_to)

    def _apart(
        self, sets: tuple[list[int], ...], saved_to: int | None, columns: list[tuple[int, float]], count: int
    ) -> None:
        """Compute the sums of both output rows in T, one after the other, and shift them; S gets shared rows only."""
        shared, later, own = sets
        self._rows(shared)
        if saved_to is not None:
            self._stroke(flat_sums.SAVE, saved_to)
        most = max(MOST_BYTES // count, 1) if self.blocking.small else len(columns)
        for weight in sorted({weight for _, weight in columns}):
            of_weight = [column for column, other in columns if other == weight]
            for first in range(0, len(of_weight), most):
                part = of_weight[first : first + most]
                self._room(len(part) * count, weight)
                for kind, rows in ((flat_sums.LATER, later), (flat_sums.EARLIER, own)):
                    self._lean(rows)
                    for column in part:
                        self._shift(kind, column, weight)

    def _columns(self, columns: list[tuple[int, float]], count: int, *, doubled: bool) -> None:
        """Add S and T, shifted to `columns`, to the results; if `doubled`, S and T may be overwritten by doubling."""
        weights = sorted({weight for _, weight in columns})
        level = 0
        parts = [(0, column, weight) for weight in weights for column, other in columns if other == weight]
        if doubled and len(weights) == 1 and self.blocking.inner == 1:
            parts = [
                (n, at, weights[0])
                for n, at in in_powers([column for column, _ in columns], self._most(count))
            ]
        for n, column, weight in parts:
            while level < n:
                self._stroke(flat_sums.DOUBLE + level)
                level += 1
            self._room(count << n, weight)
            self._shift(flat_sums.BOTH, column, weight)

    def _most(self, count: int) -> int:
        """Return how often sums of `count` rows may be doubled without overflow."""
        levels = len(flat_sums.DOUBLES)
        return min(levels, (MOST_BYTES // count).bit_length() - 1) if self.blocking.small else levels

    def _room(self, count: int, weight: float) -> None:
        """Flush sums of bytes unless `count` further bytes fit and have the same weight."""
        if self.blocking.small and (self.pending + count > MOST_BYTES or weight != self.weight):
            self._flush()
        self.pending, self.weight = self.pending + count, weight

    def _shift(self, kind: int, column: int, weight: float) -> None:
        code, amount = self._code(kind, column * self.blocking.inner)
        self._stroke(code, amount=amount, weight=weight)

    def _flush(self) -> None:
        """Multiply pending sums of bytes by their weight and add them to the output."""
        if self.blocking.small and self.pending:
            self._stroke(flat_sums.FLUSH if self.opened else flat_sums.OPEN, weight=self.weight)
            self.pending, self.opened = 0, True


def _parts(rows: frozenset[int], shared: frozenset[int], start: frozenset[int]) -> tuple[frozenset[int], ...]:
    """Return the shared rows that S lacks, and the rows that only T and only S contain."""
    return shared - start, frozenset(row + 1 for row in rows) - shared, rows - shared


def _cost(rows: frozenset[int], shared: frozenset[int], start: frozenset[int]) -> float:
    """Return the number of additions that complete both sums if S contains the rows `start`."""
    return sum(map(len, _parts(rows, shared, start))) if start <= shared else math.inf


def in_powers(columns: list[int], most: int) -> list[tuple[int, int]]:
    """Split columns into runs (n, first) of ``2 ** n`` adjacent columns, sorted by n <= `most`, at the least cost."""
    breaks = [0, *(i for i in range(1, len(columns)) if columns[i] != columns[i - 1] + 1), len(columns)]

    def parts(level: int) -> list[tuple[int, int]]:
        found = []
        for start, stop in pairwise(breaks):
            at, end = columns[start], columns[start] + stop - start
            for n in range(level, -1, -1):
                while end - at >= 1 << n:
                    found.append((n, at))
                    at += 1 << n
        return sorted(found)

    return min(map(parts, range(most + 1)), key=lambda found: len(found) + DOUBLED * found[-1][0])
