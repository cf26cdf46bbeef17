"""The CPU backend: binds the passes of a plan to the memory of two arrays, and runs them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..facts import kernel_facts
from ..kernels.simd import TARGET
from ..kernels.valid import AS_STORED, BOTH, PRESENCE, VALUES
from ..lowering.layout import Axis, Layout, Planes, arrange, array_axes, nested_strides, restrict
from ..lowering.lower import PassSpec, lower
from ..lowering.target import STEP_ROWS
from ..lowering.task import plane_count
from ..lowering.terms import count_terms
from ..operators import Factor, Operator, split_terms, touched_taps, window_factor, without_subnormals
from ..problem import Problem, Window
from . import staging, threads
from .launch import Launch, Step
from .outer import OuterAxis
from .planes import PlanePass, flat_memory
from .prepare import prepare_pass
from .program import PlaneTerm, PlaneWeights, build_program
from .slots import INPUT, OUTPUT, Slot, parts_of, resized

Array = npt.NDArray[Any]

Normal = tuple[float, float, float]  # sum of the weights, least share that counts, rounding of the share


# --------------------------------------------------------------------------- entry points


def correlate(
    operator: Operator, problem: Problem, form: int | None, x: Array, y: Array, normal: Normal | None = None
) -> None:
    """Filter `x` into `y`, which must not overlap: with `operator.forms[form]`, or with the dense weights.

    `y` is real or complex like the result; shapes and types are those of the problem.  With `normal`, for real
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
        first = launch.steps[0].run
        if (
            len(launch.steps) == 1
            and isinstance(first, PlanePass)
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
        launch = bind(problem, kernel, divisor, source, target, wished, normal)
        if len(operator.launches) >= 16:
            operator.launches.clear()
        operator.launches[key] = launch
    launch(flat_x, flat_y)
    return launch


def _strides(array: Array) -> tuple[int, ...]:
    return tuple(stride // array.itemsize for stride in array.strides)


# --------------------------------------------------------------------------- binding


def bind(
    problem: Problem,
    kernel: Any,
    divisor: float,
    source: Slot,
    target: Slot,
    wished: int,
    normal: Normal | None,
) -> Launch:
    """The passes of dense weights (an array) or separable terms (a sequence), bound to one memory layout."""
    if isinstance(kernel, np.ndarray):
        kernel = without_subnormals(kernel, problem.real_dtype)
        counts: Any = kernel_facts(kernel).weights(problem.footprint)
    else:
        real = problem.real_dtype
        kernel = [tuple(replace(f, taps=without_subnormals(f.taps, real)) for f in term) for term in kernel]
        counts = count_terms([[f.taps for f in term] for term in kernel], touched_taps(kernel))
    stored = replace(problem, input_dtype=source.dtype, output_dtype=target.dtype)
    layout = Layout(source.strides, target.strides)
    specs = lower(counts, stored, TARGET, layout, masked=normal is not None)
    binding = _Binding(stored, specs, kernel, divisor, wished, normal)
    binding.launch.dtype, binding.launch.specs = problem.real_dtype, specs
    binding.slabs(source, target)
    return binding.launch


@dataclass(slots=True, eq=False)
class _Binding:
    """Binds the passes of one kernel to memory."""

    problem: Problem
    specs: tuple[PassSpec, ...]
    kernel: Any
    divisor: float
    workers: int
    normal: Normal | None
    launch: Launch = field(default_factory=Launch)

    def slabs(self, source: Slot, target: Slot) -> None:
        """All passes; slab by slab if columns are brought together first."""
        names = [spec.kernel for spec in self.specs]
        sides = "gather" in names, "scatter" in names
        if not any(sides):
            self.level(int(sides[0]), source, target, self.problem.windows)
            return
        filtering, storing = int(sides[0]), len(names) - 1
        for stage in staging.stages(self.problem, source, target, self.problem.windows, sides, self.workers):
            for number, nbytes in zip((staging.STAGED_IN, staging.STAGED_OUT), stage.nbytes, strict=True):
                if nbytes:
                    self.launch.scratch[number] = max(self.launch.scratch.get(number, 0), nbytes + 64)
            if stage.load is not None:
                self.launch.steps.append(Step(stage.load, INPUT, staging.STAGED_IN, 0))
            self.level(filtering, stage.source, stage.target, stage.windows)
            if stage.store is not None:
                self.launch.steps.append(Step(stage.store, staging.STAGED_OUT, OUTPUT, storing))

    @property
    def _real(self) -> np.dtype[Any]:
        return self.problem.real_dtype

    def level(self, at: int, source: Slot, target: Slot, windows: Sequence[Window]) -> None:
        """Pass `at` and those behind it, on a slab of the array."""
        if isinstance(self.kernel, np.ndarray):
            self._dense(at, source, target, windows)
        elif self.specs[at].members:
            self._intermediates(at, source, target, windows)
        else:
            self._last(at, source, target, windows)

    def _dense(self, at: int, source: Slot, target: Slot, windows: Sequence[Window]) -> None:
        planes = arrange(_axes(source, target, windows))
        sparse = self.problem.footprint == "support"
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
        self._pass(at, planes, sources, parts, source, target, share)

    def _intermediates(self, at: int, source: Slot, target: Slot, windows: Sequence[Window]) -> None:
        """An outer axis, a slab at a time; the passes behind it follow on the slab."""
        spec, number = self.specs[at], 2 + at
        window = next(w for w in windows if w.axis == spec.axes[0])
        rest = [w for w in windows if w is not window]
        position = [w.axis for w in self.problem.windows].index(window.axis)
        members = [(stacked, self.kernel[t][position]) for stacked, t in spec.members]
        shape = resized(source.shape, window.axis, window.out_size)
        thick = min(spec.thick, window.out_size)
        numbers = math.prod(resized(shape, window.axis, thick)) * parts_of(source.dtype) * len(members)
        nbytes = numbers * self._real.itemsize + 64
        self.launch.scratch[number] = max(self.launch.scratch.get(number, 0), nbytes)
        for start in range(0, window.out_size, thick):
            stop = min(start + thick, window.out_size)
            slab = self._slab(number, resized(shape, window.axis, stop - start), source, members)
            part = restrict(window, start, stop)
            for i, (stacked, factor) in enumerate(members):
                made = replace(
                    slab, origin=i * slab.stack, gains=(1.0,), stack=0, presence=slab.presence[i : i + 1]
                )
                self._intermediate(at, source, stacked, factor, part, made)
            step = start * target.strides[window.axis] * parts_of(target.dtype)
            piece = replace(
                target, shape=resized(target.shape, window.axis, stop - start), origin=target.origin + step
            )
            self.level(at + 1, slab, piece, rest)

    def _slab(
        self, number: int, shape: tuple[int, ...], source: Slot, members: Sequence[tuple[int, Factor]]
    ) -> Slot:
        strides = nested_strides(shape, source.strides)
        gains = tuple(source.gains[stacked] * float(factor.taps.sum()) for stacked, factor in members)
        dtype = self.problem.compute_dtype if source.dtype.kind == "c" else self._real
        presence = tuple(source.presence[stacked] for stacked, _ in members)
        return Slot(
            number, shape, strides, dtype, 0, gains, math.prod(shape) * parts_of(source.dtype), presence
        )

    def _intermediate(
        self, at: int, source: Slot, stacked: int, factor: Factor, window: Window, target: Slot
    ) -> None:
        one = replace(
            source,
            origin=source.origin + stacked * source.stack,
            gains=source.gains[stacked : stacked + 1],
            presence=source.presence[stacked : stacked + 1],
            stack=0,
        )
        planes = arrange(_axes(one, target, [window]))
        rows = planes.rows.window is not None
        term = PlaneTerm(0, row=factor) if rows else PlaneTerm(0, column=factor)
        self._pass(at, planes, [(0,) * len(planes.outer)], [[term]], one, target, ())

    def _last(self, at: int, source: Slot, target: Slot, windows: Sequence[Window]) -> None:
        planes = arrange(_axes(source, target, windows))
        position = {window.axis: i for i, window in enumerate(self.problem.windows)}
        one = window_factor(np.ones(1))

        def part(stacked: int, t: int) -> PlaneTerm:
            rows, columns = (
                self.kernel[t][position[axis.window.axis]] if axis.window else one
                for axis in (planes.rows, planes.columns)
            )
            return PlaneTerm(stacked, rows, columns)

        spec, zeros = self.specs[at], (0,) * len(planes.outer)
        parts, share = (
            [[part(*read) for read in group] for group in groups] for groups in (spec.sums, spec.share)
        )
        stacked = range(len(source.gains))
        sources = [(*zeros, s) for s in stacked] if source.stack else [zeros for _ in stacked]
        self._pass(at, planes, sources, parts, source, target, share)

    def _pass(
        self,
        at: int,
        planes: Planes,
        sources: list[tuple[int, ...]],
        parts: Any,
        source: Slot,
        target: Slot,
        share: Any,
    ) -> None:
        spec = self.specs[at]
        assert spec.task is not None
        task = replace(spec.task, planes=planes, count=plane_count(planes), sources=len(sources))
        program = build_program(parts, task.down.taps + STEP_ROWS - 1, planes.inner, self._real, share)
        final, views = not spec.members, AS_STORED
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
            read_next=not final,
        )  # fmt: skip
        self.launch.steps.append(Step(prepared, source.index, target.index, at))

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
