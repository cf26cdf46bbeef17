"""Drivers for channels-first images, which transpose tiles in cache.

A tile is a band of output rows of an image.  A producer (`channels_first_bands`) computes the left factor of the
matrix product with channels last.  The sums of a panel of the product, or of a group of channels, are transposed to
the output.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import types

from ...cpu.intrinsics.vectors import VECTOR_BYTES, call
from ...cpu.jit import address, inlined, kernel
from .channels_first_bands import depthwise_band, spatial_band, unfold_band
from .channels_last import copy_panel, share
from .matrix_product import ADD, BLOCK_COLUMNS, BLOCK_ROWS, DEPTH, PRODUCED, WRITE, multiply_panel
from .table_entries import (
    BATCH,
    BATCHES,
    CHANNELS,
    FACTOR_ROW,
    MULTIPLIER,
    OUT_CHANNELS,
    OUT_HEIGHT,
    OUT_WIDTH,
    PLANES,
    PRODUCTS,
    SCRATCH,
    SPARE,
    SPLITS,
    TILES,
    WEIGHTS,
    WORKERS,
)
from .transpose import transpose_matrix


@inlined
def product_panels(
    multiply, right, g, start, r, depth, image, first, stop, low, high, scratch, base, tile, y
):
    """Add the left factor times rows start, start + 1, ... of group r of the right factor, panel by panel."""
    wide = BLOCK_COLUMNS * (VECTOR_BYTES // right.itemsize)
    width, multiplier, row = g[OUT_CHANNELS], g[MULTIPLIER], g[FACTOR_ROW]
    plane, pixels = g[OUT_HEIGHT] * g[OUT_WIDTH], (stop - first) * g[OUT_WIDTH]
    spare = base + DEPTH * wide
    sums = spare + BLOCK_ROWS * wide
    for column in range(low, high, wide):
        count = min(wide, width - column)
        for skip in range(0, depth, DEPTH):
            here = min(DEPTH, depth - skip)
            at = (start + skip) * multiplier + r
            copy_panel(right, at, multiplier, width, here, column, count, scratch, base)
            ahead, ahead_column = at + DEPTH * multiplier, column
            if skip + DEPTH >= depth:
                ahead, ahead_column = start * multiplier + r, column + wide
            call(multiply, (
                scratch, tile + skip, BLOCK_ROWS * row, row, 1, base, wide, here, spare,
                scratch, sums, wide, pixels, wide, ADD if skip > 0 else WRITE,
                right, ahead * width + ahead_column, multiplier * width,
            ))  # fmt: skip
        target = (image * width + column) * plane + first * g[OUT_WIDTH]
        transpose_matrix(scratch, sums, pixels, count, wide, y, target, plane, start + r > 0)


@inlined
def product_task(produce, multiply, x, w, right, g, image, band, part, scratch, base, y):
    """Compute a band of rows and a range of output channels of a convolution that ends in a matrix product."""
    wide = BLOCK_COLUMNS * (VECTOR_BYTES // x.itemsize)
    row = g[FACTOR_ROW]
    first, stop = share(band, g[TILES], g[OUT_HEIGHT])
    low, high = share(part, g[SPLITS], (g[OUT_CHANNELS] + wide - 1) // wide)
    low, high = low * wide, min(high * wide, g[OUT_CHANNELS])
    most = (g[OUT_HEIGHT] + g[TILES] - 1) // g[TILES] * g[OUT_WIDTH]
    tile = base + (DEPTH + BLOCK_ROWS + most) * wide
    aside = base + g[SCRATCH] - g[SPARE]
    for start in range(0, g[PRODUCTS], PRODUCED):
        depth = min(PRODUCED, g[PRODUCTS] - start)
        for r in range(g[MULTIPLIER]):
            call(produce, (
                x, w, r * g[WEIGHTS], g, image, first, stop, start, depth, scratch, tile, row, scratch, aside,
            ))  # fmt: skip
            product_panels(
                multiply, right, g, start, r, depth, image, first, stop, low, high, scratch, base, tile, y
            )


@inlined
def depthwise_task(produce, x, w, g, image, band, part, scratch, base, y):
    """Compute a band of rows and a range of channels of a depthwise convolution."""
    lanes = VECTOR_BYTES // x.itemsize
    multiplier, plane = g[MULTIPLIER], g[OUT_HEIGHT] * g[OUT_WIDTH]
    first, stop = share(band, g[TILES], g[OUT_HEIGHT])
    low, high = share(part, g[SPLITS], (g[PLANES] + lanes - 1) // lanes)
    low, high = low * lanes, min(high * lanes, g[PLANES])
    aside = base + g[SCRATCH] - g[SPARE]
    for channel in range(low, high, g[CHANNELS]):
        count = min(g[CHANNELS], high - channel)
        for r in range(multiplier):
            call(produce, (
                x, w, r * g[WEIGHTS], g, image, first, stop, channel, count,
                scratch, base, g[FACTOR_ROW], scratch, aside,
            ))  # fmt: skip
            target = ((image * g[PLANES] + channel) * multiplier + r) * plane + first * g[OUT_WIDTH]
            transpose_matrix(
                scratch, base, (stop - first) * g[OUT_WIDTH], count, g[FACTOR_ROW], y, target, multiplier * plane,
                False,
            )  # fmt: skip


@kernel
def worker_first(produce, multiply, x, w, right, g, batch, worker, scratch, y):
    """Run a batch of a worker's tasks; an empty `right` means a depthwise convolution without a product."""
    base = worker * g[SCRATCH]
    share_of, shares = batch * g[WORKERS] + worker, g[BATCHES] * g[WORKERS]
    from_task, to_task = share(share_of, shares, g[BATCH] * g[TILES] * g[SPLITS])
    for task in range(from_task, to_task):
        part, tile = task % g[SPLITS], task // g[SPLITS]
        image, band = tile // g[TILES], tile % g[TILES]
        if right.size > 0:
            product_task(produce, multiply, x, w, right, g, image, band, part, scratch, base, y)
        else:
            depthwise_task(produce, x, w, g, image, band, part, scratch, base, y)


@cache
def kernel_addresses(compute: np.dtype[Any], producer: str) -> tuple[Any, Any, Any]:
    """Return the addresses of (worker, producer, product) for the compute dtype, as `channels_last.run_*` take them."""
    n = types.int64
    line = types.Array(types.float32 if compute == np.float32 else types.float64, 1, "C")
    integers = types.Array(types.int64, 1, "C")
    produce = {"dense": depthwise_band, "spatial": spatial_band, "unfold": unfold_band}[producer]
    return (
        address(worker_first, (n, n, line, line, line, integers, n, n, line, line)),
        address(produce, (line, line, n, integers, n, n, n, n, n, line, n, n, line, n)),
        address(multiply_panel, (line, n, n, n, n, n, n, n, n, line, n, n, n, n, n, line, n, n)),
    )
