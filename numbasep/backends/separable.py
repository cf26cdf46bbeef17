"""How a separable pass is prepared: which rows it packs, its tiles, tables, and places in the workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
import os

import numpy as np
import numpy.typing as npt

from ..boundary import OUTSIDE, Boundary, source_index
from ..kernels import geometry as g
from ..kernels import separable as kernels
from ..kernels.horizontal import LINE_ROWS, LINE_VECTORS
from ..kernels.simd import STEP_ROWS, VECTOR_BYTES
from ..kernels.valid import BOTH, PRESENCE, VALUES, view_twin
from ..kernels.vertical import ROWS, VECTORS
from . import threads
from .layout import OuterAxis, Planes, plain_window
from .planes import SPARE_BYTES, PlanePass
from .program import Program
from .tiles import round_up, skew, strip_rows, tile_columns

Array = npt.NDArray[Any]


def prepare_separable(
    p: Any,
    tables: Sequence[OuterAxis],
    outer_taps: Array,
    origins: tuple[int, int],
    constants: Array,
    workers: int | None,
    normal: Sequence[float],
    read_next: bool,
) -> PlanePass:
    """A pass of `kernels.separable`."""
    from . import prepare as old

    down, along, inner = p.planes.rows, p.planes.columns, p.planes.inner
    taps_down, window = plain_window(down).taps, plain_window(along)
    item, lanes = p.compute.itemsize, VECTOR_BYTES // p.compute.itemsize
    width = along.size_in * inner
    packed = along.stride_in != inner or width < VECTORS * lanes or not p.program.separable
    packed = packed or not np.isfinite(p.program.weights).all()
    program = _buffered(p.program, taps_down)
    n_terms, period = len(program.terms), constants.shape[1] - 1
    if not packed:
        constants = _seen(constants, p.views)
    constants = constants.astype(p.compute)
    missing = any((table.offsets_in == g.OUTSIDE_PLANE).any() for table in tables)
    outside_rows = not packed and (missing or plain_window(down).boundary == Boundary.CONSTANT)
    single = not packed and (outside_rows or down.size_out < ROWS)

    large = p.count * down.size_in * width * p.storage_in.dtype.itemsize >= old.FETCH_BYTES
    # -- tiles
    window_rows = (taps_down + ROWS - 1) * p.sources
    kept = window_rows * (item if packed else p.storage_in.dtype.itemsize)
    tile = tile_columns(along.size_out, window.taps, inner, kept, period)
    tile = min(tile, round_up(old.BATCH_WORK // (ROWS * p.work) + 1, 64 * period))
    tile = int(os.environ.get('TILE', tile))
    tiles = max(1, -(-along.size_out // tile))
    serial = p.elements * p.work // inner < old.PARALLEL_WORK
    count = 1 if serial else threads.thread_count(workers)
    strip = strip_rows(down.size_out, taps_down, count, p.count * tiles, ROWS)
    strip = min(strip, round_up(old.BATCH_WORK // (tile * p.work) + 1, ROWS))
    strips = max(1, -(-down.size_out // strip))

    # -- places
    buffer_taps = window.taps if p.program.separable else 1
    block = max(LINE_VECTORS, VECTORS) * lanes
    segment = _segment(tile, buffer_taps, inner, n_terms, item)
    span = (buffer_taps - 1) * inner
    sums_stride = skew(round_up(segment * inner + span + 3 * block, lanes), lanes)
    ring_stride = skew(round_up((tile + window.taps - 1) * inner + 2 * block, lanes), lanes)
    if not packed:
        ring_stride = VECTORS * lanes
    ends = min(width, 2 * span) + 2 * block
    places, at = {}, block
    for name, size in (
        (g.SUMS, n_terms * ROWS * sums_stride),
        (g.ENDS, ROWS * sums_stride if not packed and ends <= sums_stride else ROWS * sums_stride),
        (g.CONSTANT_ROWS, p.sources * ring_stride if outside_rows else 0),
        (g.RING, (taps_down + ROWS - 1) * p.sources * ring_stride if packed else 0),
    ):
        places[name] = at if size else 0
        at += round_up(size, lanes)
    work_elements = at + 2 * block

    geometry = np.zeros(g.GEOMETRY, np.int64)
    gather = max(1, 512 // inner)
    edges = _edge_table(p.planes)
    for name, value in {
        **old._sizes(p.planes), g.VIEWS: p.views, g.SOURCES: p.sources, g.OUTER_AXES: len(tables),
        g.STREAM: item * int(not read_next and _streams(p) and not os.environ.get('NOSTREAM')), g.STRIP: strip, g.STRIPS: strips, g.TILE: tile, g.TILES: tiles,
        g.SEGMENT: segment, g.SUMS_STRIDE: sums_stride, g.TERM_STRIDE: ROWS * sums_stride, g.RING_STRIDE: ring_stride,
        g.COLUMN_TAPS: buffer_taps, g.PACKED: window.taps if packed else 0, g.LAST_BLOCK: width - VECTORS * lanes,
        g.TABLES: window_rows, g.GATHER: gather, g.SHARE_TERM: program.share_term,
        g.FETCHED: 0 if packed or not large or os.environ.get('NOFETCH') else p.storage_in.dtype.itemsize,
        g.EDGE_LAST: max(0, -window.first), **places,
    }.items():  # fmt: skip
        geometry[name] = value
    tasks = p.count * strips * tiles
    work_bytes = round_up(work_elements * item, VECTOR_BYTES)
    batch = count * max(1, old.BATCH_WORK // (strip * tile * p.work))
    return PlanePass(
        kernels=kernels.kernel_addresses(
            p.compute, p.storage_in, p.storage_out, packed=packed, single_rows=single, view=p.views,
            share=program.share_term > 0,
        ),
        program=program,
        geometry=geometry,
        outer=old._pack_outer(tables),
        outer_taps=outer_taps,
        edges=edges,
        constants=constants,
        normal=np.array(normal, p.compute),
        outside=_outside_sums(program, constants, taps_down + ROWS - 1),
        tasks=tasks,
        batch=batch,
        threads=min(count, tasks) or 1,
        small=serial and tasks <= batch and work_bytes <= SPARE_BYTES,
        raw_in=gather * inner * p.storage_in.dtype.itemsize,
        raw_out=LINE_ROWS * LINE_VECTORS * lanes * p.storage_out.dtype.itemsize,
        work_bytes=work_bytes,
        table_bytes=round_up(8 * int(geometry[g.TABLES]), VECTOR_BYTES),
        spare=[],
    )  # fmt: skip


def _buffered(program: Program, taps: int) -> Program:
    """The program with row windows that fit ROWS, and each column offset in one place.

    A term's taps along the columns are applied to the row buffers; only weights without structure, in several columns,
    keep theirs among the runs.
    """
    runs, lines = program.runs.copy(), program.lines.copy()
    if program.separable:
        runs[:, g.RUN_SHIFT] = 0
    else:
        lines[:, g.RUN_SHIFT] = 0
    source, row = np.divmod(runs[:, g.RUN_ROW], taps + STEP_ROWS - 1)
    runs[:, g.RUN_ROW] = source * (taps + ROWS - 1) + row
    return replace(program, runs=runs, lines=lines)


def _seen(constants: Array, views: int) -> Array:
    """Boundary values as a pass sees them."""
    seen = constants.copy()
    half = len(seen) // 2 if views == BOTH else len(seen)
    if views in (VALUES, BOTH):
        seen[:half, 1:] = view_twin(seen[:half, 1:], VALUES)
    if views == PRESENCE:
        seen[:, 1:] = view_twin(seen[:, 1:], PRESENCE)
    if views == BOTH:
        seen[half:, 1:] = view_twin(seen[half:, 1:], PRESENCE)
    return seen


def _outside_sums(program: Program, constants: Array, window: int) -> Array:
    """What each term's vertical pass sums up where all rows are the boundary value."""
    period = constants.shape[1] - 1
    sums = np.zeros((len(program.terms), period), constants.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        for term, total in zip(program.terms, sums, strict=True):
            for run in program.runs[term[g.FIRST_RUN] : term[g.RUN_STOP]]:
                value = constants[run[g.RUN_ROW] // window, 1:]
                for weight in program.weights[run[g.RUN_WEIGHTS] :][: run[g.RUN_LENGTH]]:
                    total += weight * value
    return sums.reshape(-1)


def _edge_table(planes: Planes) -> Array:
    """The column that each column beyond the edges repeats, those on the left first; OUTSIDE for the boundary value."""
    window, size = plain_window(planes.columns), planes.columns.size_in
    stop = window.first + planes.columns.size_out + window.taps - 1
    beyond = [*range(min(window.first, 0), 0), *range(size, max(stop, size))]
    return np.array([source_index(i, size, int(window.boundary)) for i in beyond], np.int64)


def _segment(tile: int, taps: int, inner: int, n_terms: int, item: int) -> int:
    """Columns computed at a time: row buffers of half a first-level cache, far more than the halo between passes."""
    wanted = max(int(os.environ.get('BUF',BUFFER_BYTES)) // (ROWS * n_terms * item * inner), 4 * taps, 256 // inner)
    return tile if tile <= wanted + wanted // 2 else round_up(wanted, 64)


BUFFER_BYTES = 24 << 10


def _streams(p: Any) -> bool:
    """Whether rows are written past the caches: large, adjacent, stored as computed, not read again."""
    large = p.elements * p.compute.itemsize >= 8 << 20
    return large and not p.stored and p.planes.rows.stride_out * p.compute.itemsize % VECTOR_BYTES == 0


__all__ = ["OUTSIDE", "prepare_separable"]
