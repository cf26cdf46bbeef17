"""Depthwise correlation of a run of output pixels, one filter per channel: channels last, one vector of channels.

`result[p, c] = sum_{di, dj} w[di, dj, c] * x[s1 * i + d1 * di - top, s2 * j + d2 * dj - left, c]`, x zero outside.
Taps that fall outside are skipped, not multiplied, so that padding never makes a NaN.  Pixels away from the left and
right edge are computed PIXELS at a time: they share the load of every weight.
"""

from __future__ import annotations

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
    SIZE,
    STRIDE_COLUMNS,
    STRIDE_ROWS,
    TAPS_COLUMNS,
    TAPS_ROWS,
    WEIGHT_ROW,
    WIDTH,
)
from .nn_simd import block_write, block_write_first, block_zeros, tap_vector, tap_vector_first
from .simd import VECTOR_BYTES

PIXELS = 8
FEW = 4


def _pixel_run(pixels):
    """`pixels` adjacent output pixels, all of whose taps in rows and columns [first, stop) lie in the image."""

    @inlined
    def correlate(
        x, x_at, row_step, column_step, pixel_step, w, w_at, taps_columns, weight_row,
        row_first, row_stop, column_first, column_stop, channels, y, y_at, y_step,
    ):  # fmt: skip
        lanes = VECTOR_BYTES // x.itemsize
        whole = channels // lanes * lanes
        for c in range(0, whole, lanes):
            block = block_zeros(pixels, 1, y)
            for di in range(row_first, row_stop):
                source = x_at + di * row_step + c
                weight = w_at + di * taps_columns * weight_row + c
                for dj in range(column_first, column_stop):
                    block = tap_vector(
                        block, w, weight + dj * weight_row, x, source + dj * column_step, pixel_step, lanes
                    )
            block_write(block, y, y_at + c, y_step)
        if whole < channels:
            rest = channels - whole
            block = block_zeros(pixels, 1, y)
            for di in range(row_first, row_stop):
                source = x_at + di * row_step + whole
                weight = w_at + di * taps_columns * weight_row + whole
                for dj in range(column_first, column_stop):
                    block = tap_vector_first(
                        block, w, weight + dj * weight_row, x, source + dj * column_step, pixel_step, rest
                    )
            block_write_first(block, y, y_at + whole, y_step, rest)

    return correlate


_one_pixel = _pixel_run(1)
_few_pixels = _pixel_run(FEW)
_many_pixels = _pixel_run(PIXELS)


@inlined
def taps_inside(first, step, size, taps):
    """The range of taps k for which 0 <= first + k * step < size."""
    start = (-first + step - 1) // step if first < 0 else 0
    stop = (size - 1 - first) // step + 1 if first < size else 0
    return min(start, taps), max(min(stop, taps), min(start, taps))


@inlined
def outputs_inside(before, stride, reach, size, outputs):
    """The range of outputs j all of whose taps, from j * stride - before over `reach`, lie inside [0, size)."""
    start = min((before + stride - 1) // stride if before > 0 else 0, outputs)
    last = size - 1 - reach + before
    stop = last // stride + 1 if last >= 0 else 0
    return start, max(min(stop, outputs), start)


@inlined
def depthwise_row(x, image, row, first, stop, w, w_at, g, channels, y, y_at, y_step):
    """Output pixels [first, stop) of output row `row` of the image at `x[image]`, into `y[y_at:]`."""
    column_step = g[CHANNELS] * g[DILATION_COLUMNS]
    pixel_step = g[CHANNELS] * g[STRIDE_COLUMNS]
    row_step = g[WIDTH] * g[CHANNELS] * g[DILATION_ROWS]
    taps_columns, weight_row = g[TAPS_COLUMNS], g[WEIGHT_ROW]
    top = row * g[STRIDE_ROWS] - g[BEFORE_ROWS]
    row_first, row_stop = taps_inside(top, g[DILATION_ROWS], g[HEIGHT], g[TAPS_ROWS])
    reach = (taps_columns - 1) * g[DILATION_COLUMNS]
    inner, outer = outputs_inside(g[BEFORE_COLUMNS], g[STRIDE_COLUMNS], reach, g[WIDTH], g[OUT_WIDTH])
    start = image + top * g[WIDTH] * g[CHANNELS]
    j = first
    while j < stop:
        left = j * g[STRIDE_COLUMNS] - g[BEFORE_COLUMNS]
        at, to = start + left * g[CHANNELS], y_at + (j - first) * y_step
        here = min(stop, outer) - j if j >= inner else 0
        if here >= PIXELS:
            _many_pixels(
                x, at, row_step, column_step, pixel_step, w, w_at, taps_columns, weight_row,
                row_first, row_stop, 0, taps_columns, channels, y, to, y_step,
            )  # fmt: skip
            j += PIXELS
        elif here >= FEW:
            _few_pixels(
                x, at, row_step, column_step, pixel_step, w, w_at, taps_columns, weight_row,
                row_first, row_stop, 0, taps_columns, channels, y, to, y_step,
            )  # fmt: skip
            j += FEW
        else:
            column_first, column_stop = taps_inside(left, g[DILATION_COLUMNS], g[WIDTH], taps_columns)
            _one_pixel(
                x, at, row_step, column_step, pixel_step, w, w_at, taps_columns, weight_row,
                row_first, row_stop, column_first, column_stop, channels, y, to, y_step,
            )  # fmt: skip
            j += 1


@kernel
def depthwise_pixels(x, w, w_at, g, first, stop, channel, channels, y, y_at, y_step, scratch, spare):
    """Output pixels [first, stop), counted through all images, channels [channel, channel + channels)."""
    plane = g[HEIGHT] * g[WIDTH] * g[CHANNELS]
    width, height = g[OUT_WIDTH], g[OUT_HEIGHT]
    pixel = first
    while pixel < stop:
        row, column = pixel // width, pixel % width
        end = min(width, column + stop - pixel)
        image = row // height * plane + channel
        to = y_at + (pixel - first) * y_step
        depthwise_row(x, image, row % height, column, end, w, w_at + channel, g, channels, y, to, y_step)
        pixel += end - column


@kernel
def spatial_pixels(x, w, w_at, g, first, stop, channel, channels, y, y_at, y_step, scratch, spare):
    """The same for filters that are a column of taps times a row of taps: down first, then along.

    The column pass of the image columns that a run of pixels needs goes to `scratch[spare:]`.  Two further tables
    behind `g` describe the passes as depthwise correlations of their own; `w` holds the columns, then the rows.
    """
    down, along = g[SIZE : 2 * SIZE], g[2 * SIZE : 3 * SIZE]
    plane = g[HEIGHT] * g[WIDTH] * g[CHANNELS]
    width, height = g[OUT_WIDTH], g[OUT_HEIGHT]
    step = along[CHANNELS]
    rows_at = w_at + channel
    columns_at = rows_at + g[TAPS_ROWS] * g[WEIGHT_ROW]
    reach = (g[TAPS_COLUMNS] - 1) * g[DILATION_COLUMNS]
    pixel = first
    while pixel < stop:
        row, column = pixel // width, pixel % width
        end = min(width, column + stop - pixel)
        image = row // height * plane + channel
        left = max(column * g[STRIDE_COLUMNS] - g[BEFORE_COLUMNS], 0)
        right = min((end - 1) * g[STRIDE_COLUMNS] - g[BEFORE_COLUMNS] + reach + 1, g[WIDTH])
        if left < right:
            depthwise_row(x, image, row % height, left, right, w, rows_at, down, channels, scratch, spare + left * step, step)
        to = y_at + (pixel - first) * y_step
        depthwise_row(scratch, spare, 0, column, end, w, columns_at, along, channels, y, to, y_step)
        pixel += end - column
