"""Flat kernels on the CPU: sums of rows and shifted sums of these (`kernels.flat`) on any layout, in one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cost import PARALLEL_WORK
from ..factor.runs import Flat
from ..kernels import flat as kernels
from ..kernels import flat_words as words
from ..kernels import geometry as g
from ..kernels.simd import LINE_BYTES, VECTOR_BYTES
from ..operators import Operator
from ..problem import Problem
from . import threads
from .layout import Axis, OuterAxis, Planes, arrange, array_axes, outer_table, plain_window
from .planes import PlanePass, flat_memory, storage_of
from .program import Program
from .request import BATCH_WORK, STREAM_BYTES, pack_outer, sizes
from .tiles import round_up, skew, strip_rows, tile_columns

Array = npt.NDArray[Any]

ROWS = 4  # of output that are computed together, an even number
SUMS_BYTES = 20 << 10  # of row buffers, in the first-level cache
STROKE_SEGMENT = 1024  # numbers of a row of results that are computed before they are stored
LARGEST_SHIFT = 32  # exponent of a divisor up to which no weight leaves the range of its type


def correlate(operator: Operator, problem: Problem, x: Array, y: Array) -> None:
    """Filter `x` into `y`, which must not overlap: real arrays of the problem's shapes and types, of any layout.

    The operator holds a flat kernel; no window has a step.
    """
    assert operator.flat is not None
    if not (_in_order(x, problem) and _in_order(y, problem)):
        whole = np.empty(y.shape, y.dtype)
        correlate(operator, problem, np.ascontiguousarray(x), whole)
        y[...] = whole
        return
    key = ("flat", x.strides, y.strides, y.dtype, wished := threads.thread_count(problem.workers))
    flat_x, origin_x = flat_memory(x)
    flat_y, origin_y = flat_memory(y)
    prepared = operator.launches.get(key)
    if prepared is None:
        prepared = _prepare(operator.flat, problem, x, y, (origin_x, origin_y), wished)
        if len(operator.launches) >= 16:
            operator.launches.clear()
        operator.launches[key] = prepared
    prepared(flat_x, flat_y)


def _in_order(array: Array, problem: Problem) -> bool:
    """Whether the filtered axes of an array are nested in their order, as the sums of rows were found for."""
    steps = [abs(array.strides[window.axis]) for window in problem.windows if array.shape[window.axis] > 1]
    return all(outer >= inner > 0 for outer, inner in pairwise(steps))


def _prepare(
    flat: Flat, problem: Problem, x: Array, y: Array, origins: tuple[int, int], workers: int
) -> PlanePass:
    steps_x, steps_y = ([stride // a.itemsize for stride in a.strides] for a in (x, y))
    planes = arrange(array_axes(x.shape, y.shape, steps_x, steps_y, problem.windows, 1))
    compute = problem.real_dtype
    tables = [*map(outer_table, planes.outer), OuterAxis(np.array([[origins[0]]]), np.array([origins[1]]))]
    taps = [axis.window.taps if axis.window else 1 for axis in planes.outer]
    outer_taps = np.array([(*index, 0) for index in np.ndindex(*taps)], np.int64)
    count = math.prod(table.offsets_out.size for table in tables)
    down, along, inner = planes.rows, planes.columns, planes.inner
    lanes, item, sources = VECTOR_BYTES // compute.itemsize, compute.itemsize, len(outer_taps)
    work = inner * (flat.operations + 4)
    window = plain_window(down).taps + ROWS - 1
    tile = tile_columns(along.size_out, plain_window(along).taps, inner, item * sources * window, 1)
    tiles = -(-along.size_out // tile)
    serial = count * down.size_out * along.size_out * work < PARALLEL_WORK
    n = 1 if serial else workers
    strip = strip_rows(down.size_out, plain_window(down).taps, n, count * tiles, ROWS)
    strip = min(strip, round_up(BATCH_WORK // (tile * work) + 1, ROWS))
    strips = -(-down.size_out // strip)
    places = _places(flat, planes, tile, sources, item, lanes)
    divide = problem.integer_data and not _multiplies(flat.divisor)
    extra = _extra_vectors(along, inner, lanes)
    make = _strokes if extra else _program
    program, divisor = make(flat, planes, places, divide=divide, compute=compute)
    storage_out = storage_of(y.dtype, problem.cast)
    stored = storage_out != storage_of(compute) or along.stride_out != inner
    large = count * down.size_out * along.size_out * inner * item >= STREAM_BYTES
    gather = max(1, 512 // inner)
    geometry = np.zeros(g.GEOMETRY, np.int64)
    for name, value in {
        **sizes(planes), g.SOURCES: sources, g.OUTER_AXES: len(tables), g.GATHER: gather, g.STRIP: strip,
        g.STRIPS: strips, g.TILE: tile, g.TILES: tiles, g.STREAM: item * (large and not stored),
        g.STRIPE_ROWS: ROWS, g.WINDOW: window, g.TABLES: max(window * sources, sources), g.RING: 0,
        g.RING_STRIDE: places.ring_stride, g.SEGMENT: places.segment, g.SUMS_STRIDE: places.pitch,
        g.RESULT: places.buffer(len(flat.sums) + len(flat.doubles)),
    }.items():  # fmt: skip
        geometry[name] = value
    tasks = count * strips * tiles
    return PlanePass(
        kernels=kernels.kernel_addresses(compute, storage_of(x.dtype), storage_out, extra),
        program=program,
        geometry=geometry,
        outer=pack_outer(tables),
        outer_taps=outer_taps,
        edges=np.zeros(0, np.int64),
        constants=np.array([[divisor, problem.cval.real]] * sources, compute),
        normal=np.zeros(0, compute),
        outside=np.zeros(0, compute),
        tasks=tasks,
        batch=n * max(1, BATCH_WORK // (strip * tile * work)),
        threads=min(n, tasks) or 1,
        small=False,
        raw_in=gather * inner * x.itemsize,
        raw_out=gather * inner * y.itemsize,
        work_bytes=round_up(places.elements * item, LINE_BYTES),
        table_bytes=round_up(8 * window * sources, LINE_BYTES),
        spare=[],
    )


def _extra_vectors(along: Axis, inner: int, lanes: int) -> int:
    """Vectors by which sums in registers are wider than their results; 0: sums are stored (`kernels.flat_words`)."""
    needed = -(-(plain_window(along).taps - 1) * inner // lanes)
    fitting = [extra for extra in (1, 2, words.MOST_EXTRA) if extra >= needed]
    return fitting[0] if words.AVAILABLE and fitting else 0


def _multiplies(divisor: float) -> bool:
    """Whether a product is the quotient, to the last bit: a moderate power of two."""
    mantissa, exponent = math.frexp(divisor)
    return abs(mantissa) == 0.5 and abs(exponent) <= LARGEST_SHIFT


@dataclass(frozen=True, slots=True)
class _Places:
    """Where everything stands in the workspace of a thread."""

    ring_stride: int
    """Elements from one packed row to the next; they come first."""
    sums: int
    """Where the row buffers begin."""
    stride: int
    """Elements from one of them to the next."""
    pitch: int
    """And from those of one row of output to those of the next."""
    segment: int
    """Columns that are computed at a time."""
    elements: int
    """Of everything."""

    def buffer(self, number: int) -> int:
        """Where row buffer `number` of the first row of output stands."""
        return self.sums + number * self.stride


def _places(flat: Flat, planes: Planes, tile: int, sources: int, item: int, lanes: int) -> _Places:
    inner, halo = planes.inner, (plain_window(planes.columns).taps - 1) * planes.inner
    block = kernels.VECTORS * lanes
    window = plain_window(planes.rows).taps + ROWS - 1
    buffers = len(flat.sums) + len(flat.doubles) + 1
    wanted = SUMS_BYTES // (item * ROWS * buffers) - halo
    wanted = max(wanted, halo, block) // block * block
    if _extra_vectors(planes.columns, inner, lanes):
        wanted = STROKE_SEGMENT
    segment = max(1, min(tile, max(wanted // inner, 1)))
    ring_stride = skew(round_up(tile * inner + halo + 2 * block, lanes), lanes)
    stride = skew(round_up(segment * inner + halo + 2 * block, lanes), lanes)
    sums = round_up(sources * window * ring_stride, lanes)
    pitch = buffers * stride
    return _Places(ring_stride, sums, stride, pitch, segment, sums + ROWS * pitch + block)


def _strokes(
    flat: Flat, planes: Planes, places: _Places, *, divide: bool, compute: np.dtype[Any]
) -> tuple[Program, float]:
    """As `_program`, for sums that stay in registers: what is done one after the other for a block of columns."""
    inner, row_taps, lanes = planes.inner, plain_window(planes.rows).taps, VECTOR_BYTES // compute.itemsize
    window = row_taps + ROWS - 1
    factor = 1.0 if divide else 1 / flat.divisor
    read_again = {one.base for i, one in enumerate(flat.sums) if one.base >= 0 and one.base != i - 1}
    columns = flat.columns
    strokes: list[tuple[int, int]] = []
    weights: list[float] = []
    for i, (base, rows) in enumerate(flat.sums):
        if base < 0:
            strokes.append((words.CLEAR, 0))
        elif base != i - 1:
            strokes.append((words.RESTORE, places.buffer(base)))
        strokes += [(words.ROW, row // row_taps * window + row % row_taps) for row in rows]
        if i in read_again:
            strokes.append((words.SAVE, places.buffer(i)))
        weights += [0.0] * (len(strokes) - len(weights))
        for column, weight in columns[i]:
            strokes.append(words.shift_code(column * inner, lanes))
            weights.append(weight * factor)
    none = np.zeros(0, np.int64)
    program = Program(
        terms=none,
        runs=none,
        weights=np.array(weights, compute),
        shifts=np.array(strokes, np.int64).reshape(-1),
        lines=np.array([[kernels.STROKES, 0, len(strokes), 0]], np.int64),
        line_weights=np.zeros(0, compute),
    )
    return program, flat.divisor if divide else 1.0


def _program(
    flat: Flat, planes: Planes, places: _Places, *, divide: bool, compute: np.dtype[Any]
) -> tuple[Program, float]:
    """The tables of `kernels.flat`, and what results are still to be divided by."""
    inner, row_taps = planes.inner, plain_window(planes.rows).taps
    window, halo = row_taps + ROWS - 1, plain_window(planes.columns).taps - 1
    factor = 1.0 if divide else 1 / flat.divisor
    links: list[list[int]] = []
    terms: list[int] = []
    weights: list[float] = []
    phases: list[list[int]] = []

    def link(rows: list[int], sums: list[tuple[int, int, float]], target: int, **flags: int) -> None:
        start = len(terms)
        terms.extend([row // row_taps * window + row % row_taps for row in rows])
        middle = len(terms)
        terms.extend([places.buffer(which) + shift * inner for which, shift, _ in sums])
        weights.extend([1.0] * len(rows) + [weight for _, _, weight in sums])
        entries = {"fresh": 1, "weighed": 0, "scaled": 0} | flags
        links.append([
            entries["fresh"], start, middle, len(terms), places.buffer(target), entries["weighed"], entries["scaled"],
        ])  # fmt: skip

    def phase(kind: int, first: int, last: int, extra: int) -> None:
        if first < last:
            phases.append([kind, first, last, extra * inner])

    intervals: list[list[int]] = []
    before = (0, 0)
    for i, (first, last, wider) in enumerate(flat.intervals or ()):
        above, below = before[0] - first, last - before[1]
        growth = kernels.BY_ONE if above == below == 1 else kernels.BY_ANY
        growth = growth if wider else kernels.FRESH_INTERVAL
        intervals.append([growth, first, last, above, below, places.buffer(i)])
        before = first, last
    phase(kernels.INTERVALS, 0, len(intervals), halo)
    if flat.intervals is None:
        for i, (base, rows) in enumerate(flat.sums):
            follows = base == i - 1 and base >= 0
            read = [(base, 0, 1.0)] if base >= 0 and not follows else []
            link(list(rows), read, i, fresh=int(not follows))
        phase(kernels.LINKS, 0, len(links), halo)
    doubles = list(enumerate(flat.doubles, len(flat.sums)))
    for shift in sorted({double.shift for double in flat.doubles}):
        first = len(links)
        for i, double in doubles:
            if double.shift == shift:
                link([], [(double.base, 0, 1.0), (double.base, shift, 1.0)], i)
        phase(kernels.LINKS, first, len(links), halo + 1 - 2 * shift)
    parts = [(part.sum, part.shift, part.weight * factor) for part in flat.shifted]
    scale = 1.0 if flat.weighted else parts[0][2]
    link([], parts, len(flat.sums) + len(flat.doubles), weighed=int(flat.weighted), scaled=int(scale != 1))
    phase(kernels.LINKS, len(links) - 1, len(links), 0)
    weights += [1.0, scale]
    program = Program(
        terms=np.array(links, np.int64).reshape(-1),
        runs=np.array(intervals, np.int64).reshape(-1),
        weights=np.array(weights, compute),
        shifts=np.array(terms, np.int64),
        lines=np.array(phases, np.int64),
        line_weights=np.zeros(0, compute),
    )
    return program, flat.divisor if divide else 1.0
