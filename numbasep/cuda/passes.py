"""Lower a kernel on arrays of one shape to launches of the CUDA kernels: the passes and their intermediates.

Arrays are C-contiguous here, with complex numbers as a last axis of two.  Two filtered axes take one pass.  With more
axes, or more taps than fit the registers of a pass, intermediates in the type of the sums go through scratch memory,
and the last launch adds all terms.  Boundaries become tables of offsets (`arguments.boundary`): kernels have no modes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arguments.problem import Problem, Window
from ..planning.cuda_limits import MOST_STEP
from ..planning.operators import Factor, Term, support_factor, window_factor
from ..planning.routes_cuda import is_one_pass
from ..system.types import Array
from .intrinsics.vocabulary import ElementType
from .launches import INPUT, OUTPUT, Launcher, Program
from .tables import Operand, border_after, gain_of, grouped, merged, storage_of

ALIGNMENT = 64  # elements, so that every intermediate starts at a cache line


def build_program(
    problem: Problem,
    kernel: Array | Sequence[Term],
    divisor: float,
    repair: Array | None,
    *,
    multiprocessors: int,
    warps: int | None = None,
) -> Program:
    """Build the launches for dense weights or separable terms.

    Parameters
    ----------
    problem : Problem
        The filter's shapes, types, windows and boundaries; kernels are real.
    kernel : ndarray or sequence of Term
        Dense weights, with one axis for each window, or separable terms.
    divisor : float
        Divisor of the final sums.
    repair : ndarray or None
        Dense weights with which results that are not finite are recomputed.
    multiprocessors : int
        Multiprocessors of the device, which determine how many tasks occupy it.
    warps : int, optional
        Warps per block; 1 in the simulator.
    """
    parts = (2,) if problem.input_dtype.kind == "c" else ()
    code = problem.real_dtype.str[1:]
    source = Operand(INPUT, (*problem.shape, *parts), storage_of(problem.input_dtype), problem.cval.real)
    target = Operand(
        OUTPUT,
        (*problem.out_shape, *parts),
        storage_of(problem.output_dtype, saturate=problem.cast == "saturate"),
    )
    builder = _ProgramBuilder(code, divisor, repair, multiprocessors, warps)
    if isinstance(kernel, np.ndarray):
        sparse = problem.footprint == "support"
        builder.dense(kernel, source, target, problem.windows, sparse=sparse)
    else:
        builder.terms(list(kernel), source, target, problem.windows)
    return builder.program


@dataclass(slots=True, eq=False)
class _ProgramBuilder(Launcher):
    """Builder that decides on the passes of a program."""

    # ---------------------------------------------------------------------- which passes

    def terms(self, terms: list[Term], source: Operand, target: Operand, windows: Sequence[Window]) -> None:
        """Append the passes of a sum of separable terms."""
        terms = [term for term in terms if all(f.positions.size for f in term)]
        if not terms:  # no nonzero tap: the result is zero everywhere
            terms = [tuple(support_factor(np.zeros(w.taps)) for w in windows)]
        if len(windows) == 1:
            self._single(merged([term[0] for term in terms]), source, target, windows[0], self.divisor)
        elif is_one_pass(windows, len(terms), source.stride(windows[-1].axis)):
            self.plane(terms, source, target, windows, self.divisor)
        else:
            self._in_stages(terms, source, target, windows)

    def dense(
        self, weights: Array, source: Operand, target: Operand, windows: Sequence[Window], *, sparse: bool
    ) -> None:
        """Append the passes of a direct sum over dense weights."""
        factor = support_factor if sparse else window_factor
        if not windows:
            self.columns([(source, factor(weights.reshape(1)))], target, None, self.divisor)
        elif len(windows) == 1:
            self.terms([(factor(weights),)], source, target, windows)
        else:
            self.dense_planes(weights, source, target, windows, sparse=sparse)

    def _in_stages(
        self, terms: list[Term], source: Operand, target: Operand, windows: Sequence[Window]
    ) -> None:
        """Filter the innermost axes first, with an intermediate for each group of equal outer factors.

        If the innermost axes do not fit one pass, the groups share their innermost factor.  The last launch adds them.
        """
        size = 2 if len(windows) > 2 else 1
        groups = grouped(terms, lambda term: term[:-size] if size == 2 else term[-size:])
        inner = source.stride(windows[-1].axis)
        if size == 2 and not all(is_one_pass(windows[-2:], len(g), inner) for g in groups):
            size, groups = 1, grouped(terms, lambda term: term[-1:])
        inside, rest = windows[-size:], windows[:-size]
        gains = [sum(gain_of(term[-size:]) for term in (g if size == 2 else g[:1])) for g in groups]
        stages = []
        for members, stage in zip(groups, self._scratch([source] * len(groups), inside, gains), strict=True):
            if size == 2:
                self.plane([term[-2:] for term in members], source, stage, inside, 1.0)
                stages.append((stage, [members[0][:-2]]))
            else:
                self._single(members[0][-1], source, stage, inside[0], 1.0)
                stages.append((stage, [term[:-1] for term in members]))
        self._outer(stages, target, rest)

    def _outer(
        self, stages: list[tuple[Operand, list[Term]]], target: Operand, windows: Sequence[Window]
    ) -> None:
        """Filter the remaining axes, innermost first; the last launch sums over all intermediates."""
        while len(windows) > 1:
            work = [(stage, g) for stage, terms in stages for g in grouped(terms, lambda term: term[-1:])]
            gains = [gain_of(g[0][-1:]) for _, g in work]
            results = self._scratch([stage for stage, _ in work], windows[-1:], gains)
            for (stage, members), result in zip(work, results, strict=True):
                self._single(members[0][-1], stage, result, windows[-1], 1.0)
            stages = [
                (result, [term[:-1] for term in g]) for (_, g), result in zip(work, results, strict=True)
            ]
            windows = windows[:-1]
        parts = [(stage, merged([term[0] for term in terms])) for stage, terms in stages]
        if len(parts) == 1:
            self._single(parts[0][1], parts[0][0], target, windows[0], self.divisor)
        else:
            self.columns(parts, target, windows[0], self.divisor)

    def _single(
        self, factor: Factor, source: Operand, target: Operand, window: Window, divisor: float
    ) -> None:
        """Append a pass along one axis, by the kernel that suits its taps and stride."""
        if is_one_pass([window], 1, source.stride(window.axis)):
            self.plane([(factor,)], source, target, [window], divisor)
        elif source.stride(window.axis) <= MOST_STEP:
            self.lines(factor, source, target, window, divisor)
        else:
            self.columns([(source, factor)], target, window, divisor)

    def _scratch(
        self, sources: Sequence[Operand], windows: Sequence[Window], gains: Sequence[float]
    ) -> list[Operand]:
        """Allocate intermediates, stacked in one scratch buffer; `gains` multiply their boundary values."""
        shape = list(sources[0].shape)
        for window in windows:
            shape[window.axis] = window.out_size
        slot, storage, size = 2 + len(self.program.scratch), ElementType(self.code), math.prod(shape)
        size = -(-size // ALIGNMENT) * ALIGNMENT
        self.program.scratch[slot] = size * len(sources) * storage.itemsize
        return [
            Operand(slot, tuple(shape), storage, border_after(source.cval, gain), i * size)
            for i, (source, gain) in enumerate(zip(sources, gains, strict=True))
        ]
