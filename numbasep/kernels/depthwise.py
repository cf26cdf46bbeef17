"""Depthwise correlation of a run of output pixels, one filter for each channel: channels last.

`result[p, c] = sum_{di, dj} w[di, dj, c] * x[s1 * i + d1 * di - top, s2 * j + d2 * dj - left, c]`, x zero
outside. Taps that fall outside are skipped, not multiplied, so that padding never makes a NaN.  PIXELS
adjacent outputs are computed at a time, with masks only where one of them reaches over the left or right
edge.
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
from .nn_simd import block_write, block_write_first, block_zeros, tap_run, tap_run_inside
from .simd import REGISTERS, VECTOR_BYTES

PIXELS = 8  # outputs of a row that share the load of every weight: enough to hide the latency of an fma
COLUMNS = 2 if REGISTERS == 32 else 1  # vectors of channels computed together
RUN = 3  # adjacent taps that share the load of every input


@inlined
def taps_inside(first, step, size, taps):
    """The range of taps k for which 0 <= first + k * step < size."""
    if first >= 0 and first + (taps - 1) * step < size:
        return 0, taps
    start = (-first + step - 1) // step if first < 0 else 0
    stop = (size - 1 - first) // step + 1 if first < size else 0
    return min(start, taps), max(min(stop, taps), min(start, taps))


@inlined
def outputs_inside(before, stride, reach, size, outputs):
    """The range of outputs j whose taps, from j * stride - before over `reach`, lie inside [0, size)."""
    start = min((before + stride - 1) // stride if before > 0 else 0, outputs)
    last = size - 1 - reach + before
    stop = last // stride + 1 if last >= 0 else 0
    return start, max(min(stop, outputs), start)


def _pixel_block(stride):
    """PIXELS outputs, `stride` taps apart; runs of taps share their loads if that is not 0."""

    @inlined
    def whole(x, x_at, row_step, column_step, pixel_step, w, w_at, row_first, row_stop, taps, w_step):
        block = block_zeros(PIXELS, COLUMNS, x)
        for di in range(row_first, row_stop):
            source, weight = x_at + di * row_step, w_at + di * taps * w_step
            dj = 0
            if stride > 0:
                while dj + RUN <= taps:
                    block = tap_run(block, RUN, stride, w, weight, w_step, x, source, column_step)
                    source += RUN * column_step
                    weight += RUN * w_step
                    dj += RUN
            while dj < taps:
                block = tap_run(block, 1, 1, w, weight, w_step, x, source, pixel_step)
                source += column_step
                weight += w_step
                dj += 1
        return block

    return whole


_adjacent_block, _second_block, _distant_block = _pixel_block(1), _pixel_block(2), _pixel_block(0)


@inlined
def _edge_block(
    x, x_at, row_step, column_step, pixel_step, w, w_at, row_first, row_stop, taps, w_step,
    count, left, dilation, stride, width,
):  # fmt: skip
    """The same for `count` channels, where taps may lie beside the image of `width` columns."""
    block = block_zeros(PIXELS, COLUMNS, x)
    for di in range(row_first, row_stop):
        source, weight = x_at + di * row_step, w_at + di * taps * w_step
        dj, column = 0, left
        if stride == dilation:
            while dj + RUN <= taps:
                block = tap_run_inside(
                    block, RUN, 1, w, weight, w_step, x, source, column_step, count, column, dilation, width
                )
                source += RUN * column_step
                weight += RUN * w_step
                column += RUN * dilation
                dj += RUN
        while dj < taps:
            block = tap_run_inside(
                block, 1, 1, w, weight, w_step, x, source, pixel_step, count, column, stride, width
            )
            source += column_step
            weight += w_step
            column += dilation
            dj += 1
    return block


@inlined
def depthwise_row(x, image, row, first, stop, w, w_at, g, inner, outer, channels, y, y_at, y_step):
    """Output pixels [first, stop) of output row `row` of the image at `x[image]`, into `y[y_at:]`.

    No tap of pixels [inner, outer) lies beside the image.
    """
    wide = COLUMNS * (VECTOR_BYTES // x.itemsize)
    stride, dilation, taps, width = g[STRIDE_COLUMNS], g[DILATION_COLUMNS], g[TAPS_COLUMNS], g[WIDTH]
    column_step, pixel_step = g[CHANNELS] * dilation, g[CHANNELS] * stride
    row_step = width * g[CHANNELS] * g[DILATION_ROWS]
    top = row * g[STRIDE_ROWS] - g[BEFORE_ROWS]
    row_first, row_stop = taps_inside(top, g[DILATION_ROWS], g[HEIGHT], g[TAPS_ROWS])
    start = image + top * width * g[CHANNELS]
    w_step = g[WEIGHT_ROW]
    for j in range(first, stop, PIXELS):
        left = j * stride - g[BEFORE_COLUMNS]
        at, to = start + left * g[CHANNELS], y_at + (j - first) * y_step
        pixels = min(PIXELS, stop - j)
        c = 0
        if inner <= j and j + PIXELS <= min(stop, outer):
            while c + wide <= channels:
                if stride == dilation:
                    block = _adjacent_block(
                        x,
                        at + c,
                        row_step,
                        column_step,
                        pixel_step,
                        w,
                        w_at + c,
                        row_first,
                        row_stop,
                        taps,
                        w_step,
                    )
                elif stride == 2 * dilation:
                    block = _second_block(
                        x,
                        at + c,
                        row_step,
                        column_step,
                        pixel_step,
                        w,
                        w_at + c,
                        row_first,
                        row_stop,
                        taps,
                        w_step,
                    )
                else:
                    block = _distant_block(
                        x,
                        at + c,
                        row_step,
                        column_step,
                        pixel_step,
                        w,
                        w_at + c,
                        row_first,
                        row_stop,
                        taps,
                        w_step,
                    )
                block_write(block, y, to + c, y_step)
                c += wide
        while c < channels:
            count = min(wide, channels - c)
            block = _edge_block(
                x, at + c, row_step, column_step, pixel_step, w, w_at + c, row_first, row_stop, taps, w_step,
                count, left, dilation, stride, width,
            )  # fmt: skip
            block_write_first(block, y, to + c, y_step, pixels, count)
            c += wide


@inlined
def outputs_whole(g):
    """The range of outputs of a row none of whose taps lies beside the image."""
    reach = (g[TAPS_COLUMNS] - 1) * g[DILATION_COLUMNS]
    return outputs_inside(g[BEFORE_COLUMNS], g[STRIDE_COLUMNS], reach, g[WIDTH], g[OUT_WIDTH])


@kernel
def depthwise_pixels(x, w, w_at, g, first, stop, channel, channels, y, y_at, y_step, scratch, spare):
    """Output pixels [first, stop), counted through all images, channels [channel, channel + channels)."""
    plane = g[HEIGHT] * g[WIDTH] * g[CHANNELS]
    width, height = g[OUT_WIDTH], g[OUT_HEIGHT]
    inner, outer = outputs_whole(g)
    row, column = first // width, first % width
    image, row = row // height * plane + channel, row % height
    while first < stop:
        end = min(width, column + stop - first)
        depthwise_row(
            x, image, row, column, end, w, w_at + channel, g, inner, outer, channels, y, y_at, y_step
        )
        y_at += (end - column) * y_step
        first += end - column
        column = 0
        row += 1
        if row == height:
            row = 0
            image += plane


@kernel
def spatial_pixels(x, w, w_at, g, first, stop, channel, channels, y, y_at, y_step, scratch, spare):
    """The same for filters that are a column of taps times a row of taps: down first, then along.

    The column pass of the image columns that a run of pixels needs goes to `scratch[spare:]`.  Two further
    tables behind `g` describe the passes as depthwise correlations of their own; `w` holds the columns, then
    the rows.
    """
    down, along = g[SIZE : 2 * SIZE], g[2 * SIZE : 3 * SIZE]
    plane = g[HEIGHT] * g[WIDTH] * g[CHANNELS]
    width, height = g[OUT_WIDTH], g[OUT_HEIGHT]
    inner, outer = outputs_whole(g)
    step = along[CHANNELS]
    rows_at = w_at + channel
    columns_at = rows_at + g[TAPS_ROWS] * g[WEIGHT_ROW]
    reach = (g[TAPS_COLUMNS] - 1) * g[DILATION_COLUMNS]
    while first < stop:
        row, column = first // width, first % width
        end = min(width, column + stop - first)
        image = row // height * plane + channel
        left = max(column * g[STRIDE_COLUMNS] - g[BEFORE_COLUMNS], 0)
        right = min((end - 1) * g[STRIDE_COLUMNS] - g[BEFORE_COLUMNS] + reach + 1, g[WIDTH])
        if left < right:
            depthwise_row(
                x, image, row % height, left, right, w, rows_at, down, 0, g[WIDTH], channels,
                scratch, spare + left * step, step,
            )  # fmt: skip
        depthwise_row(
            scratch, spare, 0, column, end, w, columns_at, along, inner, outer, channels, y, y_at, y_step
        )
        y_at += (end - column) * y_step
        first += end - column
