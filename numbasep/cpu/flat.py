"""Flat kernels (few different weights) in one pass: sums of rows, then sums of shifted row sums."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.problem import Problem
from ..factor.runs import Flat
from ..lowering.counts import is_shared
from ..lowering.flat import has_few_ends, sums_bytes
from ..lowering.layout import arrange, array_axes
from ..lowering.task import Task, plane_count
from ..planning.operators import Operator
from . import threads
from .buffers import INPUT, OUTPUT
from .flat_bytes import byte_tables, divide_bytes, lay_out_bytes
from .flat_programs import tables as make_tables
from .flat_tables import blocking_of, divide_sums, lay_out
from .intrinsics.vectors import LINE_BYTES
from .kernels import flat as kernels
from .kernels import table_entries as g
from .kernels.flat_bytes import byte_kernel_addresses
from .launch import BoundCall, Step
from .outer_axes import OuterAxis, outer_table, pack_outer
from .pass_request import BATCH_WORK, STREAM_BYTES, sizes
from .plane_pass import PlanePass, flat_memory, storage_of
from .tiles import round_up

Array = npt.NDArray[Any]

STREAM_ROW = (
    2048  # bytes of a row of a tile for non-temporal stores; shorter rows, as of volumes, are slower by them
)
LARGEST_SHIFT = 32  # largest exponent of a divisor whose reciprocal may be multiplied into the weights


def correlate(operator: Operator, problem: Problem, x: Array, y: Array) -> None:
    """Filter `x` into `y` with the flat kernel of `operator`; no window may have a step.

    The arrays are real, have the shapes and dtypes of the problem and any layout, and must not overlap.
    """
    assert operator.flat is not None
    if not (_in_order(x, problem) and _in_order(y, problem)):
        whole = np.empty(y.shape, y.dtype)
        correlate(operator, problem, np.ascontiguousarray(x), whole)
        y[...] = whole
        return
    key = ("flat", x.strides, y.strides, y.dtype, thread_count := threads.thread_count(problem.workers))
    flat_x, origin_x = flat_memory(x)
    flat_y, origin_y = flat_memory(y)
    launch = operator.launches.get(key)
    if launch is None:
        prepared = _prepare(operator.flat, problem, x, y, (origin_x, origin_y), thread_count)
        if len(operator.launches) >= 16:
            operator.launches.clear()
        launch = operator.launches[key] = BoundCall([Step(prepared, INPUT, OUTPUT, 0)])
    launch(flat_x, flat_y)


def _in_order(array: Array, problem: Problem) -> bool:
    """Return whether strides do not increase from one filtered axis to the next, as the sums of rows assume."""
    steps = [abs(array.strides[window.axis]) for window in problem.windows if array.shape[window.axis] > 1]
    return all(outer >= inner > 0 for outer, inner in pairwise(steps))


def _prepare(
    flat: Flat, problem: Problem, x: Array, y: Array, origins: tuple[int, int], workers: int
) -> PlanePass:
    """Prepare the pass for arrays with the strides of `x` and `y`, which start at `origins` in their memory."""
    steps_x, steps_y = ([stride // a.itemsize for stride in a.strides] for a in (x, y))
    planes = arrange(array_axes(x.shape, y.shape, steps_x, steps_y, problem.windows, 1))
    compute = problem.real_dtype
    # filtered axes come last: packed planes that adjacent output planes share are kept along the last axis
    outer = sorted(planes.outer, key=lambda axis: axis.window is not None)
    origin = OuterAxis(np.array([[origins[0]]]), np.array([origins[1]]))
    tables = [origin, *map(outer_table, outer)]
    taps = [axis.window.taps if axis.window else 1 for axis in outer]
    outer_taps = np.array([(0, *index) for index in np.ndindex(*taps)], np.int64)
    count, item, sources = plane_count(planes), compute.itemsize, len(outer_taps)
    down, along, inner = planes.rows, planes.columns, planes.inner
    task = Task(planes, count, sources, item, x.itemsize, plain_in=False, plain_out=False)
    n = workers if is_shared(count * down.size_out * along.size_out * inner, flat.operations) else 1
    deep = tables[-1].offsets_out.size if sum(tap > 1 for tap in taps) == 1 and taps[-1] > 1 else 1
    divides = problem.integer_data and not _multiplies(flat.divisor)
    factor, divisor = (1.0, flat.divisor) if divides else (1 / flat.divisor, 1.0)
    storage_in, storage_out = storage_of(x.dtype), storage_of(y.dtype, problem.cast)
    blocking = blocking_of(flat, task, compute, small=sums_bytes(problem))
    small, ends = inner == 1 and sums_bytes(problem), flat.ends
    if (
        ends is not None
        and small
        and (not blocking.small or has_few_ends(ends.operations, flat.paired_operations))
    ):
        parts = divide_bytes(ends, task, deep, count // deep, n)
        places, elements = lay_out_bytes(ends, task, parts)
        program = byte_tables(ends, task, places[g.LEVEL_STRIDE], factor)
        addresses = byte_kernel_addresses(storage_in, storage_out)
    else:
        parts = divide_sums(blocking, task, deep, count // deep, n)
        layout = lay_out(blocking, parts.tile, sources, parts.ring_rows)
        places, elements = layout.places(blocking, parts, sources), layout.elements
        program = make_tables(blocking, layout, factor)
        addresses = kernels.kernel_addresses(
            compute, storage_in, storage_out, blocking.extra, blocking.vectors, blocking.small
        )
    stored = storage_out != storage_of(compute) or along.stride_out != inner
    long = parts.tile * inner * item >= STREAM_ROW
    large = long and count * down.size_out * along.size_out * inner * item >= STREAM_BYTES
    gather = max(1, 512 // inner)
    geometry = np.zeros(g.GEOMETRY, np.int64)
    for name, value in {
        **sizes(task), **places, g.SOURCES: sources, g.OUTER_AXES: len(tables), g.GATHER: gather, g.STRIP: parts.strip,
        g.STRIPS: parts.strips, g.TILE: parts.tile, g.TILES: parts.tiles, g.STREAM: item * (large and not stored),
        g.PLANES: parts.planes, g.PLANES_OUT: deep, g.FETCHED: x.itemsize * (along.stride_in == inner),
    }.items():  # fmt: skip
        geometry[name] = value
    tasks = count // deep * parts.chunks * parts.strips * parts.tiles
    work = inner * (flat.operations + 4) * parts.planes * parts.strip * parts.tile
    return PlanePass(
        kernels=addresses,
        program=program,
        geometry=geometry,
        outer=pack_outer(tables),
        outer_taps=outer_taps,
        edges=np.zeros(0, np.int64),
        constants=np.array([[divisor, problem.cval.real]] * sources, compute),
        normal=np.zeros(0, compute),
        outside=np.zeros(0, compute),
        tasks=tasks,
        batch=n * max(1, BATCH_WORK // work),
        threads=min(n, tasks) or 1,
        small=False,
        raw_in=gather * inner * x.itemsize,
        raw_out=gather * inner * y.itemsize,
        work_bytes=round_up(elements * item, LINE_BYTES),
        table_bytes=round_up(8 * int(geometry[g.TABLES]), LINE_BYTES),
        spare=[],
    )


def _multiplies(divisor: float) -> bool:
    """Return whether multiplying by the reciprocal of `divisor` is exact: it is a moderate power of two."""
    mantissa, exponent = math.frexp(divisor)
    return abs(mantissa) == 0.5 and abs(exponent) <= LARGEST_SHIFT
