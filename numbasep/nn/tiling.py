"""Tile sizes of convolutions over channels.  Plain integers only.

A tile's produced factor should stay in the second-level cache, every worker should get the same amount of
work, and what tiles repeat (copying the weights of every tile, producing the factor of every split) should
stay small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from . import cost
from .problem import Convolution

TILE_PIXELS = 392  # of a produced factor: 28 blocks of 14; 800 kB of float32 for 512 channels
FEW_PIXELS = 100  # below this the output channels are divided, not the pixels
BAND_PIXELS = 224  # of a band of rows, channels first
PLANE_PIXELS = 784  # of a band of the depthwise convolution alone
LARGE_BYTES = 16 << 20  # of input and result together: the caches keep neither until it is next needed
SERIAL_SECONDS = 20e-6  # of one worker: less is not worth the start of another
BATCH_MULTIPLICATIONS = 1 << 30  # of a thread, under a second, between two looks for signals (Ctrl-C)


@dataclass(frozen=True, slots=True)
class TileSizes:
    """Tasks = tiles x splits (x images, channels first), shared evenly by the workers."""

    workers: int
    """Threads."""
    tiles: int
    """Parts of the output pixels; channels first: of the output rows of one image."""
    splits: int
    """Parts of the channels of a tile."""
    tile_pixels: int
    """Most output pixels of one tile."""
    batches: int
    """Parts of a thread's tasks; Python runs between them."""
    large: bool
    """Whether input rows are asked for ahead and results written past the caches."""


@lru_cache(maxsize=512)
def tile(problem: Convolution, threads: int, product: bool) -> TileSizes:
    """The division of `problem` among at most `threads`; `product` if it ends in a matrix product."""
    workers = 1 if cost.work(problem, "direct", problem.multiplier) < SERIAL_SECONDS else threads
    batches = -(-problem.multiplications // (workers * BATCH_MULTIPLICATIONS)) or 1
    divide = _divide_pixels if problem.channels_last else _divide_rows
    moved = problem.compute.itemsize * (math.prod(problem.in_shape) + math.prod(problem.out_shape))
    return TileSizes(workers, *divide(problem, workers, batches, product), batches, moved >= LARGE_BYTES)


def _divide_pixels(problem: Convolution, workers: int, batches: int, product: bool) -> tuple[int, int, int]:
    """(tiles, splits, pixels of a tile), channels last."""
    pixels = max(problem.pixels, 1)
    if pixels < FEW_PIXELS * workers:
        tiles = -(-pixels // TILE_PIXELS)
        return tiles, workers, -(-pixels // tiles)
    if not product and problem.multiplier == 1:
        tiles = workers * batches
        return tiles, 1, -(-pixels // tiles)
    tiles = workers * -(-pixels // (workers * TILE_PIXELS))
    return tiles, 1, -(-pixels // tiles)


def _divide_rows(
    problem: Convolution,
    workers: int,
    batches: int,  # noqa: ARG001 - as `_divide_pixels`
    product: bool,
) -> tuple[int, int, int]:
    """(tiles, splits, pixels of a tile), channels first."""
    rows, width = max(problem.rows.out_size, 1), max(problem.columns.out_size, 1)
    wanted = BAND_PIXELS if product else PLANE_PIXELS
    tiles = -(-rows // max(wanted // width, 1))
    splits = 1
    if product and problem.batch * tiles < workers and rows * width >= FEW_PIXELS * workers:
        tiles = min(workers, rows)
    if problem.batch * tiles % workers:
        splits = workers
    return tiles, splits, -(-rows // tiles) * width
