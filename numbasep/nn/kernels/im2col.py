"""im2col: unfold the windows of output pixels to the rows of a matrix, channels last.

Column (di, dj, c) of the matrix is `x[s1 * i + d1 * di - top, s2 * j + d2 * dj - left, c]`, zero outside the
image. Only the columns of a chunk of the matrix product are written at a time, so that they stay in cache.
"""

from ...cpu.intrinsics.vectors import VECTOR_BYTES
from ...cpu.jit import inlined, kernel
from .depthwise import taps_inside
from .intrinsics import block_read, block_write, block_zeros, copy_first
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
    WIDTH,
)


@inlined
def copy_run(x, at, count, y, to):
    """Copy `count` elements, whole vectors first."""
    lanes = VECTOR_BYTES // x.itemsize
    like = block_zeros(1, 1, y)
    whole = count // lanes * lanes
    for i in range(0, whole, lanes):
        block_write(block_read(like, x, at + i, 0), y, to + i, 0)
    if whole < count:
        copy_first(x, at + whole, count - whole, y, to + whole)


@inlined
def unfold_run(x, base, g, tap, joined, skip, count, first, stop, y, to, y_step):
    """Copy elements [skip, skip + count) of a run of `joined` taps for output pixels [first, stop)."""
    channels, width, height = g[CHANNELS], g[WIDTH], g[HEIGHT]
    down = tap // g[TAPS_COLUMNS] * g[DILATION_ROWS] - g[BEFORE_ROWS]
    along = tap % g[TAPS_COLUMNS] * g[DILATION_COLUMNS] - g[BEFORE_COLUMNS]
    row, j = first // g[OUT_WIDTH], first % g[OUT_WIDTH]
    image, i = row // g[OUT_HEIGHT], row % g[OUT_HEIGHT]
    for _ in range(stop - first):
        source, column = i * g[STRIDE_ROWS] + down, j * g[STRIDE_COLUMNS] + along
        low, high = 0, 0
        if 0 <= source < height:
            inside, outside = taps_inside(column, 1, width, joined)
            low = min(max(inside * channels - skip, 0), count)
            high = max(min(outside * channels - skip, count), low)
        for n in range(low):
            y[to + n] = 0
        at = base + ((image * height + source) * width + column) * channels + skip
        copy_run(x, at + low, high - low, y, to + low)
        for n in range(high, count):
            y[to + n] = 0
        to += y_step
        j += 1
        if j == g[OUT_WIDTH]:
            j = 0
            i += 1
            if i == g[OUT_HEIGHT]:
                i = 0
                image += 1


@inlined
def unfold_columns(x, base, g, first, stop, column, columns, y, y_at, y_step):
    """Write columns [column, column + columns) of the windows of output pixels [first, stop), a row per pixel.

    The images start at `x[base]`.
    """
    # without dilation, the taps of a row are adjacent in memory and are copied together
    joined = g[TAPS_COLUMNS] if g[DILATION_COLUMNS] == 1 else 1
    length = joined * g[CHANNELS]
    k = column
    while k < column + columns:
        run, skip = k // length, k % length
        count = min(length - skip, column + columns - k)
        unfold_run(x, base, g, run * joined, joined, skip, count, first, stop, y, y_at + k - column, y_step)
        k += count


@kernel
def unfold_pixels(x, w, w_at, g, first, stop, column, columns, y, y_at, y_step, scratch, spare):
    """Call `unfold_columns` for images that start at `x[0]`; the signature is that of all producers."""
    unfold_columns(x, 0, g, first, stop, column, columns, y, y_at, y_step)
