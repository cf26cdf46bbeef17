"""Compute convolutions of float16 arrays in float32, a band of rows at a time."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..system.types import Array
from . import execute
from .problem import Convolution, SpatialAxis
from .routes import ChannelRoute
from .weights import aligned_empty

BAND_BYTES = 2 << 20  # band and result in the compute type: they fit the cache and amortize a call


def run_in_bands(route: ChannelRoute, x: Array, out: Array, workers: int | None) -> None:
    """Run `route` on `x` and write the result to `out`, which has the dtype of `x` and must not overlap it."""
    compute = route.problem.compute
    taps, matrix = (
        None if item is None else item.astype(compute, copy=False) for item in (route.taps, route.matrix)
    )
    for problem, read, written in bands(route.problem):
        part = aligned_empty(problem.out_shape, compute)
        converted = np.ascontiguousarray(x[read], compute)
        execute.run(problem, route.producer, converted, taps, matrix, part, workers)
        with np.errstate(over="ignore"):
            out[written] = part


def bands(problem: Convolution) -> Iterator[tuple[Convolution, tuple[slice, ...], tuple[slice, ...]]]:
    """Split a problem into bands of images and output rows; yield (problem, input slices, output slices)."""
    rows, size = problem.rows, problem.compute.itemsize
    image = size * (math.prod(problem.in_shape[1:]) + math.prod(problem.out_shape[1:]))
    images = max(min(BAND_BYTES // max(image, 1), problem.batch), 1)
    height = max(min(BAND_BYTES * rows.out_size // max(image, 1), rows.out_size), 1)
    for at in range(0, problem.batch, images):
        count = min(images, problem.batch - at)
        for first in range(0, rows.out_size, height):
            stop = min(first + height, rows.out_size)
            low = min(max(first * rows.stride - rows.before, 0), rows.size)
            high = max(min((stop - 1) * rows.stride - rows.before + rows.reach, rows.size), low)
            before = low + rows.before - first * rows.stride
            band = SpatialAxis(high - low, rows.taps, rows.stride, rows.dilation, before, stop - first)
            among, skip = slice(at, at + count), (slice(None),) * (not problem.channels_last)
            yield (
                replace(problem, batch=count, rows=band),
                (among, *skip, slice(low, high)),
                (among, *skip, slice(first, stop)),
            )
