"""Correlation along rows by transforms of many tiles at a time (`cpu.kernels.line_transforms`)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...arguments.problem import Problem
from ...planning.lines import Lines
from ...planning.lines import lines as divide
from .. import threads
from ..intrinsics.vectors import LINE_BYTES, VECTOR_BYTES
from ..kernels import line_transforms as kernels
from ..kernels import plane_driver as drivers
from ..kernels.pass_arguments import make_block, with_tables
from ..plane_pass import flat_memory, storage_of
from .spectra import reduced, spectra

Array = NDArray[Any]

BATCH_POINTS = 1 << 26  # points per thread between checks for signals (Ctrl-C)


def correlate(x: Array, weights: Array, problem: Problem, out: Array, workers: int) -> bool:
    """Filter real `x` into `out`, which must not overlap it, as `overlap_save.correlate`.

    Return False, without writing, if the transforms of the problem are not along rows.
    """
    if weights.dtype.kind == "c":
        return False
    ready = _prepare(problem, x.strides, x.dtype, out.strides, out.dtype, workers)
    if ready is None:
        return False
    if not ready.in_order:
        x, target = np.ascontiguousarray(x), np.empty_like(out, order="C")
        correlate(x, weights, problem, target, workers)
        out[...] = target
        return True
    lines, compute = ready.lines, problem.real_dtype
    spectrum = spectra.get(
        weights,
        (problem.windows, lines.points, compute),
        lambda: (_spectrum(weights, problem, lines, compute),),
    )[0]
    count = ready.count
    with threads.borrow(count * ready.numbers * compute.itemsize) as buffer:
        work = buffer[: count * ready.numbers * compute.itemsize].view(compute).reshape(count, -1)
        block = with_tables(ready.block, {kernels.SPECTRUM_TABLE: spectrum, kernels.WORK_TABLE: work})
        ready.run(flat_memory(x)[0], flat_memory(out)[0], block)
    return True


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """All that a call needs besides the arrays and the kernel."""

    lines: Lines
    """Division of the rows and of the kernel."""
    in_order: bool
    """Whether the samples of a row are adjacent in both arrays; the other fields are only valid if they are."""
    kernels: tuple[Any, Any]
    """Addresses for the drivers."""
    block: Any
    """Pointers to the tables."""
    tables: tuple[Array, ...]
    """Tables that the block points to."""
    constants: Array
    """The boundary value."""
    numbers: int
    """Numbers in the workspace of a thread."""
    count: int
    """Number of threads."""

    def run(self, x: Array, y: Array, block: Any) -> None:
        """Run all tasks in batches; between these, Python handles signals, so that Ctrl-C ends a long call."""
        lines, run = self.lines, drivers.run_serial if self.count == 1 else drivers.run_parallel
        batch = self.count * max(1, BATCH_POINTS // (lines.together * lines.points))
        with contextlib.nullcontext() if self.count == 1 else threads.parallel_region(self.count):
            for first in range(0, lines.tasks, batch):
                last = min(first + batch, lines.tasks)
                run(*self.kernels, x, y, first, last, block, self.constants)


@functools.lru_cache(maxsize=64)
def _prepare(
    problem: Problem,
    strides_in: tuple[int, ...],
    source: np.dtype[Any],
    strides_out: tuple[int, ...],
    target: np.dtype[Any],
    workers: int,
) -> _Ready | None:
    lines = divide(problem)
    if lines is None or source.kind == "c" or target.kind == "c":
        return None
    window, points, compute = lines.window, lines.points, problem.real_dtype
    axis = window.axis
    in_order = all(
        n == 1 or strides[axis] == item
        for n, strides, item in (
            (window.size, strides_in, source.itemsize), (window.out_size, strides_out, target.itemsize)
        )
    )  # fmt: skip
    lanes = VECTOR_BYTES // compute.itemsize
    pitch = 2 * points + max(LINE_BYTES // compute.itemsize, lanes)
    row = 2 * points * lanes
    spectra = row + lanes * pitch
    wide = -(-(lines.together + lines.parts - 1) // lanes) * lanes + lanes
    sizes = np.zeros(kernels.SIZES, np.int64)
    for name, value in {
        kernels.POINTS: points, kernels.PARTS: lines.parts, kernels.STEP: lines.step, kernels.SPAN: lines.span,
        kernels.TILES: lines.tiles, kernels.TOTAL: lines.total, kernels.TOGETHER: lines.together,
        kernels.SIZE: window.size, kernels.BOUNDARY: int(window.boundary), kernels.FIRST: window.first,
        kernels.STOP: window.first + window.reach, kernels.OUTPUTS: window.out_size, kernels.ROW: row,
        kernels.PITCH: pitch, kernels.SPECTRA: spectra, kernels.WIDE: wide,
    }.items():  # fmt: skip
        sizes[name] = value
    outer = problem.shape[:axis]
    tables = (
        sizes, _starts(outer, strides_in, source.itemsize), _starts(outer, strides_out, target.itemsize),
        twiddles(compute, points), np.empty(0, compute), np.empty(0, compute),
    )  # fmt: skip
    return _Ready(
        lines, in_order, kernels.kernel_addresses(compute, storage_of(source), storage_of(target)),
        make_block(tables), tables, np.array([[problem.cval.real]], compute),
        spectra + (2 * points * wide if lines.parts > 1 else 0), min(workers, lines.threads),
    )  # fmt: skip


def _starts(shape: Sequence[int], strides: Sequence[int], item: int) -> Array:
    """Return the offsets of rows from the lowest address of an array."""
    total = np.zeros(1, np.int64)
    for n, stride in zip(shape, strides, strict=False):
        steps = np.arange(n) if stride >= 0 else np.arange(1 - n, 1)
        total = np.add.outer(total, steps * (stride // item)).reshape(-1)
    return total


@functools.lru_cache(maxsize=32)
def twiddles(compute: np.dtype[Any], points: int) -> Array:
    """Return ``sqrt(c)`` for each node of the tree of factors ``z^m - c`` from 1 on: real and imaginary parts."""
    turns = np.array([0.0, 0.25])  # the angle of c, in turns
    while turns.size < points:
        level = turns[turns.size // 2 :] / 2
        turns = np.concatenate((turns, np.stack((level, level + 0.5), axis=1).reshape(-1)))
    angles = np.pi * turns
    return np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(compute).reshape(-1)


def _spectrum(weights: Array, problem: Problem, lines: Lines, compute: np.dtype[Any]) -> Array:
    """Return the values of the parts of the kernel over the number of points, by points: real and imaginary parts."""
    taps = reduced(weights, problem.windows, (lines.window,)).reshape(-1).astype(np.float64)
    points, parts = lines.points, lines.parts
    each = lines.step if parts > 1 else taps.size
    padded = np.zeros((parts, -(-each // points) * points))
    for part in range(parts):
        piece = taps[part * each : (part + 1) * each]
        padded[part, : piece.size] = piece
    turns = np.arange(padded.shape[1]) / (4 * points)
    twisted = (padded * np.exp(-2j * np.pi * turns)).reshape(parts, -1, points).sum(axis=1)
    values = np.fft.fft(twisted, axis=1) / points
    order = np.zeros(1, np.int64)
    while order.size < points:
        order = np.concatenate((2 * order, 2 * order + 1))
    ordered = values[:, order].T
    return np.stack((ordered.real, ordered.imag), axis=-1).astype(compute).reshape(-1)
