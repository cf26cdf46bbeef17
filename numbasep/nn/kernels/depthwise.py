"""Depthwise correlation of runs of output pixels, channels last.

`result[p, c] = sum_{di, dj} w[di, dj, c] * x[s1 * i + d1 * di - top, s2 * j + d2 * dj - left, c]`, x zero
outside. Taps outside the image are skipped instead of multiplied by zero, so that padding never gives NaN.  PIXELS
adjacent output pixels are computed at a time if all their taps are inside the image, otherwise one.
"""

from ...cpu.intrinsics.vectors import VECTOR_BYTES
from ...cpu.jit import inlined, kernel
from .intrinsics import (
    block_prefetch,
    block_stream,
    block_write,
    block_write_first,
    block_zeros,
    tap_run,
    tap_run_first,
)
from .table_entries import (
    BEFORE_COLUMNS,
    BEFORE_ROWS,
    CHANNELS,
    DILATION_COLUMNS,
    DILATION_ROWS,
    HEIGHT,
    OUT_HEIGHT,
    OUT_WIDTH,
    PREFETCH,
    SIZE,
    STREAM_DEPTHWISE,
    STRIDE_COLUMNS,
    STRIDE_ROWS,
    TAPS_COLUMNS,
    TAPS_ROWS,
    WEIGHT_ROW,
    WIDTH,
)

PIXELS = 3  # adjacent output pixels that share the load of a weight
COLUMNS = 2  # vectors of channels per block: PIXELS * COLUMNS sums hide the latency of an fma
EDGE_COLUMNS = 4  # vectors of channels per block of a single output pixel at an edge
RUN = 3  # adjacent taps that share the load of an input vector


@inlined
def taps_inside(first, step, size, taps):
    """Return the range of taps k for which 0 <= first + k * step < size."""
    if first >= 0 and first + (taps - 1) * step < size:
        return 0, taps
    start = (-first + step - 1) // step if first < 0 else 0
    stop = (size - 1 - first) // step + 1 if first < size else 0
    return min(start, taps), max(min(stop, taps), min(start, taps))


@inlined
def outputs_inside(before, stride, reach, size, outputs):
    """Return the range of outputs j whose taps, from j * stride - before over `reach`, are inside [0, size)."""
    start = min((before + stride - 1) // stride if before > 0 else 0, outputs)
    last = size - 1 - reach + before
    stop = last // stride + 1 if last >= 0 else 0
    return start, max(min(stop, outputs), start)


def _three_block(stride):
    """Return a function that sums PIXELS output pixels `stride` taps apart, for filters RUN taps wide."""

    @inlined
    def whole(x, x_at, row_step, column_step, w, w_at, row_first, row_stop, w_step):
        block = block_zeros(PIXELS, COLUMNS, x)
        source, weight = x_at + row_first * row_step, w_at + row_first * RUN * w_step
        if row_stop - row_first == RUN:
            block = tap_run(block, RUN, stride, w, weight, w_step, x, source, column_step)
            source, weight = source + row_step, weight + RUN * w_step
            block = tap_run(block, RUN, stride, w, weight, w_step, x, source, column_step)
            source, weight = source + row_step, weight + RUN * w_step
            block = tap_run(block, RUN, stride, w, weight, w_step, x, source, column_step)
        else:
            for _ in range(row_first, row_stop):
                block = tap_run(block, RUN, stride, w, weight, w_step, x, source, column_step)
                source, weight = source + row_step, weight + RUN * w_step
        return block

    return whole


@inlined
def _any_block(x, x_at, row_step, column_step, pixel_step, w, w_at, row_first, row_stop, taps, w_step):
    """Sum PIXELS output pixels for filters of any width; runs of taps share loads if windows are one tap apart."""
    block = block_zeros(PIXELS, COLUMNS, x)
    for di in range(row_first, row_stop):
        source, weight = x_at + di * row_step, w_at + di * taps * w_step
        dj = 0
        if pixel_step == column_step:
            while dj + RUN <= taps:
                block = tap_run(block, RUN, 1, w, weight, w_step, x, source, column_step)
                source += RUN * column_step
                weight += RUN * w_step
                dj += RUN
        while dj < taps:
            block = tap_run(block, 1, 1, w, weight, w_step, x, source, pixel_step)
            source += column_step
            weight += w_step
            dj += 1
    return block


_adjacent_three, _second_three = _three_block(1), _three_block(2)


@inlined
def edge_pixel(
    x, at, row_step, column_step, row_first, row_stop, column_first, column_stop, w, w_at, w_step, taps,
    channels, y, to,
):  # fmt: skip
    """Compute an output pixel from taps [row_first, row_stop) x [column_first, column_stop)."""
    lanes = VECTOR_BYTES // x.itemsize
    wide = EDGE_COLUMNS * lanes
    c = 0
    while c + wide <= channels:
        many = block_zeros(1, EDGE_COLUMNS, x)
        for di in range(row_first, row_stop):
            for dj in range(column_first, column_stop):
                source = at + di * row_step + dj * column_step + c
                many = tap_run(many, 1, 1, w, w_at + (di * taps + dj) * w_step + c, 0, x, source, 0)
        block_write(many, y, to + c, 0)
        c += wide
    while c < channels:
        one = block_zeros(1, 1, x)
        count = min(lanes, channels - c)
        for di in range(row_first, row_stop):
            for dj in range(column_first, column_stop):
                source = at + di * row_step + dj * column_step + c
                one = tap_run_first(
                    one, 1, 1, w, w_at + (di * taps + dj) * w_step + c, 0, x, source, 0, count
                )
        block_write_first(one, y, to + c, 0, 1, count)
        c += lanes


@inlined
def edge_run(x, at, first, stop, row_step, row_first, row_stop, w, w_at, g, c, channels, y, y_at, y_step):
    """Compute output pixels [first, stop) one by one, channels [c, channels); output column 0 reads `x[at]`."""
    stride, dilation, taps = g[STRIDE_COLUMNS], g[DILATION_COLUMNS], g[TAPS_COLUMNS]
    for j in range(first, stop):
        left = j * stride - g[BEFORE_COLUMNS]
        column_first, column_stop = taps_inside(left, dilation, g[WIDTH], taps)
        edge_pixel(
            x, at + j * stride * g[CHANNELS] + c, row_step, dilation * g[CHANNELS], row_first, row_stop,
            column_first, column_stop, w, w_at + c, g[WEIGHT_ROW], taps, channels - c, y, y_at + j * y_step + c,
        )  # fmt: skip


@inlined
def depthwise_row(x, image, row, first, stop, w, w_at, g, inner, outer, channels, y, y_at, y_step):
    """Compute output pixels [first, stop) of output row `row` of the image at `x[image]` into `y[y_at:]`.

    All taps of pixels [inner, outer) are inside the image horizontally.
    """
    wide = COLUMNS * (VECTOR_BYTES // x.itemsize)
    stride, dilation, taps, width = g[STRIDE_COLUMNS], g[DILATION_COLUMNS], g[TAPS_COLUMNS], g[WIDTH]
    column_step, pixel_step = g[CHANNELS] * dilation, g[CHANNELS] * stride
    line = width * g[CHANNELS]
    row_step = line * g[DILATION_ROWS]
    top = row * g[STRIDE_ROWS] - g[BEFORE_ROWS]
    row_first, row_stop = taps_inside(top, g[DILATION_ROWS], g[HEIGHT], g[TAPS_ROWS])
    start = image + top * line - g[BEFORE_COLUMNS] * g[CHANNELS]
    w_step = g[WEIGHT_ROW]
    base = y_at - first * y_step
    low, high = max(first, inner), min(stop, outer)
    if high < low + PIXELS:
        low, high = first, first
    whole = channels // wide * wide
    for part in range(3):  # left edge, channels after whole vectors, right edge: one call to be compiled once
        begin, end, c = first, low, 0
        if part == 1:
            begin, end, c = low, high, whole
        elif part == 2:
            begin, end, c = high, stop, 0
        if c < channels:
            edge_run(
                x, start, begin, end, row_step, row_first, row_stop, w, w_at, g, c, channels, y, base, y_step
            )
    ahead = g[PREFETCH] * line
    for block_first in range(low, high, PIXELS):
        j = min(block_first, high - PIXELS)
        at, to = start + j * pixel_step, base + j * y_step
        for c in range(0, whole, wide):
            if taps == RUN and stride == dilation:
                block = _adjacent_three(
                    x, at + c, row_step, column_step, w, w_at + c, row_first, row_stop, w_step
                )
            elif taps == RUN and stride == 2 * dilation:
                block = _second_three(
                    x, at + c, row_step, column_step, w, w_at + c, row_first, row_stop, w_step
                )
            else:
                block = _any_block(
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
            if ahead > 0:
                next_at = at + ahead + c
                for _ in range(g[STRIDE_ROWS]):
                    block_prefetch(block, x, next_at, g[CHANNELS])
                    if stride == 2:
                        block_prefetch(block, x, next_at + PIXELS * g[CHANNELS], g[CHANNELS])
                    next_at += line
            if g[STREAM_DEPTHWISE]:
                block_stream(block, y, to + c, y_step)
            else:
                block_write(block, y, to + c, y_step)


@inlined
def outputs_whole(g):
    """Return the range of output pixels of a row whose taps are all inside the image horizontally."""
    reach = (g[TAPS_COLUMNS] - 1) * g[DILATION_COLUMNS]
    return outputs_inside(g[BEFORE_COLUMNS], g[STRIDE_COLUMNS], reach, g[WIDTH], g[OUT_WIDTH])


@inlined
def depthwise_run(x, base, w, w_at, g, first, stop, channels, y, y_at, y_step):
    """Compute `channels` channels of output pixels [first, stop), numbered over all images from `x[base]` on."""
    plane = g[HEIGHT] * g[WIDTH] * g[CHANNELS]
    width, height = g[OUT_WIDTH], g[OUT_HEIGHT]
    inner, outer = outputs_whole(g)
    row, column = first // width, first % width
    image, row = base + row // height * plane, row % height
    while first < stop:
        end = min(width, column + stop - first)
        depthwise_row(x, image, row, column, end, w, w_at, g, inner, outer, channels, y, y_at, y_step)
        y_at += (end - column) * y_step
        first += end - column
        column = 0
        row += 1
        if row == height:
            row = 0
            image += plane


@inlined
def spatial_run(x, base, w, w_at, g, first, stop, channels, y, y_at, y_step, scratch, spare):
    """Compute the same for filters that are the product of a column and a row of taps, by two passes.

    The vertical pass writes the image columns that a run of pixels needs to `scratch[spare:]`; the horizontal pass
    reads them.  Two more tables after the first in `g` describe the passes as depthwise correlations.  `w` contains the
    columns of taps, then the rows.
    """
    down, along = g[SIZE : 2 * SIZE], g[2 * SIZE : 3 * SIZE]
    plane = g[HEIGHT] * g[WIDTH] * g[CHANNELS]
    width, height = g[OUT_WIDTH], g[OUT_HEIGHT]
    inner, outer = outputs_whole(g)
    step = along[CHANNELS]
    columns_at = w_at + g[TAPS_ROWS] * g[WEIGHT_ROW]
    reach = (g[TAPS_COLUMNS] - 1) * g[DILATION_COLUMNS]
    while first < stop:
        row, column = first // width, first % width
        end = min(width, column + stop - first)
        image = base + row // height * plane
        left = max(column * g[STRIDE_COLUMNS] - g[BEFORE_COLUMNS], 0)
        right = min((end - 1) * g[STRIDE_COLUMNS] - g[BEFORE_COLUMNS] + reach + 1, g[WIDTH])
        source, source_at, source_row, low, high, low_whole, high_whole = (
            x, image, row % height, left, right, 0, g[WIDTH],
        )  # fmt: skip
        table, taps_at, target, target_at, target_step = down, w_at, scratch, spare + left * step, step
        for second in range(2):  # a single call for both passes, so that it is compiled once
            if second:
                source, source_at, source_row, low, high, low_whole, high_whole = (
                    scratch, spare, 0, column, end, inner, outer,
                )  # fmt: skip
                table, taps_at, target, target_at, target_step = along, columns_at, y, y_at, y_step
            if low < high:
                depthwise_row(
                    source, source_at, source_row, low, high, w, taps_at, table, low_whole, high_whole, channels,
                    target, target_at, target_step,
                )  # fmt: skip
        y_at += (end - column) * y_step
        first += end - column


@kernel
def depthwise_pixels(x, w, w_at, g, first, stop, channel, channels, y, y_at, y_step, scratch, spare):
    """Compute output pixels [first, stop), numbered over all images, channels [channel, channel + channels)."""
    depthwise_run(x, channel, w, w_at + channel, g, first, stop, channels, y, y_at, y_step)


@kernel
def spatial_pixels(x, w, w_at, g, first, stop, channel, channels, y, y_at, y_step, scratch, spare):
    """Compute the same for filters that are the product of a column and a row of taps."""
    spatial_run(x, channel, w, w_at + channel, g, first, stop, channels, y, y_at, y_step, scratch, spare)
