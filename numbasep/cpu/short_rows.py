"""Prepare a pass along an axis of few samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.boundary import OUTSIDE, index_map
from ..arguments.problem import Problem, Window
from ..lowering.layout import array_axes
from ..lowering.shapes import Rows, find_rows
from ..planning.operators import Factor, Term
from . import threads
from .buffers import Buffer, parts_of
from .intrinsics.vectors import VECTOR_BYTES
from .kernels import plane_driver as drivers
from .kernels import short_rows as kernels
from .kernels.finished_rows import KEPT_BYTES
from .kernels.pass_arguments import make_block
from .plane_pass import storage_of
from .tiles import round_up, skew

Array = npt.NDArray[Any]

TASK_NUMBERS = 1 << 15  # approximate elements per task
# Maximum size of weights whose period is extended to whole vectors to avoid unaligned loads.
ALIGNED_BYTES = 12 << 10
UNALIGNED = 0.1  # additional time for weights that are not aligned to vectors
BATCH_NUMBERS = 1 << 28  # elements x slots per thread between checks for signals (Ctrl-C)


Slots = dict[tuple[int, int, int], tuple[Array, Array]]
"""(Intermediate, distance in samples, layer) -> (weights of the elements of a row, 1 where they are used)."""


@dataclass(frozen=True, slots=True, eq=False)
class ShortRows:
    """A prepared pass along short rows."""

    kernels: tuple[Any, Any]
    """Addresses of the kernels that drivers call."""
    block: Any
    """Pointers to the tables."""
    tables: tuple[Array, ...]
    """Tables that the block points to."""
    constants: Array
    """The divisor, as an array (1, 1)."""
    tasks: int
    """Number of tasks, which are pieces of runs."""
    batch: int
    """Tasks that run without returning to Python."""
    threads: int
    """Number of threads that share the tasks."""
    small: bool
    """Whether the pass always runs in a single batch on the calling thread."""
    workspace: int = 0
    """Bytes of scratch memory that a call uses."""

    @property
    def entries(self) -> int:
        """Number of tables in `block`."""
        return len(self.tables)

    def __call__(self, x: Array, y: Array) -> None:
        """Run on the flat memory of both arrays."""
        if self.threads == 1:
            self._run(drivers.run_serial, x, y)
            return
        with threads.parallel_region(self.threads):
            self._run(drivers.run_parallel, x, y)

    def run_small(self, x: Array, y: Array) -> None:
        """Run a `small` pass on contiguous arrays, with less overhead than a call."""
        flat_x, flat_y = x.reshape(-1).view(np.uint8), y.reshape(-1).view(np.uint8)
        drivers.run_serial(*self.kernels, flat_x, flat_y, 0, self.tasks, self.block, self.constants)

    def _run(self, run: Any, x: Array, y: Array) -> None:
        """Run all tasks in batches; between these, Python handles signals, so that Ctrl-C ends a long call."""
        for first in range(0, self.tasks, self.batch):
            run(*self.kernels, x, y, first, min(first + self.batch, self.tasks), self.block, self.constants)


def prepare(
    problem: Problem,
    source: Buffer,
    target: Buffer,
    window: Window,
    terms: Sequence[tuple[int, Term]],
    constants: Array,
    workers: int | None,
    *,
    shared: bool,
    streamed: bool,
) -> ShortRows:
    """Prepare the pass that filters along an axis of short rows.

    Parameters
    ----------
    problem : Problem
        The problem, for its types.
    source, target : Buffer
        Arrays that are read and written.
    window : Window
        Window of the filtered axis.
    terms : sequence of (int, Term)
        Terms that are added, each the number of an intermediate and the taps that filter it.
    constants : (intermediates, 1 + period) array
        Divisor and boundary value of each intermediate.
    workers : int or None
        Requested number of threads.
    shared : bool
        Whether there is enough work for several threads.
    streamed : bool
        Whether the output is written with non-temporal stores.
    """
    compute = problem.real_dtype
    rows = find_rows(
        array_axes(
            source.shape, target.shape, source.strides, target.strides, [window], parts_of(source.dtype)
        )
    )
    assert rows is not None
    lanes = VECTOR_BYTES // compute.itemsize
    width, row = kernels.VECTORS * lanes, rows.row
    divisor = float(constants[0, 0])
    mantissa, exponent = math.frexp(divisor)
    exact = mantissa == 0.5 and abs(exponent) <= 32  # the weights can be divided instead of the sums
    slots, beyond = _slots(rows, [(stacked, factor) for stacked, (factor,) in terms], constants, compute)
    slots, pairs = _paired(slots, rows.inner)
    shifts = np.array([0, *(stacked * source.stack + k * rows.inner for stacked, k, _ in slots)], np.int64)
    reach = [0, *(k * rows.inner for _, k, _ in slots)]
    table = np.stack([beyond, *(weights for weights, _ in slots.values())])
    inside = np.stack([np.ones(row), *(used for _, used in slots.values())])
    if exact:
        table, divisor = table / divisor, 1.0
    item = target.dtype.itemsize // parts_of(target.dtype)
    most = min(
        ALIGNED_BYTES // (len(table) * compute.itemsize) - width,
        KEPT_BYTES // (2 * kernels.GROUP * item),
    )
    period = _period(row, lanes, min(most, rows.run // (2 * kernels.GROUP)))
    grouped = period >= kernels.ACROSS * lanes
    pitch = skew(round_up(period + width, lanes), lanes)
    at = np.arange(pitch) % row
    sources, targets = _starts(rows, (source.origin, target.origin))
    piece = round_up(TASK_NUMBERS, kernels.GROUP * period)
    pieces = -(-rows.run // piece)
    sizes = np.array(
        [
            rows.run, piece, pieces, len(table), pitch, period, width % period, max(0, -min(reach)), max(reach),
            grouped, pairs, item * (streamed and kernels.GROUP * period * item <= KEPT_BYTES),
        ],
        np.int64,
    )  # fmt: skip
    tables = (
        sizes, sources, targets, shifts, _aligned(table[:, at], compute), _aligned(inside[:, at], compute)
    )  # fmt: skip
    tasks, work = pieces * sources.size, len(table) + 3
    count = threads.thread_count(workers) if shared else 1
    batch = count * max(1, BATCH_NUMBERS // (piece * work))
    addresses = kernels.kernel_addresses(
        compute, storage_of(source.dtype), storage_of(target.dtype, problem.cast)
    )
    return ShortRows(
        addresses, make_block(tables), tables,
        np.array([[divisor]], compute), tasks, batch, min(count, tasks), not shared and tasks <= batch,
    )  # fmt: skip


def _period(row: int, lanes: int, most: int) -> int:
    """Return a multiple of `row`, at most about `most`, that fills blocks of vectors and is aligned, if possible."""
    width = kernels.ACROSS * lanes

    def waste(period: int) -> float:
        return round_up(period, width) / period + UNALIGNED * (period % lanes > 0)

    return min(range(row, max(most, row) + 1, row), key=waste)


def _paired(slots: Slots, inner: int) -> tuple[Slots, int]:
    """Move pairs of slots that read adjacent elements to the front; return the slots and the number of pairs."""
    pairs, single = list[tuple[int, int, int]](), list(slots)
    for key in slots:
        after = (key[0], key[1] + 1, key[2])
        if inner == 1 and key in single and after in single:
            pairs += [key, after]
            single = [other for other in single if other not in (key, after)]
    return {key: slots[key] for key in (*pairs, *single)}, len(pairs) // 2


def _aligned(table: Array, dtype: np.dtype[Any]) -> Array:
    """Copy a table to a flat array aligned to a cache line."""
    memory = threads.aligned(table.size * dtype.itemsize).view(dtype)
    memory[:] = table.reshape(-1)
    return memory


def _starts(rows: Rows, origins: tuple[int, int]) -> tuple[Array, Array]:
    """Return the offsets of runs in the input and in the output."""
    starts = []
    for origin, strides in zip(
        origins, ([a.stride_in for a in rows.outer], [a.stride_out for a in rows.outer]), strict=True
    ):
        total = np.array([origin], np.int64)
        for axis, stride in zip(rows.outer, strides, strict=True):
            total = np.add.outer(total, np.arange(axis.size_in, dtype=np.int64) * stride).reshape(-1)
        starts.append(total)
    return starts[0], starts[1]


def _slots(
    rows: Rows, terms: Sequence[tuple[int, Factor]], constants: Array, compute: np.dtype[Any]
) -> tuple[Slots, Array]:
    """Return the diagonals of the matrices of taps and boundary, and the sums over a constant boundary.

    Taps that multiply the same sample are added if they have the same sign, so that infinity minus infinity stays
    NaN.
    """
    slots: Slots = {}
    window, parts = rows.window, constants.shape[1] - 1
    size, here = window.size, np.arange(window.size)
    positions = np.array(index_map(window.first, size + window.taps - 1, size, window.boundary))
    beyond = np.zeros((size, parts))
    values = constants[:, 1:].astype(compute).astype(float)
    for source, factor in terms:
        found = positions[factor.positions[:, None] + here]
        taps = np.broadcast_to(factor.taps[factor.positions][:, None], found.shape)
        for tap, line in zip(taps[:, 0], found, strict=True):
            with np.errstate(invalid="ignore"):
                beyond[line == OUTSIDE] += tap * values[source]
        inside = found != OUTSIDE
        distances, number = np.unique((found - here)[inside], return_inverse=True)
        place = (
            (taps[inside] > 0) * 1 - (taps[inside] < 0),
            number,
            np.broadcast_to(here, found.shape)[inside],
        )
        sums, used = np.zeros((2, 3, distances.size, size))
        np.add.at(sums, place, taps[inside])
        used[place] = 1
        for (sign, k), uses in np.ndenumerate(used.any(2)):
            layer = 0
            while uses:
                key = (source, int(distances[k]), layer)
                weights, multiplied = slots.setdefault(key, (np.zeros(size), np.zeros(size)))
                if not (multiplied * used[sign, k]).any():
                    weights += sums[sign, k]
                    multiplied += used[sign, k]
                    break
                layer += 1
    wide = {
        key: (np.repeat(weights, rows.inner), np.repeat(used, rows.inner))
        for key, (weights, used) in sorted(slots.items())
    }
    return wide, np.tile(beyond, rows.inner // parts).reshape(-1)
