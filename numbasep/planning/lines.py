"""Lengths of the transforms of long rows (`cpu.kernels.line_transforms`).  Plain integers only.

They depend only on the problem, so that the same problem gives the same bits on every machine.
"""

import functools
import math
from dataclasses import dataclass

from ..arguments.problem import Problem, Window
from .overlap import is_one_weight, tiling

LANES = 16  # assumed number of float32 numbers in a vector ...
THREADS = 2  # ... and of threads: results must not depend on either
POINTS = tuple(1 << k for k in range(5, 13))  # tried numbers of complex points
MOST_PARTS = 64  # of a kernel
TASK_NUMBERS = 1 << 17  # most numbers in the spectra of a task
SHARED_POINTS = 1 << 15  # points of all tiles from which threads share the tasks
# Operations on vectors, of about the same time each, per point: copying it to or from a tile, a level of a transform,
# its product with a part of the kernel, and keeping it for several parts.
COPY, LEVEL, PRODUCT, KEEP = 15.0, 4.0, 9.0, 30.0


@dataclass(frozen=True, slots=True)
class Lines:
    """Division of rows and of a kernel, for transforms of N real samples as N / 2 complex points."""

    window: Window
    """The filtered axis."""
    rows: int
    """Number of rows."""
    points: int
    """Complex points of a transform, half the samples of a tile; a power of 2."""
    parts: int
    """Number of parts of the kernel; if there are several, each has `step` taps."""
    step: int
    """Output samples of a tile."""
    together: int
    """Tiles that a task computes."""

    @property
    def tiles(self) -> int:
        """Tiles of a row that have outputs."""
        return -(-self.window.out_size // self.step)

    @property
    def span(self) -> int:
        """Tiles of a row, including those that only later parts of the kernel read."""
        return self.tiles + self.parts - 1

    @property
    def total(self) -> int:
        """Number of tiles of all rows, up to the last that has outputs."""
        return self.rows * self.span - self.parts + 1

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return -(-self.total // self.together)

    @property
    def threads(self) -> int:
        """Largest number of threads that pays off."""
        return self.tasks if self.total * self.points >= SHARED_POINTS else 1


def lines(problem: Problem) -> Lines | None:
    """Return the division of a problem with some output, or None if its transforms are those of `overlap`."""
    windows = [window for window in problem.windows if not is_one_weight(window, problem.cval == 0)]
    windows = windows or list(problem.windows[-1:])
    if len(windows) != 1 or windows[0].step > 1 or problem.device == "cuda":
        return None
    window = windows[0]
    behind = math.prod(problem.shape[window.axis + 1 :])
    if problem.compute_dtype.kind == "c" or problem.output_dtype.kind != "f" or behind != 1:
        return None
    rows = math.prod(problem.out_shape[: window.axis])
    return _cheapest(window, rows, problem.real_dtype.itemsize == 8)


def transform_size(problem: Problem) -> tuple[int, int]:
    """Return the number of points of a transform, on which its error depends, and of parts of the kernel."""
    found = lines(problem)
    return (found.points, found.parts) if found is not None else (tiling(problem).points, 1)


@functools.lru_cache(maxsize=512)
def _cheapest(window: Window, rows: int, double: bool) -> Lines | None:
    lanes = LANES // 2 if double else LANES
    tried = []
    for points in POINTS:
        if window.taps <= points:
            tried.append(_divided(window, rows, points, 1, 2 * points - window.taps + 1, lanes))
        elif window.taps <= MOST_PARTS * points:
            tried.append(_divided(window, rows, points, -(-window.taps // points), points, lanes))

    def cost(one: Lines) -> float:
        share = -(-one.tasks // THREADS) / one.tasks if one.threads > 1 else 1.0
        return operations(one, lanes) * share

    return min(tried, key=cost, default=None)


def _divided(window: Window, rows: int, points: int, parts: int, step: int, lanes: int) -> Lines:
    groups = 1
    if parts > 1:
        groups = max(TASK_NUMBERS // (2 * points * lanes), -(-2 * (parts - 1) // lanes), 1)
    return Lines(window, rows, points, parts, step, max(groups * lanes - parts + 1, 1))


def operations(one: Lines, lanes: float) -> float:
    """Return about the number of operations on vectors of `lanes` numbers."""
    each = COPY + LEVEL * math.log2(one.points)
    product = PRODUCT * one.parts + (KEEP if one.parts > 1 else 0.0)
    total = 0.0
    for tasks, tiles in ((one.tasks - 1, one.together), (1, one.total - (one.tasks - 1) * one.together)):
        read, written = math.ceil((tiles + one.parts - 1) / lanes), math.ceil(tiles / lanes)
        total += tasks * (read * each + written * (each + product))
    return one.points * total
