"""The outputs that NaN and infinities affect in direct summation.

Those whose windows contain a NaN, or infinite products of both signs, are NaN; those with infinite products of one sign
are infinite.  They are found by a dilation or, if the kernel has zeros or weights of both signs, by FFT correlations of
zeros and ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...arguments.problem import Problem, Window
from ...lowering.layout import restrict
from ...planning import rounding
from ...planning.lines import transform_size
from ...planning.operators import Operator
from . import extended_input, overlap_save

Array = NDArray[Any]
Box = tuple[slice, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """The outputs that are affected by NaN and infinities."""

    box: Box
    """Part of the output that contains them; the arrays have its shape."""
    nan: Array
    """Whether each output is NaN."""
    positive: Array | None = None
    """Whether a product with an output's weights is +infinity; None without infinities."""
    negative: Array | None = None
    """Whether a product with an output's weights is -infinity; None without infinities."""

    def write(self, region: Array) -> None:
        """Set the marked outputs of `region`, which has the shape of `box`."""
        for value, mask in ((math.inf, self.positive), (-math.inf, self.negative), (math.nan, self.nan)):
            if mask is not None:
                np.copyto(region, value, where=mask)


class Marks:
    """Finds the outputs that are affected by given samples."""

    def __init__(self, operator: Operator, problem: Problem, workers: int) -> None:
        self._operator, self._problem, self._workers = operator, problem, workers
        weights = operator.weights
        self._window = problem.footprint == "window"
        self.full = self._window or bool(np.all(weights))
        self._one_sign = bool(np.all(weights > 0))

    def of(self, x: Array, nonfinite: Array) -> Marked:
        """Return the outputs affected by the samples of `x` marked in `nonfinite`, which are the non-finite ones."""
        box, windows, inside = self._box(nonfinite)
        return self.inside(x[inside], nonfinite[inside], windows, box)

    def inside(self, x: Array, nonfinite: Array, windows: dict[int, Window], box: Box = ()) -> Marked:
        """Return the affected outputs of `windows`, which are a part of those of the problem."""
        with np.errstate(invalid="ignore"):
            above, below = nonfinite & (x > 0), nonfinite & (x < 0)
        infinite = above | below
        nan = self._reached(nonfinite & ~infinite, windows)
        if not infinite.any():
            return Marked(box, nan)
        if self._one_sign:
            positive, negative = self._reached(above, windows), self._reached(below, windows)
        else:
            positive, negative = self._signed(above, below, windows)
            if self._window:  # an infinity times zero is NaN
                nan |= self._counted(infinite, 1 - self._operator.support, windows)
        nan |= positive & negative
        return Marked(box, nan, positive, negative)

    def _box(self, nonfinite: Array) -> tuple[Box, dict[int, Window], Box]:
        """Return the part of the output that is affected, the windows of its axes, and the input that they read."""
        windows = {window.axis: window for window in self._problem.windows}
        box: list[slice] = []
        inside: list[slice] = []
        for axis in range(nonfinite.ndim):
            line = np.asarray(nonfinite.any(axis=tuple(i for i in range(nonfinite.ndim) if i != axis)))
            everything = slice(0, line.size)
            if axis in windows:
                inside.append(everything)
                line = _dilated(line, 0, windows[axis])
            reached = np.flatnonzero(line)
            part = slice(int(reached[0]), int(reached[-1]) + 1) if reached.size else slice(0, 0)
            box.append(part)
            if axis in windows:
                windows[axis] = restrict(windows[axis], part.start, part.stop)
            else:
                inside.append(part)
        return tuple(box), windows, tuple(inside)

    def _reached(self, marks: Array, windows: dict[int, Window]) -> Array:
        """Return the outputs with a marked sample under a nonzero weight or, for footprint "window", any weight."""
        shape = tuple(windows[axis].out_size if axis in windows else n for axis, n in enumerate(marks.shape))
        if 0 in shape or not marks.any():
            return np.zeros(shape, bool)
        if not self.full:
            return self._counted(marks, self._operator.support, windows)
        for axis, window in windows.items():
            marks = _dilated(marks, axis, window)
        return marks

    def _signed(self, above: Array, below: Array, windows: dict[int, Window]) -> tuple[Array, Array]:
        """Return the outputs with a product of +infinity, and those with a product of -infinity."""
        count = self._sums((above | below).astype(np.int8), self._operator.support, windows)
        balance = self._sums(above.astype(np.int8) - below.astype(np.int8), self._operator.signs, windows)
        return count + balance > 1, count - balance > 1  # twice the numbers of these products

    def _counted(self, marks: Array, weights: Array, windows: dict[int, Window]) -> Array:
        return self._sums(marks, weights, windows) > 0.5

    def _sums(self, marks: Array, weights: Array, windows: dict[int, Window]) -> Array:
        """Correlate small integers with weights of 0, 1 and -1, accurately enough to be rounded."""
        shape = tuple(windows[axis].out_size if axis in windows else n for axis, n in enumerate(marks.shape))
        single = replace(
            self._problem,
            shape=marks.shape,
            out_shape=shape,
            windows=tuple(windows.values()),
            input_dtype=marks.dtype,
            output_dtype=np.dtype(np.float32),
            compute_dtype=np.dtype(np.float32),
            cval=0j,
        )
        double = replace(single, compute_dtype=np.dtype(np.float64))
        bound = rounding.transform_bound(single, *transform_size(single))
        problem = single if bound * weights.size < 0.1 else double
        sums = np.empty(shape, np.float32)
        overlap_save.correlate(marks, weights, problem, sums, self._workers)
        return sums


def _dilated(marks: Array, axis: int, window: Window) -> Array:
    """Return whether any sample of each window along an axis is marked, by doubling the length of runs."""
    reach = extended_input.reach(window, 0, window.out_size)
    shape = list(marks.shape)
    shape[axis] = window.reach
    reaches: Sequence[extended_input.Reach] = [
        reach if i == axis else extended_input.plain(0, n) for i, n in enumerate(marks.shape)
    ]
    seen = extended_input.gather(marks, reaches, shape, np.dtype(bool), 0)
    before = (slice(None),) * axis
    run = 1
    while run < window.taps:
        shift = min(run, window.taps - run)
        seen = seen[(*before, slice(None, -shift))] | seen[(*before, slice(shift, None))]
        run += shift
    return seen[(*before, slice(None, None, window.step))]
