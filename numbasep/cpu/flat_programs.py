"""Tables of integers and weights that `cpu.kernels.flat` reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .flat_strokes import Strokes
from .flat_tables import SumBlocking, WorkspaceLayout
from .kernels import flat as kernels
from .tap_tables import TapTables

Array = npt.NDArray[Any]


def tables(blocking: SumBlocking, layout: WorkspaceLayout, factor: float) -> TapTables:
    """Return the tables; results are multiplied by `factor`."""
    if not blocking.extra:
        return _Buffered(blocking, layout).program(factor)
    strokes, weights = Strokes(blocking, layout, factor).program()
    return _program(blocking, strokes, weights, [[kernels.STROKES, 0, len(strokes), 0]])


def _program(
    blocking: SumBlocking, terms: Any, weights: list[float], phases: Any, links: Any = (), intervals: Any = ()
) -> TapTables:
    def whole(table: Any) -> Array:
        return np.array(table, np.int64).reshape(-1)

    return TapTables(
        terms=whole(links), runs=whole(intervals), weights=np.array(weights, blocking.compute), shifts=whole(terms),
        lines=np.array(phases, np.int64), line_weights=np.zeros(0, blocking.compute),
    )  # fmt: skip


class _Buffered:
    """Builder of the tables for sums in row buffers: sums of rows, then their doubles, then the results."""

    def __init__(self, blocking: SumBlocking, layout: WorkspaceLayout) -> None:
        self.blocking, self.layout = blocking, layout
        self.links: list[list[int]] = []
        self.terms: list[int] = []
        self.weights: list[float] = []
        self.phases: list[list[int]] = []

    def program(self, factor: float) -> TapTables:
        """Return the tables; results are multiplied by `factor`."""
        flat = self.blocking.flat
        intervals = self._intervals()
        self._phase(kernels.INTERVALS, 0, len(intervals), self.blocking.halo)
        if flat.intervals is None:
            for i, (base, rows) in enumerate(flat.sums):
                follows = base == i - 1 and base >= 0
                self._link(rows, [(base, 0, 1.0)] if base >= 0 and not follows else [], i, fresh=not follows)
            self._phase(kernels.LINKS, 0, len(self.links), self.blocking.halo)
        for shift in sorted({double.shift for double in flat.doubles}):
            first = len(self.links)
            for i, double in enumerate(flat.doubles, len(flat.sums)):
                if double.shift == shift:
                    self._link((), [(double.base, 0, 1.0), (double.base, shift, 1.0)], i)
            self._phase(
                kernels.LINKS,
                first,
                len(self.links),
                self.blocking.halo - (2 * shift - 1) * self.blocking.inner,
            )
        parts = [(part.sum, part.shift, part.weight * factor) for part in flat.shifted]
        scale = 1.0 if flat.weighted else parts[0][2]
        result = len(flat.sums) + len(flat.doubles)
        self._link((), parts, result, weighed=flat.weighted, scaled=scale != 1)
        self._phase(kernels.LINKS, len(self.links) - 1, len(self.links), 0)
        return _program(
            self.blocking, self.terms, [*self.weights, 1.0, scale], self.phases, self.links, intervals
        )

    def _link(
        self, rows: Any, sums: list[tuple[int, int, float]], target: int, *, fresh: bool = True, weighed: bool = False,
        scaled: bool = False,
    ) -> None:  # fmt: skip
        """Append a link: `rows` and `sums`, triples of row buffer, shift and weight, go to row buffer `target`."""
        start = len(self.terms)
        self.terms += [self.blocking.entry(row) for row in rows]
        middle = len(self.terms)
        self.terms += [self.layout.buffer(which) + shift * self.blocking.inner for which, shift, _ in sums]
        self.weights += [1.0] * len(rows) + [weight for _, _, weight in sums]
        to = self.layout.buffer(target)
        self.links.append([int(fresh), start, middle, len(self.terms), to, int(weighed), int(scaled)])

    def _phase(self, kind: int, first: int, last: int, extra: int) -> None:
        if first < last:
            self.phases.append([kind, first, last, extra])

    def _intervals(self) -> list[list[int]]:
        """Return the table of intervals, which is empty if the sums are not nested intervals of rows."""
        made: list[list[int]] = []
        before = (0, 0)
        for i, (first, last, wider) in enumerate(self.blocking.flat.intervals or ()):
            above, below = before[0] - first, last - before[1]
            growth = kernels.BY_ONE if above == below == 1 else kernels.BY_ANY
            growth = growth if wider else kernels.FRESH_INTERVAL
            made.append([growth, first, last, above, below, self.layout.buffer(i)])
            before = first, last
        return made
