"""The windows of a run of output pixels, written out as rows of a matrix factor: channels last.

Column (di, dj, c) of the factor is `x[s1 * i + d1 * di - top, s2 * j + d2 * dj - left, c]`, zero outside the
image. Only the columns of one chunk of the product are written at a time, into cache.
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
    OUT_HEIGHT,
    OUT_WIDTH,
    STRIDE_COLUMNS,
    STRIDE_ROWS,
    TAPS_COLUMNS,
    WIDTH,
)
from .nn_simd import block_read, block_write, block_zeros
from .simd import VECTOR_BYTES


@inlined
def copy_run(x, at, count, y, to):
    """Copy `count` elements, whole vectors first."""
    lanes = VECTOR_BYTES // x.itemsize
    like = block_zeros(1, 1, y)
    whole = count // lanes * lanes
    for i in range(0, whole, lanes):
        block_write(block_read(like, x, at + i, 0), y, to + i, 0)
    for i in range(whole, count):
        y[to + i] = x[at + i]


@inlined
def unfold_pixel(x, g, pixel, first, stop, y, to):
    """Columns [first, stop) of the window of one output pixel."""
    channels, taps = g[CHANNELS], g[TAPS_COLUMNS]
    row, j = pixel // g[OUT_WIDTH], pixel % g[OUT_WIDTH]
    image, i = row // g[OUT_HEIGHT], row % g[OUT_HEIGHT]
    top, left = i * g[STRIDE_ROWS] - g[BEFORE_ROWS], j * g[STRIDE_COLUMNS] - g[BEFORE_COLUMNS]
    # the taps of a row are adjacent in memory unless dilated: one run for all of them
    joined = taps if g[DILATION_COLUMNS] == 1 else 1
    length = joined * channels
    k = first
    while k < stop:
        run, skip = k // length, k % length
        count = min(length - skip, stop - k)
        tap = run * joined
        y_row, x_column = top + tap // taps * g[DILATION_ROWS], left + tap % taps * g[DILATION_COLUMNS]
        low, high = 0, 0
        if 0 <= y_row < g[HEIGHT]:
            inside, outside = taps_inside(x_column, 1, g[WIDTH], joined)
            low = min(max(inside * channels - skip, 0), count)
            high = max(min(outside * channels - skip, count), low)
        for n in range(low):
            y[to + n] = 0
        at = ((image * g[HEIGHT] + y_row) * g[WIDTH] + x_column) * channels + skip
        copy_run(x, at + low, high - low, y, to + low)
        for n in range(high, count):
            y[to + n] = 0
        k += count
        to += count


@kernel
def unfold_pixels(x, w, w_at, g, first, stop, column, columns, y, y_at, y_step, scratch, spare):
    """Columns [column, column + columns) of the windows of output pixels [first, stop), one row each."""
    for pixel in range(first, stop):
        unfold_pixel(x, g, pixel, column, column + columns, y, y_at + (pixel - first) * y_step)
