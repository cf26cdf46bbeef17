"""Routes of convolutions over channels, and the choice among them.

An operation has two: ``"direct"`` uses the filters as given, ``"separable"`` finds their structure.  For
depthwise filters that is a column of taps times a row of taps (spatial); for an ordinary convolution it is a
depthwise stage and a pointwise stage (across channels), whose depthwise filters may in turn be spatially
separable.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..system.forks import lasting_lock
from . import cost
from .execute import Producer
from .factor import DepthwiseSeparable, check_rtol, singular_bases, smallest
from .problem import Convolution
from .weights import spatial_factors

Array = npt.NDArray[Any]
WORTHWHILE = 0.8  # of the direct time that another form may take: estimates err, and it is rounded twice
METHODS = ("auto", "direct", "separable")


@dataclass(frozen=True, slots=True, eq=False)
class ChannelRoute:
    """Everything `execute.run` needs besides the arrays."""

    method: str
    """"direct" or "separable"."""
    problem: Convolution
    """What is run: for a factorized ordinary convolution the depthwise separable one."""
    producer: Producer
    """Kernel that writes the left factor."""
    taps: Array | None
    """(taps, C, M)."""
    matrix: Array | None
    """(products, K)."""
    error: float
    """Relative error of the structure that was found; 0 for the filters as given."""
    amplification: float
    """Growth of rounding errors against direct summation."""


def check_method(method: object) -> None:
    """ValueError for anything but the three names."""
    if method not in METHODS:
        raise ValueError(f"method must be 'auto', 'direct' or 'separable', got {method!r}")


def depthwise_route(
    problem: Convolution, filters: Array, pointwise: Array | None, method: str, workers: int
) -> ChannelRoute:
    """The way to compute a depthwise or depthwise separable convolution."""
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
    """The way to compute an ordinary convolution."""
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
    """The largest channel multiplier with which the depthwise separable form would be quicker; 0 if none."""
    direct = WORTHWHILE * cost.seconds(problem, "direct", 1, workers)
    best = 0
    for multiplier in range(1, min(problem.taps, problem.out_channels) + 1):
        if cost.seconds(problem, "separable", multiplier, workers) >= direct:
            break
        best = multiplier
    return best


_memory: OrderedDict[tuple[Any, ...], DepthwiseSeparable | None] = OrderedDict()
_REMEMBERED = 32
_lock = lasting_lock()


def _decomposed(filters: Array, tolerance: float, limit: int) -> DepthwiseSeparable | None:
    """`smallest`, remembered by the filters' bytes: decomposing costs much more than hashing."""
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
    """Whether the first input channel could have rank `limit`, if the others are of its size.

    Most filters end here, for the price of one small decomposition; a wrong no costs time, never accuracy.
    What is dropped from a channel is at most sqrt(K) times the largest ||E_k||_1.  Columns left out can only
    raise it.
    """
    kh, kw, channels, outputs = filters.shape
    matrix = filters[:, :, 0, : 2 * kh * kw].astype(np.float64).reshape(kh * kw, -1)
    largest = float(np.abs(matrix).max())
    if limit >= min(matrix.shape) or not math.isfinite(largest):
        return True
    dropped = np.linalg.svd(matrix, compute_uv=False)[limit]
    return bool(dropped <= tolerance * kh * kw * channels * largest * math.sqrt(outputs))
