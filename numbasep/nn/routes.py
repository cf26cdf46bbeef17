"""Routes of convolutions over channels, and the choice among them.

An operation has two routes: ``"direct"`` uses the filters as given, ``"separable"`` factors them.  Depthwise
filters are factored into columns and rows of taps (spatial separability).  Ordinary convolutions are factored
into a depthwise and a pointwise stage, whose depthwise filters may in turn be spatially separable.
"""

import hashlib
import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ..system.forks import fork_safe_lock
from ..system.types import Array
from . import cost
from .execute import Producer
from .factor import DepthwiseSeparable, check_rtol, singular_bases, smallest
from .problem import Convolution
from .weights import spatial_factors

WORTHWHILE = 0.8  # part of the direct time below which the other form is chosen: estimates have errors
METHODS = ("auto", "direct", "separable")


@dataclass(frozen=True, slots=True, eq=False)
class ChannelRoute:
    """A route and its filters: everything `execute.run` needs except input and output."""

    method: str
    """"direct" or "separable"."""
    problem: Convolution
    """Convolution that is run; the depthwise separable one if an ordinary convolution was factored."""
    producer: Producer
    """Kernel that computes the left factor of the matrix product, or the result if there is no product."""
    taps: Array | None
    """Depthwise filters (taps, C, M)."""
    matrix: Array | None
    """Right factor of the matrix product (products, K)."""
    error: float
    """Relative error of the factorization; 0 for the filters as given."""
    amplification: float
    """Growth of the rounding error relative to direct summation."""


def check_method(method: object) -> None:
    """Raise ValueError unless `method` is one of `METHODS`."""
    if method not in METHODS:
        raise ValueError(f"method must be 'auto', 'direct' or 'separable', got {method!r}")


def depthwise_route(
    problem: Convolution, filters: Array, pointwise: Array | None, method: str, workers: int
) -> ChannelRoute:
    """Choose the route of a depthwise or depthwise separable convolution."""
    matrix = None if pointwise is None else pointwise.reshape(pointwise.shape[2:])
    if method == "separable" or (method == "auto" and cost.spatial_pays(problem, workers)):
        found = spatial_factors(filters)
        if found is not None:
            return ChannelRoute("separable", problem, "spatial", found[0], matrix, found[1], 1.0)
        if method == "separable":
            raise ValueError(
                "method='separable' needs depthwise filters that are each a column of taps times a row of taps, "
                "got filters of higher rank"
            )
    return ChannelRoute("direct", problem, "dense", filters.reshape(-1, *filters.shape[2:]), matrix, 0.0, 1.0)


def ordinary_route(
    problem: Convolution, filters: Array, method: str, rtol: float | None, workers: int
) -> ChannelRoute:
    """Choose the route of an ordinary convolution."""
    tolerance = check_rtol(rtol, problem.dtype)
    limit = min(problem.taps, problem.out_channels)
    if method == "auto":
        limit = profitable_multiplier(problem, workers)
    found = None
    if method == "separable" or (method == "auto" and limit > 0 and _promising(filters, tolerance, limit)):
        found = _decomposed(filters, tolerance, limit)
    if found is not None:
        separable = replace(problem, operation="separable_conv2d", multiplier=found.channel_multiplier)
        inner = depthwise_route(separable, found.depthwise, found.pointwise, "auto", workers)
        return replace(
            inner, method="separable", error=found.error + inner.error, amplification=found.amplification
        )
    if method == "separable":
        raise ValueError(
            "method='separable' needs finite filters with a depthwise separable form within "
            f"rtol={tolerance:.3g}, and these have none"
        )
    matrix = filters.reshape(-1, problem.out_channels)
    return ChannelRoute("direct", problem, "unfold", None, matrix, 0.0, 1.0)


@lru_cache(maxsize=512)
def profitable_multiplier(problem: Convolution, workers: int) -> int:
    """Return the largest channel multiplier with which the depthwise separable form is faster; 0 if none."""
    direct = WORTHWHILE * cost.seconds(problem, "direct", 1, workers)
    best = 0
    for multiplier in range(1, min(problem.taps, problem.out_channels) + 1):
        if cost.seconds(problem, "separable", multiplier, workers) >= direct:
            break
        best = multiplier
    return best


_memory: OrderedDict[tuple[Any, ...], DepthwiseSeparable | None] = OrderedDict()
_REMEMBERED = 32
_lock = fork_safe_lock()


def _decomposed(filters: Array, tolerance: float, limit: int) -> DepthwiseSeparable | None:
    """Call `smallest`, cached by a hash of the filters, since decomposing costs much more than hashing."""
    if not np.isfinite(filters).all():
        return None
    digest = hashlib.blake2b(np.ascontiguousarray(filters).data, digest_size=16).digest()
    key = (digest, filters.shape, filters.dtype, tolerance, limit)
    with _lock:
        if key in _memory:
            return _memory[key]
    found = smallest(filters, singular_bases(filters), tolerance, limit)
    with _lock:
        _memory[key] = found
        if len(_memory) > _REMEMBERED:
            _memory.popitem(last=False)
    return found


def _promising(filters: Array, tolerance: float, limit: int) -> bool:
    """Return whether the first input channel may have rank `limit` within `tolerance`.

    This rejects most filters at the price of one small decomposition.  The norm is estimated from the first channel;
    a wrong rejection costs time, not accuracy.  The 2-norm of the dropped part of a channel is at most sqrt(K) times
    the largest ||E_k||_1, and omitted columns could only increase it.
    """
    kh, kw, channels, outputs = filters.shape
    matrix = filters[:, :, 0, : 2 * kh * kw].astype(np.float64).reshape(kh * kw, -1)
    largest = float(np.abs(matrix).max())
    if limit >= min(matrix.shape) or not math.isfinite(largest):
        return True
    dropped = np.linalg.svd(matrix, compute_uv=False)[limit]
    return bool(dropped <= tolerance * kh * kw * channels * largest * math.sqrt(outputs))
