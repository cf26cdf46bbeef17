"""Gradient of a depthwise convolution with respect to its filters, channels last.

`total[di, dj, c] += sum_{b, i, j} x[b, s1 * i + d1 * di - top, s2 * j + d2 * dj - left, c] * gradient[b, i, j, c]`, x
zero outside.  Since the sum has as many terms as pixels, sums of PARTIAL products are added in float64.
"""

import numpy as np
from numba import prange

from ...cpu.intrinsics.vectors import VECTOR_BYTES
from ...cpu.jit import inlined, parallel, serial
from .depthwise import taps_inside
from .intrinsics import block_write, block_zeros, tap_run
from .table_entries import (
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
    TAPS_ROWS,
    WIDTH,
)

COLUMNS = 4  # vectors of channels per block, enough to hide the latency of an fma
PARTIAL = 128  # products that are summed in the compute type before the sum is added to the total


@inlined
def add_products(x, x_at, x_step, gradient, g_at, count, channels, totals, total, work, spare):
    """Add `x[x_at + j * x_step + c] * gradient[g_at + j * channels + c]` to `totals[total + c]` for j < count."""
    lanes = VECTOR_BYTES // x.itemsize
    wide = COLUMNS * lanes
    whole = channels // lanes * lanes
    c = 0
    while c + wide <= whole:
        many = block_zeros(1, COLUMNS, x)
        for j in range(count):
            many = tap_run(many, 1, 1, gradient, g_at + j * channels + c, 0, x, x_at + j * x_step + c, 0)
        block_write(many, work, spare, 0)
        for k in range(wide):
            totals[total + c + k] += work[spare + k]
        c += wide
    while c < whole:
        one = block_zeros(1, 1, x)
        for j in range(count):
            one = tap_run(one, 1, 1, gradient, g_at + j * channels + c, 0, x, x_at + j * x_step + c, 0)
        block_write(one, work, spare, 0)
        for k in range(lanes):
            totals[total + c + k] += work[spare + k]
        c += lanes
    for c in range(whole, channels):
        for j in range(count):
            product = np.float64(x[x_at + j * x_step + c]) * np.float64(gradient[g_at + j * channels + c])
            totals[total + c] += product


@inlined
def add_rows(x, gradient, g, first, stop, totals, at, work, spare):
    """Add the products of output rows [first, stop), numbered over all images, to `totals[at:]`."""
    channels, width = g[CHANNELS], g[WIDTH]
    for row in range(first, stop):
        image, i = row // g[OUT_HEIGHT], row % g[OUT_HEIGHT]
        for di in range(g[TAPS_ROWS]):
            source = i * g[STRIDE_ROWS] + di * g[DILATION_ROWS] - g[BEFORE_ROWS]
            if source < 0 or source >= g[HEIGHT]:
                continue
            line = (image * g[HEIGHT] + source) * width
            for dj in range(g[TAPS_COLUMNS]):
                left = dj * g[DILATION_COLUMNS] - g[BEFORE_COLUMNS]
                low, high = taps_inside(left, g[STRIDE_COLUMNS], width, g[OUT_WIDTH])
                for j in range(low, high, PARTIAL):
                    add_products(
                        x, (line + left + j * g[STRIDE_COLUMNS]) * channels, g[STRIDE_COLUMNS] * channels,
                        gradient, (row * g[OUT_WIDTH] + j) * channels, min(PARTIAL, high - j), channels,
                        totals, at + (di * g[TAPS_COLUMNS] + dj) * channels, work, spare,
                    )  # fmt: skip


@inlined
def add_part(x, gradient, g, part, parts, batch, batches, rows, totals, work):
    """Add a batch of the output rows of a part to the totals of that part."""
    first, stop = part * rows // parts, (part + 1) * rows // parts
    low = first + batch * (stop - first) // batches
    high = first + (batch + 1) * (stop - first) // batches
    add_rows(
        x, gradient, g, low, high, totals, part * (totals.size // parts), work, part * (work.size // parts)
    )


@serial
def filter_gradient_serial(x, gradient, g, parts, batch, batches, rows, totals, work):
    """Add a batch of all parts of the output rows on the calling thread."""
    for part in range(parts):
        add_part(x, gradient, g, part, parts, batch, batches, rows, totals, work)


@parallel
def filter_gradient_parallel(x, gradient, g, parts, batch, batches, rows, totals, work):
    """Add a batch of all parts of the output rows on Numba's threads."""
    for part in prange(parts):
        add_part(x, gradient, g, part, parts, batch, batches, rows, totals, work)
