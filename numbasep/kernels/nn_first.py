"""Drivers of the channels-first convolutions: as `nn_last`, with the factors of the product changing sides.

A tile is a band of output rows of one image.  The producer (`depthwise_planes` or `unfold_planes`) writes the
right factor, one row of pixels for each channel; the left factor is the transposed matrix of weights, copied
block by block.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types

from .depthwise_planes import depthwise_planes, unfold_planes
from .jit import address, inlined, kernel
from .nn_geometry import (
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
from .nn_last import share
from .nn_product import ADD, BLOCK_COLUMNS, BLOCK_ROWS, DEPTH, STREAM, WRITE, multiply_panel
from .simd import VECTOR_BYTES, call

GROUP = 8  # blocks of output channels whose weights are copied together


@inlined
def copy_weights(right, first, step, width, depth, column, count, scratch, to):
    """The transposed weights of `count` output channels, as blocks [depth][BLOCK_ROWS], zero beyond."""
    for block in range(0, count, BLOCK_ROWS):
        here = min(BLOCK_ROWS, count - block)
        at = first * width + column + block
        for _ in range(depth):
            for i in range(here):
                scratch[to + i] = right[at + i]
            for i in range(here, BLOCK_ROWS):
                scratch[to + i] = 0
            to += BLOCK_ROWS
            at += step * width


@inlined
def product_band(produce, multiply, x, w, right, g, image, first, stop, low, high, scratch, base, y):
    """Output channels [low, high) of one band of rows."""
    wide = BLOCK_COLUMNS * (VECTOR_BYTES // x.itemsize)
    width, multiplier, row = g[OUT_CHANNELS], g[MULTIPLIER], g[FACTOR_ROW]
    plane, pixels = g[OUT_HEIGHT] * g[OUT_WIDTH], (stop - first) * g[OUT_WIDTH]
    spare = base
    weights = spare + BLOCK_ROWS * wide
    band = weights + GROUP * BLOCK_ROWS * DEPTH
    aside = base + g[SCRATCH] - g[SPARE]
    how = STREAM if g[STREAM_PRODUCT] else WRITE
    for start in range(0, g[PRODUCTS], DEPTH):
        depth = min(DEPTH, g[PRODUCTS] - start)
        for r in range(multiplier):
            filters = r * g[WEIGHTS]
            call(
                produce,
                (x, w, filters, g, image, first, stop, start, depth, scratch, band, row, scratch, aside),
            )
            for channel in range(low, high, GROUP * BLOCK_ROWS):
                channels = min(GROUP * BLOCK_ROWS, high - channel)
                copy_weights(
                    right,
                    start * multiplier + r,
                    multiplier,
                    width,
                    depth,
                    channel,
                    channels,
                    scratch,
                    weights,
                )
                target = (image * width + channel) * plane + first * g[OUT_WIDTH]
                for column in range(0, pixels, wide):
                    call(multiply, (
                        scratch, weights, BLOCK_ROWS * depth, 1, BLOCK_ROWS, band + column, row, depth, spare,
                        y, target + column, plane, channels, min(wide, pixels - column), how,
                        scratch, weights, 0,
                    ))  # fmt: skip
            how = ADD


@inlined
def depthwise_band(produce, x, w, g, image, first, stop, low, high, scratch, base, y):
    """Channels [low, high) of one band of rows of the depthwise convolution alone."""
    multiplier, plane = g[MULTIPLIER], g[OUT_HEIGHT] * g[OUT_WIDTH]
    aside = base + g[SCRATCH] - g[SPARE]
    for r in range(multiplier):
        filters = r * g[WEIGHTS]
        target = ((image * g[CHANNELS] + low) * multiplier + r) * plane + first * g[OUT_WIDTH]
        call(produce, (
            x, w, filters, g, image, first, stop, low, high - low,
            y, target, multiplier * plane, scratch, aside,
        ))  # fmt: skip


@kernel
def worker_first(produce, multiply, x, w, right, g, batch, worker, scratch, y):
    """One batch of one worker's tasks; without a right factor the produced one is the result."""
    base = worker * g[SCRATCH]
    part, parts = batch * g[WORKERS] + worker, g[BATCHES] * g[WORKERS]
    from_task, to_task = share(part, parts, g[BATCH] * g[TILES] * g[SPLITS])
    for task in range(from_task, to_task):
        part, band = task % g[SPLITS], task // g[SPLITS]
        image = band // g[TILES]
        first, stop = share(band % g[TILES], g[TILES], g[OUT_HEIGHT])
        if right.size > 0:
            blocks = (g[OUT_CHANNELS] + BLOCK_ROWS - 1) // BLOCK_ROWS
            low, high = share(part, g[SPLITS], blocks)
            low, high = low * BLOCK_ROWS, min(high * BLOCK_ROWS, g[OUT_CHANNELS])
            product_band(produce, multiply, x, w, right, g, image, first, stop, low, high, scratch, base, y)
        else:
            low, high = share(part, g[SPLITS], g[CHANNELS])
            depthwise_band(produce, x, w, g, image, first, stop, low, high, scratch, base, y)


@cache
def kernel_addresses(compute: np.dtype[Any], producer: str) -> tuple[Any, Any, Any]:
    """(worker, producer, product) compiled for a compute dtype: what the drivers of `nn_last` take."""
    n = types.int64
    line = types.Array(types.float32 if compute == np.float32 else types.float64, 1, "C")
    integers = types.Array(types.int64, 1, "C")
    produce = {"dense": depthwise_planes, "unfold": unfold_planes}[producer]
    return (
        address(worker_first, (n, n, line, line, line, integers, n, n, line, line)),
        address(produce, (line, line, n, integers, n, n, n, n, n, line, n, n, line, n)),
        address(multiply_panel, (line, n, n, n, n, n, n, n, n, line, n, n, n, n, n, line, n, n)),
    )
