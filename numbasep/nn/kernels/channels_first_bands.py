"""Depthwise filters and im2col on channels-first images, a band of output rows at a time.

The input rows of a band are transposed to scratch memory, GROUP channels at a time.  The result is an image with
channels last, so vectors hold channels and the width of the image does not matter.
"""

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

GROUP = 32  # channels that are transposed together, few enough to keep the band in the second-level cache


@inlined
def rows_read(g, first, stop):
    """Return the range of input rows that output rows [first, stop) read."""
    reach = (g[TAPS_ROWS] - 1) * g[DILATION_ROWS] + 1
    low = max(first * g[STRIDE_ROWS] - g[BEFORE_ROWS], 0)
    return low, min((stop - 1) * g[STRIDE_ROWS] - g[BEFORE_ROWS] + reach, g[HEIGHT])


@inlined
def transpose_band(x, g, image, first, stop, channel, channels, scratch, spare):
    """Transpose the input rows of output rows [first, stop) to `scratch`; return the offset of row 0, and the end."""
    low, high = rows_read(g, first, stop)
    line, plane = g[WIDTH] * g[CHANNELS], g[HEIGHT] * g[WIDTH]
    pixels = max(high - low, 0) * g[WIDTH]
    at = (image * g[PLANES] + channel) * plane + low * g[WIDTH]
    transpose_matrix(x, at, channels, pixels, plane, scratch, spare, g[CHANNELS], False)
    return spare - low * line, spare + pixels * g[CHANNELS]


@kernel
def depthwise_band(x, w, w_at, g, image, first, stop, channel, channels, y, y_at, y_step, scratch, spare):
    """Compute output rows [first, stop), channels [channel, channel + channels) into `y[y_at]`, channels last."""
    width = g[OUT_WIDTH]
    for c in range(0, channels, g[CHANNELS]):
        count = min(g[CHANNELS], channels - c)
        base, _ = transpose_band(x, g, image, first, stop, channel + c, count, scratch, spare)
        depthwise_run(
            scratch, base, w, w_at + channel + c, g, first * width, stop * width, count, y, y_at + c, y_step
        )


@kernel
def spatial_band(x, w, w_at, g, image, first, stop, channel, channels, y, y_at, y_step, scratch, spare):
    """Compute the same for filters that are the product of a column and a row of taps."""
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
    """Unfold columns [column, column + columns) of the windows of output rows [first, stop).

    The call with column 0 must come first: it transposes the band.
    """
    width = g[OUT_WIDTH]
    if column == 0:
        transpose_band(x, g, image, first, stop, 0, g[PLANES], scratch, spare)
    base = spare - rows_read(g, first, stop)[0] * g[WIDTH] * g[CHANNELS]
    unfold_columns(scratch, base, g, first * width, stop * width, column, columns, y, y_at, y_step)
