"""Rows in and rows out: any storage to packed compute numbers, and back.

This is the only place that knows dtypes, byte order, strides and boundaries; whatever computes between
`pack_row` and `store_row` sees contiguous float32 or float64 rows that already extend beyond the edges.
Nothing here is checked: positions must be inside `x` and `y`.
"""

from __future__ import annotations

from ..boundary import source_index
from . import simd
from .geometry import (
    CAST,
    COLUMN_BOUNDARY,
    COLUMN_STRIDE_IN,
    COLUMN_STRIDE_OUT,
    COLUMNS_IN,
    ENCODING,
    INNER,
    SATURATE,
    STREAM,
    TO_HALF,
)
from .jit import inlined, kernel
from .simd import (
    HALF,
    NATIVE,
    SWAPPED,
    VECTOR_BYTES,
    load,
    load_as,
    load_first,
    load_first_half,
    load_first_half_swapped,
    load_first_swapped,
    load_half,
    load_half_swapped,
    load_swapped,
    misalignment,
    peek,
    poke,
    store,
    store_first_half,
    store_first_saturated,
    store_first_truncated,
    store_half,
    store_saturated,
    store_truncated,
    stream,
)

index_of = inlined(source_index)


@kernel
def convert_first(x, source, count, encoding, work, target):
    """`count` <= lanes elements of `x` as one vector at `work[target]`, zeros behind them."""
    like = work[0]
    if encoding == NATIVE:
        store(work, target, load_first(x, source, count, like))
    elif encoding == SWAPPED:
        store(work, target, load_first_swapped(x, source, count, like))
    elif encoding == HALF:
        store(work, target, load_first_half(x, source, count, like))
    else:
        store(work, target, load_first_half_swapped(x, source, count, like))


@kernel
def convert_span(x, source, count, encoding, work, target):
    """`count` adjacent elements of `x` to `work[target]`; up to one vector beyond them is overwritten."""
    like = work[0]
    lanes = VECTOR_BYTES // work.itemsize
    whole = count - count % lanes
    if encoding == NATIVE:
        for j in range(0, whole, lanes):
            store(work, target + j, load_as(x, source + j, like))
    elif encoding == SWAPPED:
        for j in range(0, whole, lanes):
            store(work, target + j, load_swapped(x, source + j, like))
    elif encoding == HALF:
        for j in range(0, whole, lanes):
            store(work, target + j, load_half(x, source + j, like))
    else:
        for j in range(0, whole, lanes):
            store(work, target + j, load_half_swapped(x, source + j, like))
    if whole < count:
        convert_first(x, source + whole, count - whole, encoding, work, target + whole)


@kernel
def fill_row(constants, inner, columns, work, target):
    """`columns` columns of the boundary constant; `constants[1:]` repeats within a column."""
    period = constants.size - 1
    for j in range(columns * inner):
        poke(work, target + j, constants[1 + j % period])


@kernel
def pack_column(x, start, column, geometry, constants, work, target):
    """One column beyond the edges, taken from where the boundary says; overwrites a vector beyond it."""
    inner = geometry[INNER]
    lanes = VECTOR_BYTES // work.itemsize
    column = index_of(column, geometry[COLUMNS_IN], geometry[COLUMN_BOUNDARY])
    if column < 0:
        fill_row(constants, inner, 1, work, target)
        return
    source = start + column * geometry[COLUMN_STRIDE_IN]
    for j in range(0, inner, lanes):
        convert_first(x, source + j, min(lanes, inner - j), geometry[ENCODING], work, target + j)


@kernel
def pack_strided(x, source, columns, geometry, raw, work, target):
    """`columns` columns that are not adjacent in memory: gathered as they are, then converted."""
    inner, stride = geometry[INNER], geometry[COLUMN_STRIDE_IN]
    batch = raw.size // inner
    for first in range(0, columns, batch):
        n = min(batch, columns - first)
        for column in range(n):
            at = source + (first + column) * stride
            for j in range(inner):
                poke(raw, column * inner + j, peek(x, at + j))
        convert_span(raw, 0, n * inner, geometry[ENCODING], work, target + first * inner)


@kernel
def pack_row(x, start, first, columns, geometry, constants, raw, work, target):
    """Columns [first, first + columns) of the row that starts at `x[start]`, continued beyond its edges."""
    inner, size = geometry[INNER], geometry[COLUMNS_IN]
    low = min(max(first, 0), size)
    high = min(max(first + columns, low), size)
    for column in range(first, min(low, first + columns)):
        pack_column(x, start, column, geometry, constants, work, target + (column - first) * inner)
    if low < high:
        source = start + low * geometry[COLUMN_STRIDE_IN]
        at = target + (low - first) * inner
        if geometry[COLUMN_STRIDE_IN] == inner:
            convert_span(x, source, (high - low) * inner, geometry[ENCODING], work, at)
        else:
            pack_strided(x, source, high - low, geometry, raw, work, at)
    for column in range(max(high, first), first + columns):
        pack_column(x, start, column, geometry, constants, work, target + (column - first) * inner)


@kernel
def store_span(work, source, count, cast, y, target):
    """`count` compute numbers as adjacent elements `y[target:]`; nothing beyond them is written."""
    lanes = VECTOR_BYTES // work.itemsize
    whole = count - count % lanes
    left = count - whole
    if cast == TO_HALF:
        for j in range(0, whole, lanes):
            store_half(y, target + j, load(work, source + j))
        if left:
            store_first_half(y, target + whole, left, load(work, source + whole))
    elif cast == SATURATE:
        for j in range(0, whole, lanes):
            store_saturated(y, target + j, load(work, source + j))
        if left:
            store_first_saturated(y, target + whole, left, load(work, source + whole))
    else:
        for j in range(0, whole, lanes):
            store_truncated(y, target + j, load(work, source + j))
        if left:
            store_first_truncated(y, target + whole, left, load(work, source + whole))


@kernel
def stream_span(work, source, count, y, target):
    """As `store_span` for equal types, past the caches: the output is larger than they are."""
    lanes = VECTOR_BYTES // work.itemsize
    head = min((-misalignment(y, target) % VECTOR_BYTES) // work.itemsize, count)
    if head:
        store_first_truncated(y, target, head, load(work, source))
    whole = (count - head) // lanes * lanes
    for j in range(head, head + whole, lanes):
        stream(y, target + j, load(work, source + j))
    left = count - head - whole
    if left:
        store_first_truncated(y, target + head + whole, left, load(work, source + head + whole))


@kernel
def divide_span(work, source, count, divisor):
    """`count` compute numbers over `divisor`, in place, up to the end of the last vector."""
    lanes = VECTOR_BYTES // work.itemsize
    spread = simd.splat(divisor)
    for j in range(0, count, lanes):
        store(work, source + j, simd.div(load(work, source + j), spread))


@kernel
def store_row(work, source, columns, geometry, constants, raw, y, start):
    """`columns` finished columns to `y[start]` on: divided, cast, and scattered if `y` is strided."""
    inner, stride, cast = geometry[INNER], geometry[COLUMN_STRIDE_OUT], geometry[CAST]
    if constants[0] != 1:
        divide_span(work, source, columns * inner, constants[0])
    if stride == inner:
        if geometry[STREAM]:
            stream_span(work, source, columns * inner, y, start)
        else:
            store_span(work, source, columns * inner, cast, y, start)
        return
    batch = raw.size // inner
    for first in range(0, columns, batch):
        n = min(batch, columns - first)
        store_span(work, source + first * inner, n * inner, cast, raw, 0)
        for column in range(n):
            at = start + (first + column) * stride
            for j in range(inner):
                poke(y, at + j, peek(raw, column * inner + j))
