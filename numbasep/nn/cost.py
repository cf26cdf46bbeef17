"""Predicted times of convolutions over channels."""

from dataclasses import dataclass
from functools import lru_cache

from .problem import Convolution


@dataclass(frozen=True, slots=True)
class Rates:
    """Speed of one worker for float32; a float64 number counts as two."""

    product: float = 55e9
    """Multiply-adds per second of the matrix product."""
    depthwise: float = 15e9
    """Multiply-adds per second of the depthwise stage."""
    between: float = 8.0
    """Cost, in multiply-adds, of storing and loading a number between the two passes of a spatial filter."""
    splitting: float = 6e-9
    """Seconds per tap for factoring spatial filters into columns and rows."""
    split: float = 50e-6
    """Seconds per call for factoring spatial filters."""
    unfold: float = 4e9
    """Elements of unfolded windows written per second."""
    memory: float = 8e9
    """Bytes of input and result read and written per second."""
    call: float = 15e-6
    """Seconds to start and join the workers."""


DEFAULT = Rates()


def seconds(
    problem: Convolution, method: str, multiplier: int, workers: int, rates: Rates = DEFAULT
) -> float:
    """Estimate the seconds of a call of `method` with `multiplier` depthwise filters per channel."""
    size = problem.compute.itemsize
    moved = size * (_elements(problem.in_shape) + _elements(problem.out_shape)) / rates.memory
    return rates.call + max(work(problem, method, multiplier, rates), moved) / workers


def work(problem: Convolution, method: str, multiplier: int, rates: Rates = DEFAULT) -> float:
    """Estimate the seconds of arithmetic of a single worker."""
    produced = produce(problem, method, multiplier, rates)
    multiplied = products(problem, method, multiplier) / rates.product
    return (produced + multiplied) * problem.compute.itemsize / 4


def produce(problem: Convolution, method: str, multiplier: int, rates: Rates) -> float:
    """Estimate the seconds of a single float32 worker to compute the left factor of the matrix product."""
    outputs = problem.pixels * problem.channels * multiplier
    if problem.operation == "conv2d" and method == "direct":
        return outputs * problem.taps / rates.unfold
    if problem.operation != "conv2d" and method == "separable":
        # the vertical pass computes all input columns, `stride` of them per output column
        down = (problem.rows.taps + rates.between) * problem.columns.stride
        return outputs * (down + problem.columns.taps) / rates.depthwise
    return outputs * problem.taps / rates.depthwise


@lru_cache(maxsize=512)
def spatial_pays(problem: Convolution, workers: int, rates: Rates = DEFAULT) -> bool:
    """Return whether two one-dimensional passes are faster than a direct sum, including the factoring."""
    one, two = (produce(problem, method, problem.multiplier, rates) for method in ("direct", "separable"))
    find = rates.split + rates.splitting * problem.taps * problem.channels * problem.multiplier
    return (one - two) * problem.compute.itemsize / 4 / workers > find


def products(problem: Convolution, method: str, multiplier: int) -> int:
    """Return the number of multiplications of the matrix product."""
    if problem.operation == "depthwise_conv2d":
        return 0
    depth = problem.taps if problem.operation == "conv2d" and method == "direct" else multiplier
    return problem.pixels * depth * problem.channels * problem.out_channels


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
