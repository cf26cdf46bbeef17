"""The CPU backend: a plan's kernel on an array's memory layout, as a list of passes of the plane driver.

Up to two filtered axes are one pass.  With more, the outermost one is filtered first, slab by slab into
scratch memory that stays in cache, and the rest follows on the slab; terms that share taps along an axis share
that pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..kernels.simd import STEP_ROWS
from ..kernels.valid import AS_STORED, BOTH, PRESENCE, VALUES
from ..operators import (
    Factor,
    Operator,
    Term,
    split_terms,
    support_factor,
    window_factor,
    without_subnormals,
)  # fmt: skip
from ..problem import Problem, Window
from ..workspace import SLAB_BYTES
from . import long_rows, short_rows, staging, threads
from .launch import Launch
from .layout import Axis, OuterAxis, Planes, arrange, array_axes, restrict
from .planes import flat_memory
from .prepare import prepare_pass
from .program import PlaneTerm, PlaneWeights, build_program
from .slots import INPUT, OUTPUT, Slot, last_axes, parts_of, resized, strides_like

Array = npt.NDArray[Any]

Terms = list[tuple[int, Term]]  # each with the stacked intermediate that it filters
Normal = tuple[float, float, float]  # sum of the weights, least share that counts, rounding of the share


# --------------------------------------------------------------------------- entry points


def correlate(
    operator: Operator, problem: Problem, form: int | None, x: Array, y: Array, normal: Normal | None = None
) -> None:
    """Filter `x` into `y`, which must not overlap: with `operator.forms[form]`, or with the dense weights.

    `y` is native, real or complex like the result; shapes and types are those of the problem.  With `normal`, for real
    data and weights, NaN samples weigh nothing (`kernels.valid`).
    """
    if normal is not None:
        kernel, divisor = operator.undivided if form is None else operator.form_terms(form)
        normal = (normal[0] * divisor, *normal[1:])
        _launch(operator, problem, (form, "real"), kernel, divisor, x, y, normal)
        return
    if form is None:
        weights, divisor = operator.undivided
        halves = (weights.real, weights.imag) if weights.dtype.kind == "c" else (weights, None)
        _correlate_halves(operator, problem, None, halves, divisor, x, y)
        return
    terms, divisor = operator.form_terms(form)
    split = split_terms(terms) if any(f.taps.dtype.kind == "c" for t in terms for f in t) else (terms, None)
    _correlate_halves(operator, problem, form, split, divisor, x, y)


def _correlate_halves(
    operator: Operator,
    problem: Problem,
    form: int | None,
    halves: tuple[Any, Any],
    divisor: float,
    x: Array,
    y: Array,
) -> None:
    """The real kernel, and the imaginary one if there is one."""
    real, imaginary = halves
    if x.dtype.kind != "c" and y.dtype.kind == "c":
        _launch(operator, problem, (form, "real"), real, divisor, x, y.real)
        if imaginary is None:
            y.imag = 0
        else:
            _launch(operator, problem, (form, "imag"), imaginary, divisor, x, y.imag)
        return
    if imaginary is None:
        launch = _launch(operator, problem, (form, "real"), real, divisor, x, y)
        first = launch.steps[0][0]
        if (
            len(launch.steps) == 1
            and not isinstance(first, staging.Move)
            and first.small
            and x.flags.c_contiguous
            and y.flags.c_contiguous
        ):
            operator.small[form] = first.run_small
        return
    # four sums, each in the type that they are computed in, before any are subtracted
    turned = np.empty_like(y, dtype=problem.compute_dtype)
    total = y if y.dtype == turned.dtype else np.empty_like(turned)
    _launch(operator, problem, (form, "real"), real, divisor, x, total)
    _launch(operator, problem, (form, "imag"), imaginary, divisor, x, turned)
    np.subtract(total.real, turned.imag, out=y.real, casting="same_kind")
    np.add(total.imag, turned.real, out=y.imag, casting="same_kind")


def _launch(
    operator: Operator,
    problem: Problem,
    part: tuple[int | None, str],
    kernel: Any,
    divisor: float,
    x: Array,
    y: Array,
    normal: Normal | None = None,
) -> Launch:
    wished = threads.thread_count(problem.workers)
    key = (part, x.strides, y.strides, y.dtype, wished, normal)  # the operator belongs to one problem
    flat_x, origin_x = flat_memory(x)
    flat_y, origin_y = flat_memory(y)
    launch = operator.launches.get(key)
    if launch is None:
        source = Slot(INPUT, x.shape, _strides(x), x.dtype, origin_x)
        if normal is not None:
            source = replace(source, gains=(1.0, 1.0), presence=(False, True), seen=True)
        target = Slot(OUTPUT, y.shape, _strides(y), y.dtype, origin_y)
        launch = _Preparation(problem, divisor, wished, normal).prepare(kernel, source, target)
        if len(operator.launches) >= 16:
            operator.launches.clear()
        operator.launches[key] = launch
    launch(flat_x, flat_y)
    return launch


def _strides(array: Array) -> tuple[int, ...]:
    return tuple(stride // array.itemsize for stride in array.strides)


# --------------------------------------------------------------------------- preparation


@dataclass(slots=True, eq=False)
class _Preparation:
    """Turns one kernel on one layout into passes."""

    problem: Problem
    divisor: float
    workers: int
    normal: Normal | None
    launch: Launch = field(default_factory=Launch)

    def prepare(self, kernel: Any, source: Slot, target: Slot) -> Launch:
        """Passes for dense weights (an array) or separable terms (a sequence)."""
        self.launch.dtype = self.problem.real_dtype
        windows = self.problem.windows
        sides = staging.is_strided(arrange(_axes(source, target, windows)))
        large = math.prod(target.shape) >= staging.LEAST
        if (
            not any(sides)
            or not large
            or len(windows) > last_axes(source, windows)
            or self.normal is not None
        ):
            self._filter(kernel, source, target, windows)
            return self.launch
        for stage in staging.stages(self.problem, source, target, windows, sides, self.workers):
            for number, nbytes in zip((staging.STAGED_IN, staging.STAGED_OUT), stage.nbytes, strict=True):
                if nbytes:
                    self.launch.scratch[number] = max(self.launch.scratch.get(number, 0), nbytes + 64)
            if stage.load is not None:
                self.launch.steps.append((stage.load, INPUT, staging.STAGED_IN))
            self._filter(kernel, stage.source, stage.target, stage.windows)
            if stage.store is not None:
                self.launch.steps.append((stage.store, staging.STAGED_OUT, OUTPUT))
        return self.launch

    def _filter(self, kernel: Any, source: Slot, target: Slot, windows: Sequence[Window]) -> None:
        if isinstance(kernel, np.ndarray):
            self._dense(without_subnormals(kernel, self._real), source, target, windows)
            return
        terms = [tuple(replace(f, taps=without_subnormals(f.taps, self._real)) for f in t) for t in kernel]
        self._terms([(s, t) for s in range(len(source.gains)) for t in terms], source, target, windows)

    @property
    def _real(self) -> np.dtype[Any]:
        return self.problem.real_dtype

    def _dense(self, weights: Array, source: Slot, target: Slot, windows: Sequence[Window]) -> None:
        sparse = self.problem.footprint == "support"
        if len(windows) == 1:
            factor = Factor(weights, 0, weights.size, sparse)
            terms: Terms = [(seen, (factor,)) for seen in range(len(source.gains))]
            if self._one_axis(terms, source, target, windows[0], final=True):
                return
        planes = arrange(_axes(source, target, windows))
        position = {window.axis: i for i, window in enumerate(windows)}
        outer = [axis.window for axis in planes.outer if axis.window]
        inside = [axis.window for axis in (planes.rows, planes.columns) if axis.window]
        order = [position[w.axis] for w in (*outer, *inside)]
        ordered = weights.transpose(order).reshape(
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
        self._pass(planes, sources, parts, source, target, share, final=True)

    def _terms(
        self, terms: Terms, source: Slot, target: Slot, windows: Sequence[Window], *, final: bool = True
    ) -> None:
        """`terms` pairs a stacked intermediate of `source` with the factors that are still to do."""
        if len(windows) > 1 and self._peel(terms, source, target, windows, final=final):
            return
        if len(windows) <= last_axes(source, windows):
            self._last_pass(terms, source, target, windows, final=final)
            return
        first = max(range(len(windows)), key=lambda j: abs(source.strides[windows[j].axis]))
        window = windows[first]
        rest = [w for j, w in enumerate(windows) if j != first]
        groups: dict[Any, int] = {}
        members: list[tuple[int, Factor]] = []
        moved: Terms = []
        for stacked, term in terms:
            factor = term[first]
            key = (stacked, factor.taps.tobytes(), factor.start, factor.stop, factor.sparse)
            if key not in groups:
                groups[key] = len(members)
                members.append((stacked, factor))
            moved.append((groups[key], term[:first] + term[first + 1 :]))
        if not members:
            members.append((0, support_factor(np.zeros(window.taps))))
        number = 1 + len(windows)  # one buffer for each axis that is left: slabs take turns
        shape = resized(source.shape, window.axis, window.out_size)
        parts = parts_of(source.dtype)
        per_position = (
            math.prod(shape) // max(window.out_size, 1) * parts * len(members) * self._real.itemsize
        )
        thick = max(1, min(window.out_size, SLAB_BYTES // max(per_position, 1)))
        thick = max(thick, min(window.out_size, window.taps))
        self.launch.scratch[number] = max(self.launch.scratch.get(number, 0), thick * per_position + 64)
        for start in range(0, window.out_size, thick):
            stop = min(start + thick, window.out_size)
            slab = self._slab(number, resized(shape, window.axis, stop - start), source, members)
            part = restrict(window, start, stop)
            for i, (stacked, factor) in enumerate(members):
                self._intermediate(source, stacked, factor, part, replace(slab, origin=i * slab.stack))
            step = start * target.strides[window.axis] * parts_of(target.dtype)
            piece = replace(
                target, shape=resized(target.shape, window.axis, stop - start), origin=target.origin + step
            )
            self._terms(moved, slab, piece, rest, final=final)

    def _peel(
        self, terms: Terms, source: Slot, target: Slot, windows: Sequence[Window], *, final: bool
    ) -> bool:
        """Filter a short last axis on its own, behind the others."""
        if self.normal is not None:
            return False
        part = None
        for part in short_rows.peel(self.problem, terms, source, target, windows):
            number = part.slab.index
            self.launch.scratch[number] = max(self.launch.scratch.get(number, 0), part.nbytes)
            for i, group in enumerate(part.groups):
                self._terms(group, part.source, part.intermediate(i), part.windows, final=False)
            self._last_pass(part.terms, part.slab, part.target, [part.window], final=final)
        return part is not None

    def _slab(
        self, number: int, shape: tuple[int, ...], source: Slot, members: Sequence[tuple[int, Factor]]
    ) -> Slot:
        strides = strides_like(source.strides, shape)
        gains = tuple(source.gains[stacked] * float(factor.taps.sum()) for stacked, factor in members)
        dtype = self.problem.compute_dtype if source.dtype.kind == "c" else self._real
        presence = tuple(source.presence[stacked] for stacked, _ in members)
        return Slot(
            number, shape, strides, dtype, 0, gains, math.prod(shape) * parts_of(source.dtype), presence
        )

    def _intermediate(self, source: Slot, stacked: int, factor: Factor, window: Window, target: Slot) -> None:
        one = replace(
            source,
            origin=source.origin + stacked * source.stack,
            gains=source.gains[stacked : stacked + 1],
            presence=source.presence[stacked : stacked + 1],
            stack=0,
        )
        if self._one_axis([(0, (factor,))], one, target, window, final=False):
            return
        planes = arrange(_axes(one, target, [window]))
        rows = planes.rows.window is not None
        term = PlaneTerm(0, row=factor) if rows else PlaneTerm(0, column=factor)
        self._pass(planes, [(0,) * len(planes.outer)], [term], one, target, (), final=False)

    def _one_axis(self, terms: Terms, source: Slot, target: Slot, window: Window, *, final: bool) -> bool:
        """Filter rows that are short or few, if they are."""
        if self.normal is None:
            constants = self._constants(source, len(source.gains), final)
            step = short_rows.prepare(self.problem, source, target, window, terms, constants, self.workers)
            if step is not None:
                self.launch.steps.append((step, source.index, target.index))
                return True
        part = None
        for part in long_rows.cut(source, target, window):
            self._last_pass(terms, part[0], part[1], [part[2]], final=final)
        return part is not None

    def _last_pass(
        self, terms: Terms, source: Slot, target: Slot, windows: Sequence[Window], *, final: bool
    ) -> None:
        if len(windows) == 1 and self._one_axis(terms, source, target, windows[0], final=final):
            return
        planes = arrange(_axes(source, target, windows))
        position = {window.axis: i for i, window in enumerate(windows)}
        one = window_factor(np.ones(1))

        def factor(term: Term, axis: Axis) -> Factor:
            return term[position[axis.window.axis]] if axis.window else one

        parts: tuple[list[PlaneTerm], list[PlaneTerm]] = ([], [])  # of the sums, of the share
        for s, t in terms:
            parts[source.presence[s]].append(PlaneTerm(s, factor(t, planes.rows), factor(t, planes.columns)))
        zeros = (0,) * len(planes.outer)
        stacked = range(len(source.gains))
        sources = [(*zeros, s) for s in stacked] if source.stack else [zeros for _ in stacked]
        self._pass(planes, sources, parts[0], source, target, parts[1], final=final)

    def _pass(
        self,
        planes: Planes,
        sources: list[tuple[int, ...]],
        parts: list[Any],
        source: Slot,
        target: Slot,
        share: Sequence[Any],
        *,
        final: bool,
    ) -> None:
        taps = planes.rows.window.taps if planes.rows.window else 1
        program = build_program(parts, taps + STEP_ROWS - 1, planes.inner, self._real, share)
        views = AS_STORED
        if source.seen:
            views = BOTH if final else PRESENCE if source.presence[0] else VALUES
        stacked: list[OuterAxis] = []
        if source.stack:
            offsets = np.arange(len(source.gains), dtype=np.int64)[None] * source.stack
            stacked.append(OuterAxis(offsets, np.zeros(1, np.int64)))
        prepared = prepare_pass(
            planes, sources, stacked, program,
            origins=(source.origin, target.origin), dtype_in=source.dtype, dtype_out=target.dtype,
            compute=self._real, constants=self._constants(source, len(sources), final),
            cast=self.problem.cast, workers=self.workers, views=views, normal=self.normal or (),
            read_next=not final,
        )  # fmt: skip
        self.launch.steps.append((prepared, source.index, target.index))

    def _constants(self, source: Slot, count: int, final: bool) -> Array:
        cval = self.problem.cval
        pattern = [cval.real, cval.imag] if source.dtype.kind == "c" else [cval.real]
        outside = (
            pattern,
            pattern,
        )  # of values, of their presence; those of a seen array are turned like its samples
        if self.normal is not None and not source.seen:
            missing = np.isnan(cval)
            outside = ([0.0], [0.0]) if missing else (pattern, [1.0])
        divisor = self.divisor if final else 1.0
        if not source.stack:
            gain = source.gains[0]
            return np.array([[divisor, *(gain * part for part in outside[source.presence[0]])]] * count)
        pairs = zip(source.gains, source.presence, strict=True)
        return np.array([[divisor, *(gain * part for part in outside[of])] for gain, of in pairs])


def _axes(source: Slot, target: Slot, windows: Sequence[Window]) -> list[Axis]:
    return array_axes(
        source.shape, target.shape, source.strides, target.strides, windows, parts_of(source.dtype)
    )
