"""Converts rows of any storage type to rows of floats, and back.

Packing and storing handle dtypes, byte order, strides and boundaries.  Kernels that compute on packed rows see
contiguous rows of float32 or float64 that already extend beyond the edges.  Arrays are passed as flat bytes, and
`storage` describes their elements.  Indices are not checked: they must be inside `x` and `y`.
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

index_of = kernel(source_index)  # not inlined, to save compile time: it is called rarely


@inlined
def convert_span(x, source, count, ahead, storage, work, target):
    """Convert `count` adjacent elements of `x` to ``work[target]``; up to one vector beyond them is overwritten.

    `ahead` is the distance, in elements, of the elements to prefetch.
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
    """Write `count` elements of the boundary constant, which repeats ``constants[1:]``."""
    period = constants.size - 1
    for j in range(count):
        poke(work, target + j, constants[1 + j % period])


@inlined
def pack_edge(x, start, first, last, origin, storage, geometry, constants, work, target):
    """Pack columns [first, last) beyond the edges as the boundary defines; up to a vector after them is overwritten.

    `target` is the offset of column `origin`.  The source column turns or jumps at the first and last column of the
    array only; elsewhere it continues by the step between the last two, which avoids a division.
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
    """Pack `columns` columns inside the array; strided ones are gathered in `raw`, then converted."""
    inner, stride = geometry[INNER], geometry[COLUMN_STRIDE_IN]
    adjacent = stride == inner
    batch = columns if adjacent else geometry[GATHER]
    # prefetch rows of tiles only: the processor prefetches whole rows
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
    """Pack columns [first, first + columns) of row `row` of the input plane at offset `plane`.

    Both may lie beyond the edges.
    """
    inner, size = geometry[INNER], geometry[COLUMNS_IN]
    row = index_of(row, geometry[ROWS_IN], geometry[ROW_BOUNDARY])
    if plane == OUTSIDE_PLANE or row < 0:
        fill_constant(constants, columns * inner, work, target)
        return
    start = plane + row * geometry[ROW_STRIDE_IN]
    low = min(max(first, 0), size)
    high = min(max(first + columns, low), size)
    for side in range(2):  # from left to right, as each part may overwrite a vector of the next
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
    """Store `count` results as adjacent elements from ``y[target]`` on; nothing beyond them is written."""
    lanes = lanes_of(work)
    whole = count - count % lanes
    for j in range(0, whole, lanes):
        store_as(y, target + j, storage, load(work, source + j))
    if whole < count:
        store_first(y, target + whole, count - whole, storage, load(work, source + whole))


@inlined
def stream_span(work, source, count, y, target, storage):
    """Store results as `store_span` does, with non-temporal stores; `y` has the dtype of `work`."""
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
    """Divide and cast `columns` columns of results, and store them from ``y[start]`` on."""
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
    """Return the kernel that packs rows of a storage type."""

    @kernel
    @named(storage.suffix)
    def pack_row(x, plane, row, first, columns, geometry, constants, raw, work, target):
        pack_row_of(storage, x, plane, row, first, columns, geometry, constants, raw, work, target)

    return pack_row


@functools.cache
def storer(storage: Storage) -> Any:
    """Return the kernel that stores rows of a storage type."""

    @kernel
    @named(storage.suffix)
    def store_row(work, source, columns, geometry, constants, raw, y, start):
        store_row_of(storage, work, source, columns, geometry, constants, raw, y, start)

    return store_row
