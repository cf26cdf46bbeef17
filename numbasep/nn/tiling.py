"""Tile sizes of convolutions over channels, computed with plain integers only.

The left factor of a tile should fit the second-level cache, all workers should get equal work, and work
repeated for each tile (copying weights) or split (computing the left factor) should be small.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

from . import cost
from .problem import Convolution

TILE_PIXELS = 392  # rows of the left factor: 28 blocks of 14; 800 kB of float32 for 512 channels
FEW_PIXELS = 100  # per worker; with fewer, the output channels are divided instead of the pixels
BAND_PIXELS = 224  # pixels of a band of rows, channels first
PLANE_PIXELS = 784  # pixels of a band if there is no matrix product
LARGE_BYTES = 16 << 20  # size of input and result from which on they do not stay in the caches
SERIAL_SECONDS = 20e-6  # work that takes one worker less is not divided
BATCH_MULTIPLICATIONS = 1 << 30  # per thread, less than a second, between checks for signals (Ctrl-C)


@dataclass(frozen=True, slots=True)
class TileSizes:
    """Division of a convolution into tiles x splits tasks (per image if channels first), shared by the workers."""

    workers: int
    """Number of threads."""
    tiles: int
    """Number of parts of the output pixels or, channels first, of the output rows of an image."""
    splits: int
    """Number of parts of the output channels of a tile."""
    tile_pixels: int
    """Maximum output pixels per tile."""
    batches: int
    """Number of parts of a thread's tasks; Python runs between them."""
    large: bool
    """Whether the arrays exceed the caches, so that input is prefetched and results use non-temporal stores."""


@lru_cache(maxsize=512)
def tile(problem: Convolution, threads: int, product: bool) -> TileSizes:
    """Divide `problem` among at most `threads` threads; `product` says whether it ends in a matrix product."""
    workers = 1 if cost.work(problem, "direct", problem.multiplier) < SERIAL_SECONDS else threads
    batches = -(-problem.multiplications // (workers * BATCH_MULTIPLICATIONS)) or 1
    divide = _divide_pixels if problem.channels_last else _divide_rows
    moved = problem.compute.itemsize * (math.prod(problem.in_shape) + math.prod(problem.out_shape))
    return TileSizes(workers, *divide(problem, workers, batches, product), batches, moved >= LARGE_BYTES)


def _divide_pixels(problem: Convolution, workers: int, batches: int, product: bool) -> tuple[int, int, int]:
    """Return (tiles, splits, pixels per tile), channels last."""
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
    """Return (tiles, splits, pixels per tile), channels first."""
    rows, width = max(problem.rows.out_size, 1), max(problem.columns.out_size, 1)
    wanted = BAND_PIXELS if product else PLANE_PIXELS
    tiles = -(-rows // max(wanted // width, 1))
    splits = 1
    if product and problem.batch * tiles < workers and rows * width >= FEW_PIXELS * workers:
        tiles = min(workers, rows)
    if problem.batch * tiles % workers:
        splits = workers
    return tiles, splits, -(-rows // tiles) * width
