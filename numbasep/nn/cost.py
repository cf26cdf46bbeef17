"""Predicted times of convolutions over channels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from .problem import Convolution


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of one worker for float32; a float64 number counts twice."""

    product: float = 55e9
    """Multiply-adds per second inside the matrix product."""
    depthwise: float = 15e9
    """Multiply-adds per second of the depthwise stage."""
    between: float = 8.0
    """Multiply-adds that storing and loading a number between the two passes of a spatial filter takes."""
    splitting: float = 6e-9
    """Seconds for each tap of finding the columns and rows of spatial filters ..."""
    split: float = 50e-6
    """... and for starting to."""
    unfold: float = 4e9
    """Elements per second written when windows are unfolded."""
    memory: float = 8e9
    """Bytes per second of input read and result written."""
    call: float = 15e-6
    """Seconds for starting and joining the workers."""
    factoring: float = 1e9
    """Multiply-adds per second of decomposing filters."""


DEFAULT = Rates()


def seconds(
    problem: Convolution, method: str, multiplier: int, workers: int, rates: Rates = DEFAULT
) -> float:
    """Estimated time of `method` with `multiplier` depthwise filters for each channel."""
    size = problem.compute.itemsize
    moved = size * (_elements(problem.in_shape) + _elements(problem.out_shape)) / rates.memory
    return rates.call + max(work(problem, method, multiplier, rates), moved) / workers


def work(problem: Convolution, method: str, multiplier: int, rates: Rates = DEFAULT) -> float:
    """Seconds of one worker for the arithmetic."""
    produced = produce(problem, method, multiplier, rates)
    multiplied = products(problem, method, multiplier) / rates.product
    return (produced + multiplied) * problem.compute.itemsize / 4


def produce(problem: Convolution, method: str, multiplier: int, rates: Rates) -> float:
    """Seconds of one worker to produce the left factor."""
    outputs = problem.pixels * problem.channels * multiplier
    if problem.operation == "conv2d" and method == "direct":
        return outputs * problem.taps / rates.unfold
    if problem.operation != "conv2d" and method == "separable":
        # the column pass computes all input columns, of which there are a stride's worth for each output
        down = (problem.rows.taps + rates.between) * problem.columns.stride
        return outputs * (down + problem.columns.taps) / rates.depthwise
    return outputs * problem.taps / rates.depthwise


@lru_cache(maxsize=512)
def spatial_pays(problem: Convolution, workers: int, rates: Rates = DEFAULT) -> bool:
    """Whether two one-dimensional passes would be quicker than one of all taps, finding them included."""
    one, two = (produce(problem, method, problem.multiplier, rates) for method in ("direct", "separable"))
    find = rates.split + rates.splitting * problem.taps * problem.channels * problem.multiplier
    return (one - two) * problem.compute.itemsize / 4 / workers > find


def products(problem: Convolution, method: str, multiplier: int) -> int:
    """Multiplications of the matrix product."""
    if problem.operation == "depthwise_conv2d":
        return 0
    depth = problem.taps if problem.operation == "conv2d" and method == "direct" else multiplier
    return problem.pixels * depth * problem.channels * problem.out_channels


def factoring(problem: Convolution, rates: Rates = DEFAULT) -> float:
    """Seconds to decompose the filters of an ordinary convolution."""
    return 6 * problem.taps**2 * problem.channels * problem.out_channels / rates.factoring


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
