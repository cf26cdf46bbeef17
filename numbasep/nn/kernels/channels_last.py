"""Drivers for channels-last images, with tiles that fit the cache.

A tile is a run of output pixels and a range of output channels.  A producer (`depthwise_pixels`, `spatial_pixels`
or `unfold_pixels`) computes up to PRODUCED columns of the left factor at a time in the worker's scratch memory.
The right factor is copied there panel by panel, DEPTH rows at a time, and the product is added to the output.
The left factor of a whole image is never stored.  Producers and products are called by address (see `jit.address`).
"""

from functools import cache
from typing import Any

import numpy as np
from numba import prange, types

from ...cpu.intrinsics.vectors import VECTOR_BYTES, call
from ...cpu.jit import address, inlined, kernel, parallel, serial
from .depthwise import depthwise_pixels, spatial_pixels
from .im2col import unfold_pixels
from .intrinsics import block_read, block_write, block_zeros
from .matrix_product import ADD, BLOCK_COLUMNS, BLOCK_ROWS, DEPTH, PRODUCED, STREAM, WRITE, multiply_panel
from .table_entries import (
    BATCH,
    BATCHES,
    CHANNELS,
    FACTOR_ROW,
    MULTIPLIER,
    OUT_CHANNELS,
    OUT_HEIGHT,
    OUT_WIDTH,
    PRODUCTS,
    SCRATCH,
    SPARE,
    SPLITS,
    STREAM_PRODUCT,
    TILES,
    WEIGHTS,
    WORKERS,
)


@inlined
def copy_panel(right, first, step, width, depth, column, count, scratch, panel):
    """Copy `count` columns of rows first, first + step, ... of the right factor, padded with zeros."""
    wide = BLOCK_COLUMNS * (VECTOR_BYTES // right.itemsize)
    zeros = block_zeros(1, BLOCK_COLUMNS, right)
    at = first * width + column
    for k in range(depth):
        to = panel + k * wide
        if count == wide:
            block_write(block_read(zeros, right, at, 0), scratch, to, 0)
        else:
            block_write(zeros, scratch, to, 0)
            for j in range(count):
                scratch[to + j] = right[at + j]
        at += step * width


@inlined
def share(part, parts, size):
    """Return the bounds of a part, one of `parts` nearly equal parts of `size` items."""
    return part * size // parts, (part + 1) * size // parts


@inlined
def product_panels(multiply, right, g, start, r, depth, first, stop, low, high, scratch, base, y):
    """Add the left factor times rows start, start + 1, ... of group r of the right factor, panel by panel."""
    wide = BLOCK_COLUMNS * (VECTOR_BYTES // right.itemsize)
    width, multiplier, row = g[OUT_CHANNELS], g[MULTIPLIER], g[FACTOR_ROW]
    spare = base + DEPTH * wide
    tile = spare + BLOCK_ROWS * wide
    for column in range(low, high, wide):
        count = min(wide, width - column)
        for skip in range(0, depth, DEPTH):
            here = min(DEPTH, depth - skip)
            at = (start + skip) * multiplier + r
            copy_panel(right, at, multiplier, width, here, column, count, scratch, base)
            ahead, ahead_column = at + DEPTH * multiplier, column
            if skip + DEPTH >= depth:
                ahead, ahead_column = start * multiplier + r, column + wide
            how = ADD if start + skip + r > 0 else STREAM if g[STREAM_PRODUCT] else WRITE
            call(multiply, (
                scratch, tile + skip, BLOCK_ROWS * row, row, 1, base, wide, here, spare,
                y, first * width + column, width, stop - first, count, how,
                right, ahead * width + ahead_column, multiplier * width,
            ))  # fmt: skip


@inlined
def product_task(produce, multiply, x, w, right, g, task, scratch, base, y):
    """Compute a tile of a depthwise separable or ordinary convolution, which ends in a matrix product."""
    wide = BLOCK_COLUMNS * (VECTOR_BYTES // x.itemsize)
    width, row = g[OUT_CHANNELS], g[FACTOR_ROW]
    first, stop = share(task // g[SPLITS], g[TILES], g[BATCH] * g[OUT_HEIGHT] * g[OUT_WIDTH])
    low, high = share(task % g[SPLITS], g[SPLITS], (width + wide - 1) // wide)
    low, high = low * wide, min(high * wide, width)
    tile = base + (DEPTH + BLOCK_ROWS) * wide
    aside = base + g[SCRATCH] - g[SPARE]
    for start in range(0, g[PRODUCTS], PRODUCED):
        depth = min(PRODUCED, g[PRODUCTS] - start)
        for r in range(g[MULTIPLIER]):
            filters = r * g[WEIGHTS]
            call(produce, (x, w, filters, g, first, stop, start, depth, scratch, tile, row, scratch, aside))
            product_panels(multiply, right, g, start, r, depth, first, stop, low, high, scratch, base, y)


@inlined
def depthwise_task(produce, x, w, g, task, scratch, base, y):
    """Compute a run of pixels and a range of channels of a depthwise convolution."""
    lanes = VECTOR_BYTES // x.itemsize
    multiplier, channels, row = g[MULTIPLIER], g[CHANNELS], g[FACTOR_ROW]
    aside = base + g[SCRATCH] - g[SPARE]
    first, stop = share(task // g[SPLITS], g[TILES], g[BATCH] * g[OUT_HEIGHT] * g[OUT_WIDTH])
    low, high = share(task % g[SPLITS], g[SPLITS], (channels + lanes - 1) // lanes)
    low, high = low * lanes, min(high * lanes, channels)
    if multiplier == 1:
        call(
            produce,
            (x, w, 0, g, first, stop, low, high - low, y, first * channels + low, channels, scratch, aside),
        )
        return
    for channel in range(low, high, PRODUCED):
        count = min(PRODUCED, high - channel)
        for r in range(multiplier):
            call(
                produce,
                (x, w, r * g[WEIGHTS], g, first, stop, channel, count, scratch, base, row, scratch, aside),
            )
            for pixel in range(first, stop):
                source = base + (pixel - first) * row
                target = (pixel * channels + channel) * multiplier + r
                for c in range(count):
                    y[target + c * multiplier] = scratch[source + c]


@kernel
def worker_last(produce, multiply, x, w, right, g, batch, worker, scratch, y):
    """Run a batch of a worker's tasks; an empty `right` means a depthwise convolution without a product."""
    base = worker * g[SCRATCH]
    first, stop = share(batch * g[WORKERS] + worker, g[BATCHES] * g[WORKERS], g[TILES] * g[SPLITS])
    for task in range(first, stop):
        if right.size > 0:
            product_task(produce, multiply, x, w, right, g, task, scratch, base, y)
        else:
            depthwise_task(produce, x, w, g, task, scratch, base, y)


@serial
def run_serial(work, produce, multiply, x, w, right, g, batch, scratch, y):
    """Run a batch of all workers' tasks on the calling thread."""
    for worker in range(g[WORKERS]):
        call(work, (produce, multiply, x, w, right, g, batch, worker, scratch, y))


@parallel
def run_parallel(work, produce, multiply, x, w, right, g, batch, scratch, y):
    """Run a batch of all workers' tasks, with a Numba thread per worker."""
    for worker in prange(g[WORKERS]):
        call(work, (produce, multiply, x, w, right, g, batch, worker, scratch, y))


@cache
def kernel_addresses(compute: np.dtype[Any], producer: str) -> tuple[Any, Any, Any]:
    """Return the addresses of (worker, producer, product) for the compute dtype, as the drivers take them."""
    n = types.int64
    line = types.Array(types.float32 if compute == np.float32 else types.float64, 1, "C")
    integers = types.Array(types.int64, 1, "C")
    produce = {"dense": depthwise_pixels, "spatial": spatial_pixels, "unfold": unfold_pixels}[producer]
    return (
        address(worker_last, (n, n, line, line, line, integers, n, n, line, line)),
        address(produce, (line, line, n, integers, n, n, n, n, line, n, n, line, n)),
        address(multiply_panel, (line, n, n, n, n, n, n, n, n, line, n, n, n, n, n, line, n, n)),
    )
