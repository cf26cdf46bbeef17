"""Converts rows of any storage type to rows of floats, and back.

This is the only place that knows dtypes, byte order, strides and boundaries; whatever computes between packing
and storing sees contiguous float32 or float64 rows that already extend beyond the edges.  Arrays arrive as flat
bytes; `storage` tells what they hold.  Nothing is checked: positions must be inside `x` and `y`.
"""

from __future__ import annotations

import functools
from typing import Any

from ...arguments.boundary import source_index
from ...lowering.target import STEP_ROWS
from ..intrinsics.memory import (
    Storage,
    copy_element,
    load_as,
    load_first,
    misalignment,
    prefetch,
    store_as,
    store_first,
    stream,
)
from ..intrinsics.vectors import VECTOR_BYTES, div, lanes_of, load, poke, splat, store
from ..jit import inlined, kernel, named
from .table_entries import (
    COLUMN_BOUNDARY,
    COLUMN_STRIDE_IN,
    COLUMN_STRIDE_OUT,
    COLUMNS_IN,
    GATHER,
    INNER,
    OUTSIDE_PLANE,
    ROW_BOUNDARY,
    ROW_STRIDE_IN,
    ROWS_IN,
    STREAM,
    TILES,
)

index_of = kernel(source_index)  # called rarely: inlined, it would cost compile time only


@inlined
def convert_span(x, source, count, ahead, storage, work, target):
    """`count` adjacent elements of `x` to `work[target]`; up to one vector beyond them is overwritten.

    `ahead` is the distance to the elements that will be wanted soon.
    """
    like = work[0]
    lanes = lanes_of(work)
    whole = count - count % lanes
    for j in range(0, whole, lanes):
        prefetch(x, source + ahead + j, storage)
        store(work, target + j, load_as(x, source + j, storage, like))
    if whole < count:
        store(work, target + whole, load_first(x, source + whole, count - whole, storage, like))


@inlined
def fill_constant(constants, count, work, target):
    """`count` numbers of the boundary constant; `constants[1:]` repeats."""
    period = constants.size - 1
    for j in range(count):
        poke(work, target + j, constants[1 + j % period])


@inlined
def pack_edge(x, start, first, last, origin, storage, geometry, constants, work, target):
    """Columns [first, last) beyond the edges, from where the boundary says; a vector behind them is overwritten.

    `target` is where column `origin` belongs.  Boundaries turn or jump at the array's first and last column only, so
    from two neighbours between these the next one follows without a division.
    """
    like = work[0]
    inner, size = geometry[INNER], geometry[COLUMNS_IN]
    lanes = lanes_of(work)
    before, column = -1, -1
    for beyond in range(first, last):
        at = target + (beyond - origin) * inner
        step = column - before
        if 0 < column < size - 1 and before >= 0 and step * step == 1:
            before, column = column, column + step
        else:
            before, column = column, index_of(beyond, size, geometry[COLUMN_BOUNDARY])
        if column < 0:
            fill_constant(constants, inner, work, at)
        else:
            source = start + column * geometry[COLUMN_STRIDE_IN]
            for j in range(0, inner, lanes):
                store(work, at + j, load_first(x, source + j, min(lanes, inner - j), storage, like))


@inlined
def pack_inside(x, source, columns, storage, geometry, raw, work, target):
    """`columns` columns inside the array; strided ones are gathered as they are, then converted."""
    inner, stride = geometry[INNER], geometry[COLUMN_STRIDE_IN]
    adjacent = stride == inner
    batch = columns if adjacent else geometry[GATHER]
    # Whole rows need no help.
    ahead = STEP_ROWS * geometry[ROW_STRIDE_IN] if adjacent and geometry[TILES] > 1 else 0
    for first in range(0, columns, batch):
        n, memory, here = min(batch, columns - first), x, source + first * stride
        if not adjacent:
            for column in range(n):
                for j in range(inner):
                    copy_element(x, here + column * stride + j, raw, column * inner + j, storage)
            memory, here = raw, 0
        convert_span(memory, here, n * inner, ahead, storage, work, target + first * inner)


@inlined
def pack_row_of(storage, x, plane, row, first, columns, geometry, constants, raw, work, target):
    """Columns [first, first + columns) of row `row`, any integers, of the input plane that starts at `plane`."""
    inner, size = geometry[INNER], geometry[COLUMNS_IN]
    row = index_of(row, geometry[ROWS_IN], geometry[ROW_BOUNDARY])
    if plane == OUTSIDE_PLANE or row < 0:
        fill_constant(constants, columns * inner, work, target)
        return
    start = plane + row * geometry[ROW_STRIDE_IN]
    low = min(max(first, 0), size)
    high = min(max(first + columns, low), size)
    for side in range(2):  # left edge, inside, right edge: each may spill into the next
        if side == 0:
            edge, stop = first, min(low, first + columns)
        else:
            edge, stop = max(high, first), first + columns
        pack_edge(x, start, edge, stop, first, storage, geometry, constants, work, target)
        if side == 0 and low < high:
            source = start + low * geometry[COLUMN_STRIDE_IN]
            pack_inside(x, source, high - low, storage, geometry, raw, work, target + (low - first) * inner)


@inlined
def store_span(work, source, count, y, target, storage):
    """`count` compute numbers as adjacent elements from `y[target]` on; nothing beyond them is written."""
    lanes = lanes_of(work)
    whole = count - count % lanes
    for j in range(0, whole, lanes):
        store_as(y, target + j, storage, load(work, source + j))
    if whole < count:
        store_first(y, target + whole, count - whole, storage, load(work, source + whole))


@inlined
def stream_span(work, source, count, y, target, storage):
    """As `store_span` where both types are equal, past the caches."""
    item = work.itemsize
    lanes = VECTOR_BYTES // item
    head = min((-misalignment(y, target * item) % VECTOR_BYTES) // item, count)
    if head:
        store_first(y, target, head, storage, load(work, source))
    whole = (count - head) // lanes * lanes
    for j in range(head, head + whole, lanes):
        stream(y, target + j, load(work, source + j))
    left = count - head - whole
    if left:
        at = head + whole
        store_first(y, target + at, left, storage, load(work, source + at))


@inlined
def store_row_of(storage, work, source, columns, geometry, constants, raw, y, start):
    """`columns` finished columns from `y[start]` on: divided, cast, and scattered if `y` is strided."""
    inner, stride = geometry[INNER], geometry[COLUMN_STRIDE_OUT]
    if constants[0] != 1:
        divisor = splat(constants[0])
        for j in range(0, columns * inner, lanes_of(work)):
            store(work, source + j, div(load(work, source + j), divisor))
    if geometry[STREAM]:
        stream_span(work, source, columns * inner, y, start, storage)
        return
    adjacent = stride == inner
    batch = columns if adjacent else geometry[GATHER]
    memory, target = (y, start) if adjacent else (raw, 0)
    for first in range(0, columns, batch):
        n = min(batch, columns - first)
        store_span(work, source + first * inner, n * inner, memory, target, storage)
        if not adjacent:
            for column in range(n):
                for j in range(inner):
                    at = start + (first + column) * stride + j
                    copy_element(raw, column * inner + j, y, at, storage)


@functools.cache
def packer(storage: Storage) -> Any:
    """The kernel that packs rows of one kind of storage."""

    @kernel
    @named(storage.suffix)
    def pack_row(x, plane, row, first, columns, geometry, constants, raw, work, target):
        pack_row_of(storage, x, plane, row, first, columns, geometry, constants, raw, work, target)

    return pack_row


@functools.cache
def storer(storage: Storage) -> Any:
    """The kernel that stores rows of one kind of storage."""

    @kernel
    @named(storage.suffix)
    def store_row(work, source, columns, geometry, constants, raw, y, start):
        store_row_of(storage, work, source, columns, geometry, constants, raw, y, start)

    return store_row
