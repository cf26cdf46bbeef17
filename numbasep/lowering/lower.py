"""From a filter to its passes: the one place that decides which kernel runs on which axes, in which order.

Up to two filtered axes are one pass.  With more, the outermost one is filtered first, slab by slab into scratch memory
that stays in cache, and the rest follows on the slab; terms that share taps along an axis share that pass.  Columns
that lie apart are brought together first, slab by slab, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..boundary import Boundary
from ..problem import Problem, Window
from . import kernels
from .counts import Blocking
from .layout import Axis, Layout, Planes, arrange, array_axes, nested_strides
from .steps import Steps, total
from .target import STEP_ROWS, Target
from .task import Part, Task, Terms, Weights, plane_count

ANY = Target(64, 32, fma=True, float16=True)  # where no kernel is chosen
# Of an intermediate of a volume: thick, as the planes around it are read again, yet in cache.
SLAB_BYTES = 16 << 20
STAGED = 1 << 15  # elements of output from which columns that lie apart are brought together first
BOX_OPERATIONS = 6  # of equal taps that are summed as a box

Reads = tuple[int, int]
"""Which intermediate is read, and the term whose taps weigh it."""


@dataclass(frozen=True, slots=True)
class PassSpec:
    """One pass over an array: what the planner prices, and the backend binds to memory."""

    kernel: str
    """A name of `lowering.kernels.KERNELS`; "gather" and "scatter" bring columns together and apart."""
    axes: tuple[int, ...]
    """Filtered axes."""
    task: Task | None
    """What is computed; None for copies."""
    blocking: Blocking
    """How the kernel goes about it."""
    steps: Steps
    """What that takes."""
    starts: int
    """How often it is started: once for each slab and each intermediate."""
    bytes: float
    """Bytes read and written."""
    memory: float
    """Those from and to the arrays of the caller; intermediates stay in cache."""
    operations: float
    """Multiply-adds or additions."""
    thick: int = 0
    """Positions of its axis that are filtered before the passes behind it go on with them; 0: all."""
    members: tuple[Reads, ...] = ()
    """The intermediates that it makes, by what they are made of; none if it writes the output."""
    sums: tuple[tuple[Reads, ...], ...] = ()
    """The terms that it adds up in the output; those of a group share their taps along the columns."""
    share: tuple[tuple[Reads, ...], ...] = ()
    """As many for the sum of the weights of samples that are there, by which these are divided."""

    @property
    def slabs(self) -> int:
        """Pieces that the array is filtered in."""
        return self.starts // max(len(self.members), 1)


def contiguous(problem: Problem) -> Layout:
    """The layout of C-contiguous arrays."""
    return Layout(nested_strides(problem.shape), nested_strides(problem.out_shape))


def lower(
    kernel: Weights | Terms,
    problem: Problem,
    target: Target,
    layout: Layout | None = None,
    *,
    masked: bool = False,
) -> tuple[PassSpec, ...]:
    """The passes that compute a real kernel on a pair of arrays.

    Parameters
    ----------
    kernel : Weights or Terms
        Dense weights or separable terms, in numbers.
    problem : Problem
        Windows and types.
    target : Target
        The processor.
    layout : Layout, optional
        How the arrays lie in memory.  Default: C-contiguous.
    masked : bool, optional
        Whether samples that are NaN weigh nothing.

    Returns
    -------
    tuple of PassSpec
        In the order in which a slab goes through them; none if there is nothing to filter.
    """
    if not problem.windows or not problem.pixels or 0 in problem.shape:
        return ()
    layout = layout or contiguous(problem)
    found = _Lowering(problem, target, masked)
    gathered, scattered = found.apart(layout) if not masked else (False, False)
    if gathered:
        layout = replace(layout, input=nested_strides(problem.shape, layout.input))
    if scattered:
        layout = replace(layout, output=nested_strides(problem.out_shape, layout.output))
    passes = found.dense(kernel, layout) if isinstance(kernel, Weights) else found.terms(kernel, layout)
    return tuple([*found.copies("gather", gathered), *passes, *found.copies("scatter", scattered)])


def one_pass(problem: Problem, sources: int) -> Task:
    """The filter as one pass over C-contiguous arrays that reads so many input planes for one of output."""
    layout = contiguous(problem)
    found = _Lowering(problem, ANY, masked=False)
    planes = found.planes(problem.windows, problem.shape, problem.out_shape, layout.input, layout.output)
    return found.task(planes, sources, first=True, last=True)


@dataclass(frozen=True)
class _Lowering:
    """Lowers one problem."""

    problem: Problem
    target: Target
    masked: bool

    @property
    def parts(self) -> int:
        """Real numbers of an element of the input."""
        return 2 if self.problem.input_dtype.kind == "c" else 1

    @property
    def item(self) -> int:
        """Bytes of a number that sums are taken in."""
        return self.problem.real_dtype.itemsize

    def apart(self, layout: Layout) -> tuple[bool, bool]:
        """Whether columns of input and output lie apart, and are worth being brought together."""
        problem = self.problem
        if len(problem.windows) > 2 or problem.pixels < STAGED:
            return False, False
        planes = self.planes(problem.windows, problem.shape, problem.out_shape, layout.input, layout.output)
        columns = planes.columns
        return (
            columns.size_in > 1 and columns.stride_in != planes.inner,
            columns.size_out > 1 and columns.stride_out != planes.inner,
        )

    def copies(self, name: str, wanted: bool) -> list[PassSpec]:
        """The pass that gathers columns of the input, or scatters those of the output."""
        if not wanted:
            return []
        problem = self.problem
        inwards = name == "gather"
        shape, dtype = (
            (problem.shape, problem.input_dtype) if inwards else (problem.out_shape, problem.output_dtype)
        )
        numbers = math.prod(shape) * self.parts
        steps = Steps(packed=numbers) if inwards else Steps(stored=numbers)
        moved = math.prod(shape) * dtype.itemsize
        return [PassSpec(name, (), None, Blocking(1), steps, 1, 2 * moved, moved, 0)]

    def planes(
        self,
        windows: Sequence[Window],
        before: Sequence[int],
        after: Sequence[int],
        strides_in: Sequence[int],
        strides_out: Sequence[int],
    ) -> Planes:
        """Roles of the axes of arrays of these shapes and strides."""
        return arrange(array_axes(before, after, strides_in, strides_out, windows, self.parts))

    def task(self, planes: Planes, sources: int, *, first: bool, last: bool) -> Task:
        """A pass on planes, from the input if it is the first, into the output if it is the last."""
        problem = self.problem
        item_in = problem.input_dtype.itemsize // self.parts if first else self.item
        return Task(
            planes, plane_count(planes), sources, self.item, item_in,
            plain_in=not first or _holds(problem, problem.input_dtype),
            plain_out=not last or _holds(problem, problem.output_dtype),
            masked=self.masked, beyond=any(map(_is_left, planes.outer)),
        )  # fmt: skip

    def dense(self, weights: Weights, layout: Layout) -> list[PassSpec]:
        """Summation over the weights, in one pass."""
        problem = self.problem
        planes = self.planes(problem.windows, problem.shape, problem.out_shape, layout.input, layout.output)
        sources = max(weights.planes, 1) * (1 + self.masked)
        if planes.rows.window is None:  # all taps along the columns
            weights = weights._replace(runs=weights.taps)
        elif planes.columns.window is None:
            weights = weights._replace(columns=1)
        task = replace(self.task(planes, sources, first=True, last=True), weights=weights)
        return [self.spec(task, [w.axis for w in problem.windows], first=True, last=True)]

    def terms(self, terms: Terms, layout: Layout) -> list[PassSpec]:
        """Sums of separable terms: from three filtered axes on, the outer ones in passes of their own."""
        if not terms.factors:  # zero everywhere
            return self.dense(Weights(0, 0, 1, 0), layout)
        problem, passes, slabs = self.problem, list[PassSpec](), 1
        windows, shape = list(problem.windows), problem.shape
        strides, made, piece = layout.input, 1 + self.masked, shape
        reads = [(source, term) for source in range(made) for term in range(len(terms.factors))]
        present = [source for source, _ in reads]  # 1: of the presence of samples
        while len(windows) > 2:
            at = max(range(len(windows)), key=lambda j: abs(strides[windows[j].axis]))
            window = windows.pop(at)
            axis = problem.windows.index(window)
            members = list(dict.fromkeys((s, terms.groups[t][axis]) for s, t in reads))
            number = {member: i for i, member in enumerate(members)}
            reads = [(number[s, terms.groups[t][axis]], t) for s, t in reads]
            after = _resized(shape, window, window.out_size)
            thick = self.thickness(_resized(piece, window, window.out_size), window, len(members))
            slabs *= -(-window.out_size // thick)
            inside = nested_strides(after, strides)
            planes = self.planes([window], shape, after, strides, inside)
            first = not passes
            for_one = self.task(planes, 1, first=first, last=False)
            rows = planes.rows.window is not None
            groups: tuple[tuple[Part, ...], ...] = tuple(
                (_part(terms, t, axis if rows else None, None if rows else axis),) for _, t in members
            )
            specs = [
                self.spec(replace(for_one, groups=(group,)), [window.axis], first=first, last=False)
                for group in groups
            ]
            passes.append(_together(specs, slabs, thick, tuple(members)))
            shape, strides, made, piece = after, inside, len(members), _resized(piece, window, thick)
        planes = self.planes(windows, shape, problem.out_shape, strides, layout.output)
        task = self.task(planes, made, first=not passes, last=True)
        found = [self.grouped(terms, planes, r) for r in _split(reads, present)]
        groups = tuple(parts for _, grouping in found for parts in grouping)
        nothing = None if groups else Weights(0, 0, made, 0)  # all taps are zero
        task = replace(task, groups=groups, weights=nothing)
        last = self.spec(task, [w.axis for w in windows], first=not passes, last=True)
        orders = [order for order, _ in found]
        passes.append(replace(last, starts=slabs, sums=orders[0], share=orders[1] if self.masked else ()))
        return passes

    def thickness(self, shape: tuple[int, ...], window: Window, count: int) -> int:
        """Positions of an axis that are filtered at a time, into `count` intermediates of this shape."""
        numbers = math.prod(shape) // max(window.out_size, 1) * self.parts * count
        thick = max(1, min(window.out_size, SLAB_BYTES // max(numbers * self.item, 1)))
        return max(thick, min(window.out_size, window.taps))

    def grouped(
        self, terms: Terms, planes: Planes, reads: Iterable[Reads]
    ) -> tuple[tuple[tuple[Reads, ...], ...], tuple[tuple[Part, ...], ...]]:
        """Terms that share their taps along the columns: their sums down the rows are added up before that pass.

        A single tap takes no pass, and equal taps down many rows are summed as a box, on their own.
        """
        rows, columns = (self._position(axis) for axis in (planes.rows, planes.columns))
        groups: dict[object, list[Reads]] = {}
        for number, (source, t) in enumerate(reads):
            part = _part(terms, t, rows, columns)
            if not part.rows or not part.columns:
                continue
            alone = part.columns < 2 or (part.row_box and part.rows >= STEP_ROWS)
            key = (number,) if alone or columns is None else terms.groups[t][columns]
            groups.setdefault(key, []).append((source, t))
        order = tuple(map(tuple, groups.values()))
        return order, tuple(tuple(_part(terms, t, rows, columns) for _, t in group) for group in order)

    def _position(self, axis: Axis) -> int | None:
        return None if axis.window is None else [w.axis for w in self.problem.windows].index(axis.window.axis)

    def spec(self, task: Task, axes: Sequence[int], *, first: bool, last: bool) -> PassSpec:
        """A pass, with the kernel that computes it."""
        problem = self.problem
        kernel, blocking = kernels.choose(task, self.target)
        read = math.prod(problem.shape) * problem.input_dtype.itemsize if first else 0
        written = problem.pixels * problem.output_dtype.itemsize if last else 0
        inside = (0 if first else task.count * task.sources * task.rows_read * task.reach) * self.item
        inside += (0 if last else task.numbers) * self.item
        return PassSpec(
            kernel.name, tuple(axes), task, blocking, kernel.steps(task, blocking, self.target), 1,
            read + written + inside, read + written, task.numbers * _operations(task, kernel.name, blocking),
        )  # fmt: skip


def _holds(problem: Problem, dtype: np.dtype[Any]) -> bool:
    """Whether arrays of a type hold numbers, or their two parts, as sums are taken: nothing is converted."""
    parts = 2 if dtype.kind == "c" else 1
    return dtype.kind in "fc" and dtype.itemsize // parts == problem.real_dtype.itemsize and dtype.isnative


def _is_left(axis: Axis) -> bool:
    """Whether windows along an axis leave the array, for a constant."""
    window = axis.window
    if window is None or window.boundary != Boundary.CONSTANT:
        return False
    return window.first < 0 or window.first + window.reach > axis.size_in


def _resized(shape: tuple[int, ...], window: Window, size: int) -> tuple[int, ...]:
    return (*shape[: window.axis], size, *shape[window.axis + 1 :])


def _split(reads: Sequence[Reads], present: Sequence[int]) -> list[list[Reads]]:
    """Terms of values and, if there are such, those of the presence of samples."""
    kinds = sorted(set(present))
    return [[read for read, kind in zip(reads, present, strict=True) if kind == wanted] for wanted in kinds]


def _part(terms: Terms, t: int, rows: int | None, columns: int | None) -> Part:
    """A term down the rows and along the columns; axes are positions among the windows."""
    down = (
        (1, 1, False) if rows is None else (terms.factors[t][rows], terms.runs[t][rows], terms.boxes[t][rows])
    )
    along = (1, False) if columns is None else (terms.factors[t][columns], terms.boxes[t][columns])
    return Part(*down, *along)


def _together(specs: Sequence[PassSpec], slabs: int, thick: int, members: tuple[Reads, ...]) -> PassSpec:
    """The passes that make intermediates of one axis, as one; the array of the caller is read once."""
    count = len(specs)
    return replace(
        specs[0], steps=total(*(spec.steps for spec in specs)), starts=slabs * count, thick=thick, members=members,
        bytes=sum(spec.bytes for spec in specs), operations=sum(spec.operations for spec in specs),
    )  # fmt: skip


def _operations(task: Task, kernel: str, blocking: Blocking) -> float:
    """Multiply-adds or additions for one number of output, as they are executed."""
    if task.weights is not None:
        folded = task.weights.folded if blocking.folded else None
        return max(folded[0] if folded else task.weights.taps, 1)
    done, left_out = 0, task.along.step

    def taken(taps: int, box: bool) -> int:
        return BOX_OPERATIONS if kernel == "box" and box and taps >= STEP_ROWS else taps if taps > 1 else 0

    for group in task.groups:
        rows = [taken(part.rows, part.row_box) * left_out for part in group]
        once = taken(group[0].columns, group[0].column_box)
        done += max(sum(rows) + once + (len(rows) > 1) * rows.count(0), 1)
    return done
