"""Gathers strided columns slab by slab, so that filters run in cache, and scatters the result.

Kernels are fastest on adjacent columns.  Where columns are not adjacent (every other column, one colour channel, the
real part of complex numbers, a mirrored image), a slab of the input is copied to scratch memory with its halo and
filtered there.  Likewise, the result is computed in scratch memory and copied to an output with strided columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.boundary import OUTSIDE, Boundary, source_index
from ..arguments.problem import Problem, Window
from ..lowering.chains import COPIED
from ..lowering.layout import restrict
from . import threads
from .buffers import Buffer, parts_of, resized
from .kernels import strided_columns
from .kernels.table_entries import OUTSIDE_PLANE
from .plane_pass import storage_of

Array = npt.NDArray[Any]

STAGED_IN, STAGED_OUT = 100, 101  # scratch buffers; intermediates use smaller numbers
# Size of a slab: small enough for the shared cache, large enough for non-temporal stores.
STAGE_BYTES = 9 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """Prepared copy of rows, which is a step of a launch, like a pass."""

    kernel: Any
    """Address of the kernel that copies a row."""
    starts: Array
    """Element of the source where each row begins, or OUTSIDE_PLANE."""
    targets: Array
    """Element of the target where each row begins."""
    sizes: Array
    """Columns, adjacent elements of each, and their stride on the strided side: see `cpu.kernels.strided_columns`."""
    constants: Array
    """Boundary value."""
    threads: int
    """Number of threads that share the rows."""
    workspace: int = 0
    """Bytes of scratch memory that a call uses."""

    def __call__(self, x: Array, y: Array) -> None:
        """Copy from `x` to `y`, the flat memory of both arrays."""
        arguments = (self.kernel, x, y, self.starts, self.targets, self.sizes, self.constants)
        if self.threads == 1:
            strided_columns.move_serial(*arguments)
            return
        with threads.parallel_region(self.threads):
            strided_columns.move_parallel(*arguments)


@dataclass(frozen=True, slots=True)
class Stage:
    """Filter of a slab, with the copies before and after it."""

    load: Move | None
    """Copy of the input to adjacent columns, if any."""
    source: Buffer
    """Input of the filter."""
    target: Buffer
    """Output of the filter."""
    windows: tuple[Window, ...]
    """Windows of the filtered axes."""
    store: Move | None
    """Copy of the result to strided columns, if any."""
    nbytes: tuple[int, int]
    """Bytes of scratch memory for the copies of input and output."""


def stages(
    problem: Problem,
    source: Buffer,
    target: Buffer,
    windows: Sequence[Window],
    sides: tuple[bool, bool],
    workers: int,
) -> Iterator[Stage]:
    """Yield the slabs of a filter along up to two axes, in order.

    Parameters
    ----------
    problem : Problem
        Types and boundary value.
    source, target : Buffer
        Input and output.
    windows : sequence of Window
        Windows of the filtered axes.
    sides : tuple of bool
        Whether the input is copied, and whether the output is copied.
    workers : int
        Number of threads.
    """
    real_axes = [
        axis for axis, sizes in enumerate(zip(source.shape, target.shape, strict=True)) if sizes != (1, 1)
    ]
    order = sorted(real_axes, key=lambda axis: -abs(source.strides[axis]))
    axis = order[0]
    window = next((w for w in windows if w.axis == axis), None)
    halo, step = (window.taps - 1, window.step) if window else (0, 1)
    long = target.shape[axis]
    real = problem.real_dtype
    compute = problem.compute_dtype if source.dtype.kind == "c" else real
    position = math.prod(resized(source.shape, axis, 1)) * compute.itemsize
    share = math.prod(source.shape) * source.dtype.itemsize // 8
    most = min(STAGE_BYTES, max(share, STAGE_BYTES // 16))
    thickness = min(long, max(most // max(position, 1), 4 * halo, 1) // step or 1)
    for start in range(0, long, thickness):
        count = min(thickness, long - start)
        load = store = None
        nbytes = [0, 0]
        if window is None:
            positions = list(range(start, start + count))
        else:
            part = restrict(window, start, start + count)
            positions = [
                source_index(i, window.size, int(window.boundary))
                for i in range(part.first, part.first + part.reach)
            ]
        slab = _lines_adjacent(source, axis, len(positions), order, compute, STAGED_IN)
        piece = replace(
            target, shape=resized(target.shape, axis, count),
            origin=target.origin + start * target.strides[axis] * parts_of(target.dtype),
        )  # fmt: skip
        staged = windows
        if sides[0]:
            load = _load(problem, source, slab, axis, order, positions, workers)
            nbytes[0] = math.prod(slab.shape) * compute.itemsize
            staged = [_inside(w, len(positions), count) if w.axis == axis else w for w in windows]
        else:
            slab = source if window else replace(
                source, shape=resized(source.shape, axis, count),
                origin=source.origin + start * source.strides[axis] * parts_of(source.dtype),
            )  # fmt: skip
            staged = [restrict(w, start, start + count) if w.axis == axis else w for w in windows]
        result = piece
        if sides[1]:
            result = _lines_adjacent(piece, axis, count, order, target.dtype, STAGED_OUT)
            store = _store(problem, result, piece, order, workers)
            nbytes[1] = math.prod(result.shape) * target.dtype.itemsize
        yield Stage(load, slab, result, tuple(staged), store, (nbytes[0], nbytes[1]))


def _inside(window: Window, size: int, out_size: int) -> Window:
    """Return the window for a slab that contains its halo, so that no boundary is reached."""
    return replace(window, size=size, out_size=out_size, first=0, boundary=Boundary.NEAREST)


def _lines_adjacent(
    like: Buffer, axis: int, size: int, order: Sequence[int], dtype: np.dtype[Any], index: int
) -> Buffer:
    """Return a contiguous buffer shaped as `like`, but with `size` along `axis`; `order` is outermost axis first."""
    shape = resized(like.shape, axis, size)
    strides, step = [math.prod(shape)] * len(shape), 1
    for i in reversed(order):
        strides[i] = step
        step *= shape[i]
    return Buffer(index, shape, tuple(strides), dtype)


def _lines(
    slot: Buffer, other: Buffer, order: Sequence[int], along: tuple[Array, Array] | None
) -> tuple[Array, Array, int, int, int, int]:
    """Return the rows of two buffers of one shape: starts of both, columns, adjacent elements, column strides of both.

    `along` has the offsets of both along the outermost axis, if these are not evenly spaced.
    """
    parts = parts_of(slot.dtype)
    axes = list(order)
    inner = parts
    while len(axes) > 1 and slot.strides[axes[-1]] * parts == other.strides[axes[-1]] * parts == inner:
        inner *= slot.shape[axes.pop()]
    columns, steps = 1, (inner, inner)
    if len(axes) > 1:
        last = axes.pop()
        columns, steps = slot.shape[last], (slot.strides[last] * parts, other.strides[last] * parts)
    starts = []
    for side, one in enumerate((slot, other)):
        if along is None:
            total = one.origin + np.arange(one.shape[axes[0]]) * (one.strides[axes[0]] * parts)
        else:
            total = along[side]
        for axis in axes[1:]:
            total = np.add.outer(total, np.arange(one.shape[axis]) * (one.strides[axis] * parts))
        starts.append(total.reshape(-1).astype(np.int64))
    return starts[0], starts[1], columns, inner, steps[0], steps[1]


def _load(
    problem: Problem,
    source: Buffer,
    slab: Buffer,
    axis: int,
    order: Sequence[int],
    positions: Sequence[int],
    workers: int,
) -> Move:
    """Return the copy of input `positions` along `axis` to a slab."""
    step = source.strides[axis] * parts_of(source.dtype)
    along = np.array([source.origin + max(p, 0) * step for p in positions], np.int64)
    there = np.arange(len(positions), dtype=np.int64) * slab.strides[axis] * parts_of(slab.dtype)
    whole = replace(source, shape=slab.shape)
    starts, targets, columns, inner, stride, _ = _lines(whole, slab, order, (along, there))
    outside = np.repeat(np.array(positions) == OUTSIDE, starts.size // max(len(positions), 1))
    starts[outside] = OUTSIDE_PLANE
    real, cval = problem.real_dtype, problem.cval
    kernel = strided_columns.gatherer(storage_of(source.dtype), storage_of(real))
    pattern = [cval.real, cval.imag] if slab.dtype.kind == "c" else [cval.real]
    return Move(
        strided_columns.move_address(kernel, real), starts, targets, np.array([columns, inner, stride], np.int64),
        np.array(pattern, real), workers if math.prod(slab.shape) >= COPIED else 1,
    )  # fmt: skip


def _store(problem: Problem, result: Buffer, piece: Buffer, order: Sequence[int], workers: int) -> Move:
    """Return the copy of a slab's result to its piece of the output."""
    starts, targets, columns, inner, _, stride = _lines(result, piece, order, None)
    item = piece.dtype.itemsize // parts_of(piece.dtype)
    kernel = strided_columns.scatterer(storage_of(np.dtype(f"u{item}")))
    return Move(
        strided_columns.move_address(kernel, problem.real_dtype), starts, targets,
        np.array([columns, inner, stride], np.int64), np.zeros(1, problem.real_dtype),
        workers if math.prod(result.shape) >= COPIED else 1,
    )  # fmt: skip
