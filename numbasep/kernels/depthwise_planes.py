"""Depthwise correlation of a band of output rows, channels first: one vector of columns.

Every plane is packed into scratch first, with its padding, as stride x stride interleaved sub-planes: tap
(di, dj) of all outputs of a row is then one contiguous run, whatever the strides, and a vector of columns is
one load.
"""

from __future__ import annotations

from .depthwise import taps_inside
from .jit import inlined, kernel
from .nn_geometry import (
    BEFORE_COLUMNS,
    BEFORE_ROWS,
    CHANNELS,
    DILATION_COLUMNS,
    DILATION_ROWS,
    HEIGHT,
    OUT_WIDTH,
    STRIDE_COLUMNS,
    STRIDE_ROWS,
    TAPS_COLUMNS,
    TAPS_ROWS,
    WEIGHT_ROW,
    WIDTH,
)
from .nn_simd import block_write, block_write_first, block_zeros, tap_scalar
from .simd import VECTOR_BYTES, peek
from .unfold import copy_run

VECTORS = 4  # of one output row that share every weight they use


@inlined
def phases(stride, taps, dilation):
    """Sub-planes along one axis: remainders of input positions that some tap reads."""
    return min(stride, (taps - 1) * dilation + 1)


@inlined
def pack_row(x, start, size, first, step, count, y, to):
    """`y[to + n] = x[start + first + n * step]`, zero where that lies outside [start, start + size)."""
    low, high = taps_inside(first, step, size, count)
    for n in range(low):
        y[to + n] = 0
    if step == 1:
        copy_run(x, start + first + low, high - low, y, to + low)
    else:
        for n in range(low, high):
            y[to + n] = x[start + first + n * step]
    for n in range(high, count):
        y[to + n] = 0


@inlined
def pack_plane(x, plane, g, first, rows, columns, y, to):
    """Sub-planes of `rows` x `columns`, the first row of each belonging to output row `first`."""
    row_stride, column_stride = g[STRIDE_ROWS], g[STRIDE_COLUMNS]
    height, width = g[HEIGHT], g[WIDTH]
    for row_phase in range(phases(row_stride, g[TAPS_ROWS], g[DILATION_ROWS])):
        for column_phase in range(phases(column_stride, g[TAPS_COLUMNS], g[DILATION_COLUMNS])):
            for i in range(rows):
                source = (first + i) * row_stride + row_phase - g[BEFORE_ROWS]
                inside = width if 0 <= source < height else 0
                pack_row(
                    x,
                    plane + source * width,
                    inside,
                    column_phase - g[BEFORE_COLUMNS],
                    column_stride,
                    columns,
                    y,
                    to,
                )
                to += columns


@inlined
def correlate_row(x, x_at, rows, columns, w, w_at, w_step, g, y, y_at):
    """One output row of one plane; `x_at` is its row of the first sub-plane, of `rows` x `columns`."""
    lanes = VECTOR_BYTES // x.itemsize
    width = g[OUT_WIDTH]
    row_stride, column_stride = g[STRIDE_ROWS], g[STRIDE_COLUMNS]
    across = phases(column_stride, g[TAPS_COLUMNS], g[DILATION_COLUMNS])
    j = 0
    while j < width:
        many = block_zeros(1, VECTORS, x)
        one = block_zeros(1, 1, x)
        full = width - j > (VECTORS - 1) * lanes
        weight = w_at
        for di in range(g[TAPS_ROWS]):
            down = di * g[DILATION_ROWS]
            for dj in range(g[TAPS_COLUMNS]):
                along = dj * g[DILATION_COLUMNS]
                sub_plane = down % row_stride * across + along % column_stride
                at = x_at + (sub_plane * rows + down // row_stride) * columns + along // column_stride + j
                if full:
                    many = tap_scalar(many, peek(w, weight), x, at)
                else:
                    one = tap_scalar(one, peek(w, weight), x, at)
                weight += w_step
        if full:
            if width - j >= VECTORS * lanes:
                block_write(many, y, y_at + j, 0)
            else:
                block_write_first(many, y, y_at + j, 0, 1, width - j)
            j += VECTORS * lanes
        else:
            block_write_first(one, y, y_at + j, 0, 1, width - j)
            j += lanes


@kernel
def depthwise_planes(x, w, w_at, g, image, first, stop, channel, channels, y, y_at, y_step, scratch, spare):
    """Output rows [first, stop) of `channels` planes of an image; plane n goes to `y[y_at + n * y_step]`."""
    size = g[HEIGHT] * g[WIDTH]
    rows = stop - first + (g[TAPS_ROWS] - 1) * g[DILATION_ROWS] // g[STRIDE_ROWS]
    columns = g[OUT_WIDTH] + (g[TAPS_COLUMNS] - 1) * g[DILATION_COLUMNS] // g[STRIDE_COLUMNS]
    for n in range(channels):
        plane = (image * g[CHANNELS] + channel + n) * size
        pack_plane(x, plane, g, first, rows, columns, scratch, spare)
        for i in range(stop - first):
            target = y_at + n * y_step + i * g[OUT_WIDTH]
            # weights lie as [multiplier][tap][channel]
            correlate_row(
                scratch,
                spare + i * columns,
                rows,
                columns,
                w,
                w_at + channel + n,
                g[WEIGHT_ROW],
                g,
                y,
                target,
            )


@kernel
def unfold_planes(x, w, w_at, g, image, first, stop, row, rows, y, y_at, y_step, scratch, spare):
    """Rows [row, row + rows), in the order (tap row, tap column, channel), of the windows of output rows."""
    size, width, channels = g[HEIGHT] * g[WIDTH], g[WIDTH], g[CHANNELS]
    for n in range(rows):
        tap, channel = (row + n) // channels, (row + n) % channels
        plane = (image * channels + channel) * size
        left = tap % g[TAPS_COLUMNS] * g[DILATION_COLUMNS] - g[BEFORE_COLUMNS]
        for i in range(first, stop):
            source = i * g[STRIDE_ROWS] - g[BEFORE_ROWS] + tap // g[TAPS_COLUMNS] * g[DILATION_ROWS]
            inside = width if 0 <= source < g[HEIGHT] else 0
            target = y_at + n * y_step + (i - first) * g[OUT_WIDTH]
            pack_row(x, plane + source * width, inside, left, g[STRIDE_COLUMNS], g[OUT_WIDTH], y, target)
