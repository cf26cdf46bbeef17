"""Divides a filter into passes: which axes are filtered together, in which order, and by which kernel.

Up to two axes are filtered in one pass.  With more axes, the outermost axis is filtered first, slab by slab to scratch
memory that stays in cache, and then the other axes of the slab.  Terms with the same taps along an axis share its pass.
A short last axis is filtered in a separate pass after the others (`pieces`), and few long rows are divided into many.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arguments.boundary import Boundary
from ..arguments.problem import Problem, Window
from . import kernels, pieces, shapes, volumes
from .counts import Blocking, is_shared, operations
from .layout import Axis, Layout, Planes, arrange, array_axes, nested_strides
from .shapes import are_in_turn, are_short, cut, cut_axes, find_rows, slot_count
from .spec import PassSpec, Reads, combined, in_order, in_piece, in_slabs
from .steps import Steps
from .target import STEP_ROWS, Target
from .task import Part, Task, Terms, Weights, part_of, plane_count

SHORT_ROWS = "short rows"
ANY = Target(64, 32, fma=True, float16=True)  # for tasks that no kernel is chosen for
# Intermediates of a slab: large, as the halo of a slab is read again by the next, but small enough for the cache.
SLAB_BYTES = 16 << 20
COPIED = 1 << 16  # least number of elements for which threads share a copy
STAGED = 1 << 15  # least output for which columns that are not adjacent are copied first


@dataclass(frozen=True, slots=True)
class _Read:
    """Description of the arrays that a pass reads: the input, or intermediates."""

    shape: tuple[int, ...]
    piece: tuple[int, ...]  # shape of a slab
    strides: tuple[int, ...]
    count: int  # number of intermediates
    first: bool  # whether it is the input


@dataclass(frozen=True, slots=True)
class _Written:
    """Description of the array that a pass writes: the output, or an intermediate."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    final: bool  # whether it is the output


@dataclass(frozen=True)
class Lowering:
    """Lowering of one problem to passes."""

    problem: Problem
    target: Target
    masked: bool

    @property
    def parts(self) -> int:
        """Number of reals per input element."""
        return 2 if self.problem.input_dtype.kind == "c" else 1

    @property
    def item(self) -> int:
        """Itemsize of the (real) compute dtype."""
        return self.problem.real_dtype.itemsize

    def apart(self, layout: Layout) -> tuple[bool, bool]:
        """Return whether the columns of the input and of the output are not adjacent and should be copied."""
        problem = self.problem
        read = _Read(problem.shape, problem.shape, layout.input, 1, first=True)
        if len(problem.windows) > self.axes_per_pass(problem.windows, read) or problem.pixels < STAGED:
            return False, False
        planes = self.planes(problem.windows, problem.shape, problem.out_shape, layout.input, layout.output)
        columns = planes.columns
        return (
            columns.size_in > 1 and columns.stride_in != planes.inner,
            columns.size_out > 1 and columns.stride_out != planes.inner,
        )

    def copies(self, name: str, wanted: bool) -> list[PassSpec]:
        """Return the pass that gathers columns of the input or scatters those of the output, if `wanted`."""
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
        return [
            PassSpec(name, (), None, Blocking(1, shared=numbers >= COPIED), steps, 1, 2 * moved, moved, 0)
        ]

    def planes(
        self,
        windows: Sequence[Window],
        before: Sequence[int],
        after: Sequence[int],
        strides_in: Sequence[int],
        strides_out: Sequence[int],
    ) -> Planes:
        """Return the roles of the axes for arrays with these shapes and strides."""
        return arrange(array_axes(before, after, strides_in, strides_out, windows, self.parts))

    def task(self, planes: Planes, sources: int, *, first: bool, last: bool) -> Task:
        """Return a task on planes, which reads the input if it is `first`, and writes the output if it is `last`."""
        problem = self.problem
        item_in = problem.input_dtype.itemsize // self.parts if first else self.item
        return Task(
            planes, plane_count(planes), sources, self.item, item_in,
            plain_in=not first or _holds(problem, problem.input_dtype),
            plain_out=not last or _holds(problem, problem.output_dtype),
            masked=self.masked, beyond=any(map(_is_left, planes.outer)),
        )  # fmt: skip

    def dense(self, weights: Weights, layout: Layout) -> list[PassSpec]:
        """Return the pass for direct summation over dense weights."""
        problem = self.problem
        windows, read = (
            problem.windows,
            _Read(problem.shape, problem.shape, layout.input, 1 + self.masked, first=True),
        )
        if len(windows) == 1 and weights.taps:
            groups = ((Part(1, 1, False, weights.taps, False),),)
            found = self.one_axis(groups, windows[0], read, problem.out_shape, layout.output, final=True)
            if found is not None:
                return [found]
        planes = self.planes(windows, problem.shape, problem.out_shape, layout.input, layout.output)
        sources = max(weights.planes, 1) * (1 + self.masked)
        if planes.rows.window is None:  # all taps along the columns
            weights = weights._replace(runs=weights.taps)
        elif planes.columns.window is None:
            weights = weights._replace(columns=1)
        task = replace(self.task(planes, sources, first=True, last=True), weights=weights)
        return [self.spec(task, [w.axis for w in windows], first=True, last=True)]

    def terms(self, terms: Terms, layout: Layout) -> list[PassSpec]:
        """Return the passes for a sum of separable terms."""
        if not terms.factors:  # zero everywhere
            return self.dense(Weights(0, 0, 1, 0), layout)
        problem, made = self.problem, 1 + self.masked
        reads = [(source, term) for source in range(made) for term in range(len(terms.factors))]
        read = _Read(problem.shape, problem.shape, layout.input, made, first=True)
        written = _Written(problem.out_shape, layout.output, final=True)
        return self.chain(terms, reads, list(problem.windows), read, written, 1)

    def chain(
        self,
        terms: Terms,
        reads: list[Reads],
        windows: list[Window],
        read: _Read,
        written: _Written,
        slabs: int,
    ) -> list[PassSpec]:
        """Return the passes along the axes in `windows`, for an array that is already divided into `slabs`.

        A short last axis is filtered in a separate pass after the others.  Otherwise, the outermost axes come first,
        each in its own pass, until two axes are left, or one if there are many adjacent numbers per sample.
        """
        short = self.short_last_axis(terms, reads, windows, read, written, slabs)
        if short is not None:
            return [short]
        problem, passes = self.problem, list[PassSpec]()
        # 0 for values, 1 for the validity of samples; without these, sources may be intermediates of any number
        present = [source if self.masked else 0 for source, _ in reads]
        front, outside = None, slabs
        while len(windows) > self.axes_per_pass(windows, read):
            at = max(range(len(windows)), key=lambda j: abs(read.strides[windows[j].axis]))
            window, windows = windows[at], windows[:at] + windows[at + 1 :]
            axis = problem.windows.index(window)
            members = list(dict.fromkeys((s, terms.groups[t][axis]) for s, t in reads))
            number = {member: i for i, member in enumerate(members)}
            reads = [(number[s, terms.groups[t][axis]], t) for s, t in reads]
            after = _resized(read.shape, window, window.out_size)
            thickness = self.thickness(_resized(read.piece, window, window.out_size), window, len(members))
            outside, slabs = slabs, slabs * -(-window.out_size // thickness)
            inside = nested_strides(after, read.strides)
            planes = self.planes([window], read.shape, after, read.strides, inside)
            for_one = self.task(planes, 1, first=read.first, last=False)
            rows = planes.rows.window is not None
            specs = [
                self.spec(
                    replace(for_one, groups=((part_of(terms, t, axis if rows else None, None if rows else axis),),)),
                    [window.axis], first=read.first, last=False,
                )
                for _, t in members
            ]  # fmt: skip
            passes.append(combined(specs, slabs, thickness, tuple(members)))
            front = replace(specs[0], members=tuple(members))
            read = _Read(after, _resized(read.piece, window, thickness), inside, len(members), first=False)
            short = self.short_last_axis(terms, reads, windows, read, written, slabs)
            if short is not None:
                return [*passes, short]
        last = self.last(terms, reads, present, windows, read, written)
        joined = volumes.join(front, last, self.target) if front is not None else None
        if joined is not None:
            passes, last, slabs = passes[:-1], joined, outside
        passes.append(replace(in_slabs(last, slabs), starts=slabs, final=written.final))
        return passes

    def axes_per_pass(self, windows: Sequence[Window], read: _Read) -> int:
        """Return the number of axes of the last pass: two, or one if there are many adjacent numbers per sample."""
        inner, filtered = self.parts, {window.axis for window in windows}
        for axis in sorted(range(len(read.shape)), key=lambda axis: abs(read.strides[axis])):
            if axis not in filtered and read.shape[axis] == 1:
                continue
            if axis in filtered or read.strides[axis] * self.parts != inner:
                break
            inner *= read.shape[axis]
        return 1 if are_in_turn(inner) else 2

    def last(
        self, terms: Terms, reads: Sequence[Reads], present: Sequence[int], windows: Sequence[Window], read: _Read,
        written: _Written,
    ) -> PassSpec:  # fmt: skip
        """Return the pass that adds up all terms."""
        if len(windows) == 1:
            at = self.problem.windows.index(windows[0])
            lines = tuple((part_of(terms, t, None, at),) for _, t in reads if terms.factors[t][at])
            found = self.one_axis(
                lines, windows[0], read, written.shape, written.strides, final=written.final
            )
            if found is not None and lines:
                if found.kernel == SHORT_ROWS:
                    return replace(found, sums=(tuple(reads),))
                alone = [tuple((r,) for r in kind) for kind in _split(reads, present)]
                return replace(found, sums=alone[0], share=alone[1] if self.masked else ())
        planes = self.planes(windows, read.shape, written.shape, read.strides, written.strides)
        task = self.task(planes, read.count, first=read.first, last=written.final)
        grouped = [self.grouped(terms, planes, r) for r in _split(reads, present)]
        groups = tuple(parts for _, grouping in grouped for parts in grouping)
        nothing = None if groups else Weights(0, 0, read.count, 0)  # all taps are zero
        task = replace(task, groups=groups, weights=nothing)
        spec = self.spec(task, [w.axis for w in windows], first=read.first, last=written.final)
        orders = [order for order, _ in grouped]
        return replace(spec, sums=orders[0], share=orders[1] if self.masked else ())

    def one_axis(
        self, groups: tuple[tuple[Part, ...], ...], window: Window, read: _Read, after: tuple[int, ...],
        strides_out: tuple[int, ...], *, final: bool,
    ) -> PassSpec | None:  # fmt: skip
        """Return the pass along an axis whose rows are short, or few and long; None for any other axis."""
        axes = array_axes(read.shape, after, read.strides, strides_out, [window], self.parts)
        slots = 0 if self.masked else self.slots(axes, window, read.count)
        found = None if slots else cut(axes, window)
        if not slots and found is None:
            return None
        if slots:
            planes = arrange(axes)
        else:
            assert found is not None
            planes = arrange(cut_axes(axes, window, found))
        task = self.task(planes, read.count, first=read.first, last=final)
        task = replace(task, groups=groups, slots=slots)
        return replace(self.spec(task, [window.axis], first=read.first, last=final), cut=found)

    def slots(self, axes: Sequence[Axis], window: Window, sources: int) -> int:
        """Return the diagonals of the matrix that filters short rows of `sources` intermediates; 0 for other rows."""
        rows = find_rows(axes)
        if rows is None:
            return 0
        slots = sources * slot_count(window.size, window.taps, wraps=window.boundary == Boundary.WRAP)
        return slots if are_short(window.size, rows.inner, slots, self.item, rows.run) else 0

    def short_last_axis(
        self, terms: Terms, reads: Sequence[Reads], windows: Sequence[Window], read: _Read, written: _Written,
        slabs: int,
    ) -> PassSpec | None:  # fmt: skip
        """Return the pass along a short last axis, with the passes that precede it; None if the axis is not short."""
        if len(windows) < 2 or self.masked:
            return None
        window = min(windows, key=lambda window: abs(read.strides[window.axis]))
        rest = [other for other in windows if other is not window]
        row = window.size * abs(read.strides[window.axis]) * self.parts
        three = len(self.problem.windows) > 2
        longest = shapes.LONGEST_ROW_3D if three else shapes.LONGEST_ROW_2D
        if window.step != 1 or window.size != window.out_size or not 0 < row <= longest:
            return None
        at = self.problem.windows.index(window)
        inputs: dict[int, list[Reads]] = {}
        for s, t in reads:
            inputs.setdefault(terms.groups[t][at], []).append((s, t))
        number = self.parts * len(inputs) * self.item
        found = pieces.divide(written.shape, read.strides, window, rest, number, self.target)
        if found is None:
            return None
        piece, axis, in_turn = found.shape, found.axis, found.in_turn
        if in_turn:
            slabs *= -(-written.shape[axis] // piece[axis])
        slab = array_axes(
            piece, piece, nested_strides(piece, read.strides), written.strides, [window], self.parts
        )
        slots = self.slots(slab, window, len(inputs))
        if not slots:
            return None
        inside = nested_strides(written.shape, read.strides)
        target = _Written(written.shape, inside, final=False)
        chains = tuple(
            tuple(self.chain(terms, group, rest, read, target, slabs)) for group in inputs.values()
        )
        chains = (
            chains[0],
            *((replace(first, memory=0), *others) for first, *others in chains[1:]),
        )  # the caller's array is read once
        planes = arrange(
            array_axes(written.shape, written.shape, inside, written.strides, [window], self.parts)
        )
        task = replace(
            self.task(planes, len(inputs), first=False, last=written.final), slots=slots,
            groups=tuple((part_of(terms, t, None, at),) for t in inputs),
        )  # fmt: skip
        spec = self.spec(task, [window.axis], first=False, last=written.final)
        if in_turn:
            spec = in_slabs(spec, slabs)
        else:
            done = spec.operations + sum(one.operations for chain in chains for one in in_order(chain))
            shared = is_shared(task.numbers / slabs, done / task.numbers)
            spec = in_piece(spec, shared=shared)
            chains = tuple(tuple(in_piece(one, shared=shared) for one in chain) for chain in chains)
        return replace(
            spec, starts=slabs, thickness=piece[axis], chains=chains, inputs=tuple(map(tuple, inputs.values())),
            slab_axis=axis, in_turn=in_turn, final=written.final, sums=(tuple(enumerate(inputs)),),
        )  # fmt: skip

    def thickness(self, shape: tuple[int, ...], window: Window, count: int) -> int:
        """Return the number of positions of an axis in a slab, for `count` intermediates of this shape."""
        numbers = math.prod(shape) // max(window.out_size, 1) * self.parts * count
        thickness = max(1, min(window.out_size, SLAB_BYTES // max(numbers * self.item, 1)))
        return max(thickness, min(window.out_size, window.taps))

    def grouped(
        self, terms: Terms, planes: Planes, reads: Iterable[Reads]
    ) -> tuple[tuple[tuple[Reads, ...], ...], tuple[tuple[Part, ...], ...]]:
        """Group terms with the same taps along the columns, whose vertical sums are added before the horizontal pass.

        Terms with a single tap along the columns, which need no horizontal pass, and long vertical boxes stay alone.
        """
        rows, columns = (self._position(axis) for axis in (planes.rows, planes.columns))
        groups: dict[object, list[Reads]] = {}
        for number, (source, t) in enumerate(reads):
            part = part_of(terms, t, rows, columns)
            if not part.rows or not part.columns:
                continue
            alone = part.columns < 2 or (part.row_box and part.rows >= STEP_ROWS)
            key = (number,) if alone or columns is None else terms.groups[t][columns]
            groups.setdefault(key, []).append((source, t))
        order = tuple(map(tuple, groups.values()))
        return order, tuple(tuple(part_of(terms, t, rows, columns) for _, t in group) for group in order)

    def _position(self, axis: Axis) -> int | None:
        return None if axis.window is None else [w.axis for w in self.problem.windows].index(axis.window.axis)

    def spec(self, task: Task, axes: Sequence[int], *, first: bool, last: bool) -> PassSpec:
        """Return the pass of a task, with the kernel that computes it."""
        problem = self.problem
        kernel, blocking = kernels.choose(task, self.target)
        read = math.prod(problem.shape) * problem.input_dtype.itemsize if first else 0
        written = problem.pixels * problem.output_dtype.itemsize if last else 0
        inside = (0 if first else task.count * task.sources * task.rows_read * task.reach) * self.item
        inside += (0 if last else task.numbers) * self.item
        steps, done = kernel.steps(task, blocking, self.target), operations(task, kernel.name, blocking)
        blocking = replace(blocking, shared=is_shared(task.numbers, done))
        return PassSpec(
            kernel.name, tuple(axes), task, blocking, steps, 1, read + written + inside, read + written,
            task.numbers * done,
        )  # fmt: skip


def _holds(problem: Problem, dtype: np.dtype[Any]) -> bool:
    """Return whether the (parts of) numbers of a dtype have the compute dtype, so that they are not converted."""
    parts = 2 if dtype.kind == "c" else 1
    return dtype.kind in "fc" and dtype.itemsize // parts == problem.real_dtype.itemsize and dtype.isnative


def _is_left(axis: Axis) -> bool:
    """Return whether windows along an axis extend beyond a constant boundary."""
    window = axis.window
    if window is None or window.boundary != Boundary.CONSTANT:
        return False
    return window.first < 0 or window.first + window.reach > axis.size_in


def _resized(shape: tuple[int, ...], window: Window, size: int) -> tuple[int, ...]:
    return (*shape[: window.axis], size, *shape[window.axis + 1 :])


def _split(reads: Sequence[Reads], present: Sequence[int]) -> list[list[Reads]]:
    """Split `reads` into those of values and, if there are any, those of the validity of samples."""
    kinds = sorted(set(present))
    return [[read for read, kind in zip(reads, present, strict=True) if kind == wanted] for wanted in kinds]
