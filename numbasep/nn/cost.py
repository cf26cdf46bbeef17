"""Predicted times of convolutions over channels."""

import math
from functools import lru_cache

from .problem import Convolution

# Speed of one worker for float32; a float64 number counts as two.
PRODUCT = 55e9  # multiply-adds per second of the matrix product
DEPTHWISE = 15e9  # multiply-adds per second of the depthwise stage
BETWEEN = 8.0  # multiply-adds that take as long as storing and loading a number between two passes
SPLITTING = 6e-9  # seconds per tap for factoring spatial filters into columns and rows ...
SPLIT = 50e-6  # ... and per call
UNFOLD = 4e9  # elements of unfolded windows written per second
MEMORY = 8e9  # bytes of input and result read and written per second
CALL = 15e-6  # seconds to start and join the workers


def seconds(problem: Convolution, method: str, multiplier: int, workers: int) -> float:
    """Estimate the seconds of a call of `method` with `multiplier` depthwise filters per channel."""
    size = problem.compute.itemsize
    moved = size * (math.prod(problem.in_shape) + math.prod(problem.out_shape)) / MEMORY
    return CALL + max(work(problem, method, multiplier), moved) / workers


def work(problem: Convolution, method: str, multiplier: int) -> float:
    """Estimate the seconds of arithmetic of a single worker."""
    produced = produce(problem, method, multiplier)
    multiplied = products(problem, method, multiplier) / PRODUCT
    return (produced + multiplied) * problem.compute.itemsize / 4


def produce(problem: Convolution, method: str, multiplier: int) -> float:
    """Estimate the seconds of a single float32 worker to compute the left factor of the matrix product."""
    outputs = problem.pixels * problem.channels * multiplier
    if problem.operation == "conv2d" and method == "direct":
        return outputs * problem.taps / UNFOLD
    if problem.operation != "conv2d" and method == "separable":
        # the vertical pass computes all input columns, `stride` of them per output column
        down = (problem.rows.taps + BETWEEN) * problem.columns.stride
        return outputs * (down + problem.columns.taps) / DEPTHWISE
    return outputs * problem.taps / DEPTHWISE


@lru_cache(maxsize=512)
def spatial_pays(problem: Convolution, workers: int) -> bool:
    """Return whether two one-dimensional passes are faster than a direct sum, including the factoring."""
    one, two = (produce(problem, method, problem.multiplier) for method in ("direct", "separable"))
    find = SPLIT + SPLITTING * problem.taps * problem.channels * problem.multiplier
    return (one - two) * problem.compute.itemsize / 4 / workers > find


def products(problem: Convolution, method: str, multiplier: int) -> int:
    """Return the number of multiplications of the matrix product."""
    if problem.operation == "depthwise_conv2d":
        return 0
    depth = problem.taps if problem.operation == "conv2d" and method == "direct" else multiplier
    return problem.pixels * depth * problem.channels * problem.out_channels
