"""Bind the passes of a plan to the memory layout of two arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.problem import Problem, Window
from ..lowering.chains import SHORT_ROWS
from ..lowering.layout import Axis, Layout, Planes, arrange, array_axes, nested_strides, restrict
from ..lowering.lower import lower
from ..lowering.shapes import cut
from ..lowering.spec import PassSpec, in_order
from ..lowering.target import STEP_ROWS
from ..lowering.task import plane_count
from ..lowering.terms import count_terms
from ..planning.facts import kernel_facts
from ..planning.operators import Factor, touched_taps, window_factor, without_subnormals
from . import pieces, short_rows, staging, volumes
from .buffers import INPUT, OUTPUT, Buffer, parts_of, resized, section
from .intrinsics.vectors import TARGET
from .kernels.nan_aware import AS_STORED, BOTH, PRESENCE, VALUES
from .launch import BoundCall, Step
from .long_rows import cut_parts
from .outer_axes import OuterAxis
from .pass_request import STREAM_BYTES
from .plane_pass import PlanePass
from .prepare import prepare_pass
from .tap_tables import PlaneTerm, PlaneWeights, build_program

Array = npt.NDArray[Any]

Normal = tuple[float, float, float]  # sum of the weights, least valid share of it, rounding of the share


def bind(
    problem: Problem,
    kernel: Any,
    divisor: float,
    source: Buffer,
    target: Buffer,
    thread_count: int,
    normal: Normal | None,
) -> BoundCall:
    """Bind the passes of dense weights (an array) or separable terms (a sequence) to a memory layout.

    `thread_count` is the number of threads; `normal` is given for NaN-aware convolutions.
    """
    if isinstance(kernel, np.ndarray):
        kernel = without_subnormals(kernel, problem.real_dtype)
        counts: Any = kernel_facts(kernel).weights(problem.footprint)
    else:
        real = problem.real_dtype
        kernel = [tuple(replace(f, taps=without_subnormals(f.taps, real)) for f in term) for term in kernel]
        counts = count_terms([[f.taps for f in term] for term in kernel], touched_taps(kernel))
    stored = replace(problem, input_dtype=source.dtype, output_dtype=target.dtype)
    layout = Layout(source.strides, target.strides)
    chain = lower(counts, stored, TARGET, layout, masked=normal is not None)
    binding = _Binding(stored, kernel, divisor, thread_count, normal)
    binding.launch.dtype, binding.launch.specs = problem.real_dtype, in_order(chain)
    binding.slabs(chain, source, target)
    return binding.launch


Chain = tuple[PassSpec, ...]
Filtered = tuple[int, dict[int, Factor]]
"""(Number of a stacked intermediate, mapping from axes to the taps that filter it along them)."""


@dataclass(slots=True, eq=False)
class _Binding:
    """Binds the passes of a kernel to memory."""

    problem: Problem
    kernel: Any
    divisor: float
    workers: int
    normal: Normal | None
    in_piece: bool = False
    launch: BoundCall = field(default_factory=BoundCall)

    def slabs(self, chain: Chain, source: Buffer, target: Buffer) -> None:
        """Bind all passes, slab by slab if strided columns are gathered into or scattered from a workspace."""
        names = [spec.kernel for spec in chain]
        sides = "gather" in names, "scatter" in names
        if not any(sides):
            self.chain(chain, 0, source, target, self.problem.windows)
            return
        storing = len(in_order(chain)) - 1
        filtering = chain[int(sides[0]) : len(chain) - int(sides[1])]
        for stage in staging.stages(self.problem, source, target, self.problem.windows, sides, self.workers):
            for number, nbytes in zip((staging.STAGED_IN, staging.STAGED_OUT), stage.nbytes, strict=True):
                if nbytes:
                    self._reserve(number, nbytes)
            if stage.load is not None:
                self.launch.steps.append(Step(stage.load, INPUT, staging.STAGED_IN, 0))
            self.chain(filtering, int(sides[0]), stage.source, stage.target, stage.windows)
            if stage.store is not None:
                self.launch.steps.append(Step(stage.store, staging.STAGED_OUT, OUTPUT, storing))

    @property
    def _real(self) -> np.dtype[Any]:
        return self.problem.real_dtype

    def _reserve(self, number: int, nbytes: int) -> None:
        """Reserve scratch memory for a buffer, which all slabs reuse."""
        self.launch.scratch[number] = max(self.launch.scratch.get(number, 0), nbytes + 64)

    def _position(self, window: Window) -> int:
        """Return the axis of the kernel that belongs to a window."""
        return [w.axis for w in self.problem.windows].index(window.axis)

    def chain(
        self, chain: Chain, number: int, source: Buffer, target: Buffer, windows: Sequence[Window]
    ) -> None:
        """Bind a chain of passes on a slab of the array; `number` is the index of its first pass in the plan."""
        spec = chain[0]
        if spec.chains:
            self._short_last_axis(spec, number, source, target, windows)
        elif spec.front is not None:
            self._volume(spec, number, source, target, windows)
        elif spec.members:
            self._intermediates(chain, number, source, target, windows)
        elif isinstance(self.kernel, np.ndarray):
            self._dense(spec, number, source, target, windows)
        else:
            self._last(spec, number, source, target, windows)

    def _dense(
        self, spec: PassSpec, number: int, source: Buffer, target: Buffer, windows: Sequence[Window]
    ) -> None:
        """Bind the pass of dense weights."""
        sparse = self.problem.footprint == "support"
        if spec.cut is not None or spec.kernel == SHORT_ROWS:  # a kernel of one axis is a single term
            factor = Factor(self.kernel, 0, self.kernel.size, sparse)
            terms: list[tuple[int, Factor]] = [(seen, factor) for seen in range(len(source.gains))]
            self._one_axis(spec, number, terms, source, target, windows[0])
            return
        planes = arrange(_axes(source, target, windows))
        position = {window.axis: i for i, window in enumerate(windows)}
        outer = [axis.window for axis in planes.outer if axis.window]
        inside = [axis.window for axis in (planes.rows, planes.columns) if axis.window]
        order = [position[w.axis] for w in (*outer, *inside)]
        ordered = self.kernel.transpose(order).reshape(
            *(w.taps for w in outer),
            planes.rows.window.taps if planes.rows.window else 1,
            planes.columns.window.taps if planes.columns.window else 1,
        )
        parts: list[PlaneWeights] = []
        sources: list[tuple[int, ...]] = []
        for index in np.ndindex(*ordered.shape[:-2]):
            if ordered[index].any() or not sparse:
                parts.append(PlaneWeights(len(parts), ordered[index], sparse))
                taps = iter(index)
                sources.append(tuple(next(taps) if axis.window else 0 for axis in planes.outer))
        sources = sources or [(0,) * len(planes.outer)]
        share: list[PlaneWeights] = []
        if source.seen:
            share = [replace(part, source=part.source + len(sources)) for part in parts]
            sources = 2 * sources
        self._pass(spec, number, planes, sources, parts, source, target, share)

    def _intermediates(
        self, chain: Chain, number: int, source: Buffer, target: Buffer, windows: Sequence[Window]
    ) -> None:
        """Bind a pass along an outer axis, slab by slab; the next passes read the slab while it is in cache."""
        spec, buffer = chain[0], 2 + number
        window = next(w for w in windows if w.axis == spec.axes[0])
        rest = [w for w in windows if w is not window]
        position = self._position(window)
        members = [(stacked, self.kernel[t][position]) for stacked, t in spec.members]
        shape = resized(source.shape, window.axis, window.out_size)
        thickness = min(spec.thickness, window.out_size)
        numbers = math.prod(resized(shape, window.axis, thickness)) * parts_of(source.dtype) * len(members)
        self._reserve(buffer, numbers * self._real.itemsize)
        for start in range(0, window.out_size, thickness):
            stop = min(start + thickness, window.out_size)
            slab = self._slab(buffer, resized(shape, window.axis, stop - start), source, members)
            part = restrict(window, start, stop)
            for i, (stacked, factor) in enumerate(members):
                made = replace(
                    slab, origin=i * slab.stack, gains=(1.0,), stack=0, presence=slab.presence[i : i + 1]
                )
                self._intermediate(spec, number, source, stacked, factor, part, made)
            self.chain(chain[1:], number + 1, slab, section(target, window.axis, start, stop), rest)

    def _volume(
        self, spec: PassSpec, number: int, source: Buffer, target: Buffer, windows: Sequence[Window]
    ) -> None:
        """Bind an outer axis, rows and columns as one pass, without an array for the intermediate result."""
        front = spec.front
        assert front is not None
        window = next(w for w in windows if w.axis == front.axes[0])
        ((stacked, t),) = front.members
        factor = self.kernel[t][self._position(window)]
        shape = resized(source.shape, window.axis, window.out_size)
        between = self._slab(-1, shape, source, [(stacked, factor)])
        made = replace(between, gains=(1.0,), stack=0)
        self._intermediate(front, number, source, stacked, factor, window, made)
        self._last(spec, number, between, target, [w for w in windows if w is not window])
        steps = self.launch.steps
        first, second = steps[-2].run, steps[-1].run
        assert isinstance(first, PlanePass)
        assert isinstance(second, PlanePass)
        steps[-2:] = [Step(volumes.join(first, second, spec.strip), source.index, target.index, number)]

    def _short_last_axis(
        self, spec: PassSpec, number: int, source: Buffer, target: Buffer, windows: Sequence[Window]
    ) -> None:
        """Bind a pass along a short last axis that follows the other axes, piece by piece."""
        if self.in_piece:
            self._piece(spec, number, source, target, windows)
            return
        divided = pieces.divide(spec, source, target, windows)
        if spec.in_turn:
            for kind in divided:
                for read, written in kind.arrays():
                    self._piece(spec, number, read, written, kind.windows)
            return
        made, last = [self._alone(spec, number, kind) for kind in divided], number + len(spec.in_order) - 1
        joined = pieces.join(made, (source.index, target.index), self.workers, shared=spec.blocking.shared)
        self.launch.steps.append(Step(joined, source.index, target.index, last, number))

    def _alone(self, spec: PassSpec, number: int, kind: pieces.Kind) -> pieces.Made:
        """Bind the passes of a piece for one thread."""
        launch = BoundCall()
        one = replace(self, launch=launch, workers=1, in_piece=True)
        one._piece(spec, number, kind.source, kind.target, kind.windows)
        return [(step.run, step.source, step.target) for step in launch.steps], launch.scratch, kind

    def _piece(
        self, spec: PassSpec, number: int, source: Buffer, target: Buffer, windows: Sequence[Window]
    ) -> None:
        """Bind the passes of a piece: along the other axes, and then along the short last axis."""
        window = next(w for w in windows if w.axis == spec.axes[0])
        rest = [w for w in windows if w is not window]
        at, own = self._position(window), number + len(spec.in_order) - 1
        dtype = self.problem.compute_dtype if source.dtype.kind == "c" else self._real
        gains = tuple(sum(source.gains[s] * self._gain(t, rest) for s, t in group) for group in spec.inputs)
        terms = [(i, self.kernel[t][at]) for i, t in spec.sums[0]]
        each = math.prod(target.shape) * parts_of(source.dtype)
        self._reserve(2 + own, each * len(terms) * self._real.itemsize)
        strides = nested_strides(target.shape, source.strides)
        slab = Buffer(2 + own, target.shape, strides, dtype, 0, gains, each, (False,) * len(terms))
        for i, chain in enumerate(spec.chains):
            made = replace(slab, origin=i * each, gains=gains[i : i + 1], presence=(False,), stack=0)
            self.chain(chain, number, source, made, rest)
            number += len(in_order(chain))
        self._one_axis(spec, own, terms, slab, target, window)

    def _gain(self, t: int, windows: Sequence[Window]) -> float:
        """Return the gain of a term for constant input along the axes of `windows`."""
        return math.prod(float(self.kernel[t][self._position(window)].taps.sum()) for window in windows)

    def _one_axis(
        self, spec: PassSpec, number: int, terms: Sequence[tuple[int, Factor]], source: Buffer, target: Buffer,
        window: Window,
    ) -> None:  # fmt: skip
        """Bind a pass along a single axis whose rows are short, or few and long."""
        if spec.kernel == SHORT_ROWS:
            constants = self._constants(source, len(source.gains), spec.final)
            factors = [(stacked, (factor,)) for stacked, factor in terms]
            large = self.problem.pixels * self.problem.output_dtype.itemsize >= STREAM_BYTES
            step = short_rows.prepare(
                self.problem, source, target, window, factors, constants, self.workers, shared=spec.blocking.shared,
                streamed=spec.final and large,
            )  # fmt: skip
            self.launch.steps.append(Step(step, source.index, target.index, number))
            return
        # rows of a slab may be divided differently than those of the whole array, or not at all
        found = cut(_axes(source, target, [window]), window)
        parts = cut_parts(source, target, window, found) if found else [(source, target, window)]
        for read, written, along in parts:
            filtered = [(stacked, {along.axis: factor}) for stacked, factor in terms]
            self._sum(spec, number, filtered, read, written, [along])

    def _slab(
        self, number: int, shape: tuple[int, ...], source: Buffer, members: Sequence[tuple[int, Factor]]
    ) -> Buffer:
        strides = nested_strides(shape, source.strides)
        gains = tuple(source.gains[stacked] * float(factor.taps.sum()) for stacked, factor in members)
        dtype = self.problem.compute_dtype if source.dtype.kind == "c" else self._real
        presence = tuple(source.presence[stacked] for stacked, _ in members)
        each = math.prod(shape) * parts_of(source.dtype)
        return Buffer(number, shape, strides, dtype, 0, gains, each, presence)

    def _intermediate(
        self, spec: PassSpec, number: int, source: Buffer, stacked: int, factor: Factor, window: Window,
        target: Buffer,
    ) -> None:  # fmt: skip
        origin, own = source.origin + stacked * source.stack, slice(stacked, stacked + 1)
        one = replace(source, origin=origin, gains=source.gains[own], presence=source.presence[own], stack=0)
        planes = arrange(_axes(one, target, [window]))
        rows = planes.rows.window is not None
        term = PlaneTerm(0, row=factor) if rows else PlaneTerm(0, column=factor)
        self._pass(spec, number, planes, [(0,) * len(planes.outer)], [[term]], one, target, ())

    def _last(
        self, spec: PassSpec, number: int, source: Buffer, target: Buffer, windows: Sequence[Window]
    ) -> None:
        """Bind the last pass, which adds all terms."""
        positions = {window.axis: self._position(window) for window in windows}
        if spec.cut is not None or spec.kernel == SHORT_ROWS:
            (at,) = positions.values()
            reads = [read for group in (*spec.sums, *spec.share) for read in group]
            terms = [(s, self.kernel[t][at]) for s, t in reads]
            self._one_axis(spec, number, terms, source, target, windows[0])
            return

        def factors(t: int) -> dict[int, Factor]:
            return {axis: self.kernel[t][at] for axis, at in positions.items()}

        parts, share = (
            [[(s, factors(t)) for s, t in group] for group in groups] for groups in (spec.sums, spec.share)
        )
        self._sum_groups(spec, number, parts, share, source, target, windows)

    def _sum(
        self, spec: PassSpec, number: int, terms: Sequence[Filtered], source: Buffer, target: Buffer,
        windows: Sequence[Window],
    ) -> None:  # fmt: skip
        """Bind a pass along one axis that adds terms, no two of which have the same taps."""
        parts = [[term] for term in terms if not source.presence[term[0]]]
        share = [[term] for term in terms if source.presence[term[0]]]
        self._sum_groups(spec, number, parts, share, source, target, windows)

    def _sum_groups(
        self, spec: PassSpec, number: int, parts: Sequence[Sequence[Filtered]],
        share: Sequence[Sequence[Filtered]], source: Buffer, target: Buffer, windows: Sequence[Window],
    ) -> None:  # fmt: skip
        """Bind a pass of groups of terms, each with its taps by axis."""
        planes, one = arrange(_axes(source, target, windows)), window_factor(np.ones(1))

        def term(stacked: int, factors: dict[int, Factor]) -> PlaneTerm:
            rows, columns = (
                factors[axis.window.axis] if axis.window else one for axis in (planes.rows, planes.columns)
            )
            return PlaneTerm(stacked, rows, columns)

        sums, shares = ([[term(*one) for one in group] for group in groups] for groups in (parts, share))
        zeros, stacked = (0,) * len(planes.outer), range(len(source.gains))
        sources = [(*zeros, s) for s in stacked] if source.stack else [zeros for _ in stacked]
        self._pass(spec, number, planes, sources, sums, source, target, shares)

    def _pass(
        self,
        spec: PassSpec,
        number: int,
        planes: Planes,
        sources: list[tuple[int, ...]],
        parts: Any,
        source: Buffer,
        target: Buffer,
        share: Any,
    ) -> None:
        """Bind a pass over planes that sums `parts`, and divides by the sums of `share` if there are any."""
        assert spec.task is not None
        task = replace(spec.task, planes=planes, count=plane_count(planes), sources=len(sources))
        program = build_program(parts, task.down.taps + STEP_ROWS - 1, planes.inner, self._real, share)
        final, views = spec.final and not spec.members, AS_STORED
        if source.seen:
            views = BOTH if final else PRESENCE if source.presence[0] else VALUES
        stacked: list[OuterAxis] = []
        if source.stack:
            offsets = np.arange(len(source.gains), dtype=np.int64)[None] * source.stack
            stacked.append(OuterAxis(offsets, np.zeros(1, np.int64)))
        prepared = prepare_pass(
            spec.kernel, task, spec.blocking, sources, stacked, program,
            origins=(source.origin, target.origin), dtype_in=source.dtype, dtype_out=target.dtype,
            compute=self._real, constants=self._constants(source, len(sources), final),
            cast=self.problem.cast, workers=self.workers, views=views, normal=self.normal or (),
        )  # fmt: skip
        self.launch.steps.append(Step(prepared, source.index, target.index, number))

    def _constants(self, source: Buffer, count: int, final: bool) -> Array:
        cval = self.problem.cval
        pattern = [cval.real, cval.imag] if source.dtype.kind == "c" else [cval.real]
        # For values and for validity; if the array holds both, kernels convert the boundary value like a sample.
        outside = (pattern, pattern)
        if self.normal is not None and not source.seen:
            missing = np.isnan(cval)
            outside = ([0.0], [0.0]) if missing else (pattern, [1.0])
        divisor = self.divisor if final else 1.0
        if not source.stack:
            gain = source.gains[0]
            return np.array([[divisor, *(gain * part for part in outside[source.presence[0]])]] * count)
        pairs = zip(source.gains, source.presence, strict=True)
        return np.array([[divisor, *(gain * part for part in outside[of])] for gain, of in pairs])


def _axes(source: Buffer, target: Buffer, windows: Sequence[Window]) -> list[Axis]:
    return array_axes(
        source.shape, target.shape, source.strides, target.strides, windows, parts_of(source.dtype)
    )
