"""Run a planned convolution over channels."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from ..cpu import threads
from ..cpu.intrinsics.vectors import VECTOR_BYTES, lanes
from ..system.types import Array
from .kernels import channels_first, channels_first_bands, channels_last, depthwise_gradient, table_entries
from .kernels.matrix_product import BLOCK_COLUMNS, BLOCK_ROWS, DEPTH, PRODUCED
from .problem import Convolution
from .tiling import TileSizes, tile
from .weights import padded_channels, write_tap_major

Producer = Literal["dense", "spatial", "unfold"]

# Parts of the rows with separate sums; fixed, so that results do not depend on the number of threads.
GRADIENT_PARTS = 32

_NOTHING = {np.dtype(kind): np.empty(0, kind) for kind in (np.float32, np.float64)}


def run(
    problem: Convolution,
    producer: Producer,
    x: Array,
    taps: Array | None,
    matrix: Array | None,
    out: Array,
    workers: int | None,
) -> None:
    """Compute `problem` into `out`, which must be C-contiguous and of the compute dtype.

    `taps` (taps, C, M) are the depthwise filters; for "spatial", vertical taps precede horizontal ones.  `matrix`
    (products, K) is the right factor of the matrix product, None for a depthwise convolution.
    """
    if out.size == 0:
        return
    with threads.occupied():
        _run(problem, producer, x, taps, matrix, out, workers)


def _run(
    problem: Convolution,
    producer: Producer,
    x: Array,
    taps: Array | None,
    matrix: Array | None,
    out: Array,
    workers: int | None,
) -> None:
    compute = problem.compute
    layout = _layout(problem, producer, matrix is not None, threads.thread_count(workers))
    if layout.streams and out.ctypes.data % VECTOR_BYTES:
        layout = _layout(problem, producer, matrix is not None, threads.thread_count(workers), aligned=False)
    nothing = _NOTHING[compute]
    right = nothing if matrix is None else _line(matrix, compute)
    drivers = channels_last if problem.channels_last else channels_first
    kernels = drivers.kernel_addresses(compute, producer)
    weights = nothing
    if taps is not None and layout.weights_as_given:
        weights = _line(taps, compute)
    copied = 0 if weights.size and weights.ctypes.data % VECTOR_BYTES == 0 else layout.weights
    with _borrow(copied + layout.scratch, compute) as memory:
        scratch = memory[copied:]
        if taps is not None and copied:
            weights = memory[:copied]
            write_tap_major(taps, layout.lanes, weights[: -2 * layout.lanes])
        tables = (*kernels, _line(x, compute), weights, right, layout.table)
        y = out.reshape(-1)
        if layout.workers == 1:
            for batch in range(layout.batches):  # between batches, Python handles signals such as Ctrl-C
                channels_last.run_serial(*tables, batch, scratch, y)
        else:
            with threads.parallel_region(layout.workers):
                for batch in range(layout.batches):
                    channels_last.run_parallel(*tables, batch, scratch, y)


def filter_gradient(problem: Convolution, x: Array, gradient: Array, workers: int | None) -> Array:
    """Return the gradient (kh, kw, C) with respect to depthwise filters of multiplier 1, channels last.

    `gradient` is the gradient with respect to the result.
    """
    rows = problem.batch * problem.rows.out_size
    shape = problem.rows.taps, problem.columns.taps, problem.channels
    parts = max(1, min(rows, GRADIENT_PARTS))
    with threads.occupied():
        layout = _layout(problem, "dense", False, threads.thread_count(workers))
        totals = np.zeros((parts, math.prod(shape)))
        work = np.empty(parts * depthwise_gradient.COLUMNS * layout.lanes, problem.compute)
        arguments = _line(x, problem.compute), _line(gradient, problem.compute), layout.table, parts
        serial = layout.workers == 1
        run = (
            depthwise_gradient.filter_gradient_serial
            if serial
            else depthwise_gradient.filter_gradient_parallel
        )
        with contextlib.nullcontext() if serial else threads.parallel_region(layout.workers):
            for batch in range(layout.batches):
                run(*arguments, batch, layout.batches, rows, totals.reshape(-1), work)
    return np.asarray(totals.sum(axis=0).reshape(shape))


@contextlib.contextmanager
def _borrow(count: int, dtype: np.dtype[Any]) -> Iterator[Array]:
    """Borrow scratch memory for `count` numbers."""
    if count == 0:
        yield _NOTHING[dtype]
        return
    with threads.borrow(count * dtype.itemsize) as buffer:
        yield buffer[: count * dtype.itemsize].view(dtype)


class _Writable:
    """A writable view of a read-only array, so that the drivers are compiled for one signature."""

    def __init__(self, array: Array) -> None:
        self._array = array  # keeps the memory alive
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = array.__array_interface__ | {"data": (address, False)}


def _line(array: Array, compute: np.dtype[Any]) -> Array:
    """Return the elements in C order as a flat array of the compute dtype, without a copy if possible."""
    if not array.flags.aligned:
        array = array.copy()
    line = np.ascontiguousarray(array, compute).reshape(-1)
    return line if line.flags.writeable else np.asarray(_Writable(line))


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """Table of integers for the kernels, and sizes of weights and scratch memory in elements."""

    table: Array
    workers: int
    batches: int
    lanes: int
    weights: int
    weights_as_given: bool
    scratch: int
    streams: bool


@lru_cache(maxsize=512)
def _layout(
    problem: Convolution, producer: Producer, product: bool, limit: int, aligned: bool = True
) -> _Layout:
    width = lanes(problem.compute)
    tiling = tile(problem, limit, product)
    products = problem.channels if producer != "unfold" else problem.taps * problem.channels
    filters = _taps(problem, producer) * padded_channels(problem.channels, width)
    step = _pixel_step(problem, producer, width)
    spare = _spare(problem, producer, tiling, step, width)
    row = min(PRODUCED, padded_channels(products, width)) + width
    panels = (DEPTH + BLOCK_ROWS) * BLOCK_COLUMNS * width
    if not problem.channels_last:
        panels += tiling.tile_pixels * BLOCK_COLUMNS * width  # sums that are to be transposed
        row = row if product else padded_channels(step, width)
    factor = (tiling.tile_pixels + BLOCK_ROWS) * row
    if not product and problem.multiplier == 1 and problem.channels_last:
        factor = 0
    once = problem.multiplier == 1 and (not product or products <= DEPTH)  # otherwise sums are read again
    streams = (
        tiling.large and aligned and once and problem.channels_last and problem.out_channels % width == 0
    )
    scratch = padded_channels(panels * product + factor + spare, 2 * width)
    table = np.zeros((3, table_entries.SIZE), np.int64)
    table[:] = _fields(
        problem,
        WEIGHT_ROW=padded_channels(problem.channels, width),
        WEIGHTS=filters,
        PRODUCTS=products,
        TILES=tiling.tiles,
        SPLITS=tiling.splits,
        WORKERS=tiling.workers,
        BATCHES=tiling.batches,
        FACTOR_ROW=row,
        SPARE=spare,
        SCRATCH=scratch,
        CHANNELS=step,
        PREFETCH=problem.rows.reach * (tiling.large and problem.channels_last),
        STREAM_DEPTHWISE=streams and not product,
        STREAM_PRODUCT=streams and product,
    )
    if producer == "spatial":
        _describe_passes(table, problem, step, width)
    # A block reads two vectors.
    stored = 0 if producer == "unfold" else filters * problem.multiplier + 2 * width
    return _Layout(
        table.reshape(-1),
        tiling.workers,
        tiling.batches,
        width,
        stored,
        problem.multiplier == 1 and problem.channels % width == 0,  # (taps, C, 1) is [1][taps][whole vectors]
        tiling.workers * scratch,
        streams,
    )


def _pixel_step(problem: Convolution, producer: Producer, width: int) -> int:
    """Return the elements from one pixel of the image, or of the transposed band, to the next."""
    if problem.channels_last or producer == "unfold":
        return problem.channels
    return min(padded_channels(problem.channels, width), channels_first_bands.GROUP)


def _spare(problem: Convolution, producer: Producer, tiling: TileSizes, step: int, width: int) -> int:
    """Return the elements of scratch memory that the producer needs after its result."""
    rows, columns = problem.rows, problem.columns
    between = columns.size * _pass_step(step, width) if producer == "spatial" else 0
    if problem.channels_last:
        return between
    band = (tiling.tile_pixels // max(columns.out_size, 1) - 1) * rows.stride + rows.reach
    return min(band, rows.size) * columns.size * step + between


def _taps(problem: Convolution, producer: Producer) -> int:
    """Return the number of taps stored per depthwise filter."""
    return problem.rows.taps + problem.columns.taps if producer == "spatial" else problem.taps


def _pass_step(step: int, width: int) -> int:
    """Return the elements from one pixel to the next in the row between the passes of a separable filter."""
    return padded_channels(step, width) + width


def _fields(problem: Convolution, **extra: int) -> Array:
    rows, columns = problem.rows, problem.columns
    table = np.zeros(table_entries.SIZE, np.int64)
    fields = extra | {
        "BATCH": problem.batch,
        "HEIGHT": rows.size,
        "WIDTH": columns.size,
        "PLANES": problem.channels,
        "OUT_HEIGHT": rows.out_size,
        "OUT_WIDTH": columns.out_size,
        "OUT_CHANNELS": problem.out_channels,
        "MULTIPLIER": problem.multiplier,
        "TAPS_ROWS": rows.taps,
        "TAPS_COLUMNS": columns.taps,
        "STRIDE_ROWS": rows.stride,
        "STRIDE_COLUMNS": columns.stride,
        "DILATION_ROWS": rows.dilation,
        "DILATION_COLUMNS": columns.dilation,
        "BEFORE_ROWS": rows.before,
        "BEFORE_COLUMNS": columns.before,
    }
    for name, value in fields.items():
        table[getattr(table_entries, name)] = value
    return table


def _describe_passes(table: Array, problem: Convolution, step: int, width: int) -> None:
    """Fill the tables of the vertical pass (image to one row) and the horizontal pass (that row to output pixels)."""
    g = table_entries
    down, along = table[1], table[2]
    for name in ("TAPS_COLUMNS", "STRIDE_COLUMNS", "DILATION_COLUMNS"):
        down[getattr(g, name)] = 1
    down[g.BEFORE_COLUMNS] = 0
    down[g.OUT_WIDTH] = problem.columns.size
    down[g.STREAM_DEPTHWISE] = 0  # the row between the passes is read immediately
    for name in ("TAPS_ROWS", "STRIDE_ROWS", "DILATION_ROWS", "HEIGHT", "OUT_HEIGHT"):
        along[getattr(g, name)] = 1
    along[g.BEFORE_ROWS] = along[g.PREFETCH] = 0
    along[g.CHANNELS] = _pass_step(step, width)
