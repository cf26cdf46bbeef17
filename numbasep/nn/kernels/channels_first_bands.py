"""Depthwise filters and im2col on channels-first images, a band of output rows at a time.

The input rows that a band reads are transposed into scratch, GROUP channels at a time, and are then an image whose
channels come last: one vector of channels, whatever the width of the image.
"""

from __future__ import annotations

from ...cpu.jit import inlined, kernel
from .depthwise import depthwise_run, spatial_run
from .im2col import unfold_columns
from .table_entries import (
    BEFORE_ROWS,
    CHANNELS,
    DILATION_ROWS,
    HEIGHT,
    OUT_WIDTH,
    PLANES,
    STRIDE_ROWS,
    TAPS_ROWS,
    WIDTH,
)
from .transpose import transpose_matrix

GROUP = 32  # channels that are transposed together: the band stays in the second-level cache


@inlined
def rows_read(g, first, stop):
    """The input rows that output rows [first, stop) read."""
    reach = (g[TAPS_ROWS] - 1) * g[DILATION_ROWS] + 1
    low = max(first * g[STRIDE_ROWS] - g[BEFORE_ROWS], 0)
    return low, min((stop - 1) * g[STRIDE_ROWS] - g[BEFORE_ROWS] + reach, g[HEIGHT])


@inlined
def transpose_band(x, g, image, first, stop, channel, channels, scratch, spare):
    """Write the rows that output rows [first, stop) read; return where in `scratch` row 0 would be, and the end."""
    low, high = rows_read(g, first, stop)
    line, plane = g[WIDTH] * g[CHANNELS], g[HEIGHT] * g[WIDTH]
    pixels = max(high - low, 0) * g[WIDTH]
    at = (image * g[PLANES] + channel) * plane + low * g[WIDTH]
    transpose_matrix(x, at, channels, pixels, plane, scratch, spare, g[CHANNELS], False)
    return spare - low * line, spare + pixels * g[CHANNELS]


@kernel
def depthwise_band(x, w, w_at, g, image, first, stop, channel, channels, y, y_at, y_step, scratch, spare):
    """Output rows [first, stop), channels [channel, channel + channels) of an image, channels last, to `y[y_at]`."""
    width = g[OUT_WIDTH]
    for c in range(0, channels, g[CHANNELS]):
        count = min(g[CHANNELS], channels - c)
        base, _ = transpose_band(x, g, image, first, stop, channel + c, count, scratch, spare)
        depthwise_run(
            scratch, base, w, w_at + channel + c, g, first * width, stop * width, count, y, y_at + c, y_step
        )


@kernel
def spatial_band(x, w, w_at, g, image, first, stop, channel, channels, y, y_at, y_step, scratch, spare):
    """The same for filters that are a column of taps times a row of taps."""
    width = g[OUT_WIDTH]
    for c in range(0, channels, g[CHANNELS]):
        count = min(g[CHANNELS], channels - c)
        base, between = transpose_band(x, g, image, first, stop, channel + c, count, scratch, spare)
        spatial_run(
            scratch, base, w, w_at + channel + c, g, first * width, stop * width, count,
            y, y_at + c, y_step, scratch, between,
        )  # fmt: skip


@kernel
def unfold_band(x, w, w_at, g, image, first, stop, column, columns, y, y_at, y_step, scratch, spare):
    """Columns [column, column + columns) of the windows of output rows [first, stop), column 0 before all others."""
    width = g[OUT_WIDTH]
    if column == 0:
        transpose_band(x, g, image, first, stop, 0, g[PLANES], scratch, spare)
    base = spare - rows_read(g, first, stop)[0] * g[WIDTH] * g[CHANNELS]
    unfold_columns(scratch, base, g, first * width, stop * width, column, columns, y, y_at, y_step)
