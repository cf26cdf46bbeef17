"""Plans of convolutions over channels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cpu import threads
from ..system.types import Array
from . import cost
from .convolutions import apply, check_options
from .problem import DTYPES, Convolution, ConvolutionOptions, Operation, describe
from .rounding import error_bound
from .routes import ChannelRoute, depthwise_route, ordinary_route

__all__ = [
    "ConvolutionCandidate",
    "ConvolutionPlan",
    "plan_conv2d",
    "plan_depthwise_conv2d",
    "plan_separable_conv2d",
]


@dataclass(frozen=True, slots=True)
class ConvolutionCandidate:
    """A way to compute a convolution, as listed in `ConvolutionPlan.candidates`.

    Examples
    --------
    >>> import numpy as np
    >>> from numbasep import nn
    >>> plan = nn.plan_conv2d((1, 8, 8, 2), np.ones((3, 3, 2, 4), np.float32), 1, "SAME")
    >>> [candidate.method for candidate in plan.candidates if candidate.feasible]
    ['direct', 'separable']
    """

    method: str
    """"direct" or "separable"."""
    feasible: bool
    """Whether it gives the requested result."""
    reason: str
    """Description of the computation, or why it is not feasible."""
    multiplications: int
    """Multiplications per output pixel; 0 if not feasible."""
    seconds: float
    """Estimated seconds of a call; infinite if not feasible."""
    error_bound: float
    """Bound on the error of any output element, relative to max_k ||W_k||_1 max |x|."""


@dataclass(frozen=True, slots=True, eq=False)
class ConvolutionPlan:
    """A prepared convolution: call it on arrays of the shape and dtype it was made for.

    Made by `plan_separable_conv2d`, `plan_depthwise_conv2d` and `plan_conv2d`; ``print`` shows all candidates with
    their multiplications, times and error bounds.

    Examples
    --------
    >>> import numpy as np
    >>> from numbasep import nn
    >>> plan = nn.plan_depthwise_conv2d((1, 8, 8, 2), np.ones((3, 3, 2, 1)), [1, 1, 1, 1], "VALID")
    >>> plan(np.ones((1, 8, 8, 2))).shape
    (1, 6, 6, 2)
    """

    problem: Convolution
    """The validated request."""
    candidates: tuple[ConvolutionCandidate, ...]
    """All candidates, the chosen one first."""
    route: ChannelRoute
    """Route that a call runs."""
    workers: int | None
    """Maximum number of threads, or None for the default."""

    @property
    def method(self) -> str:
        """Method of the chosen candidate."""
        return self.candidates[0].method

    @property
    def seconds(self) -> float:
        """Estimated seconds of a call."""
        return self.candidates[0].seconds

    @property
    def error_bound(self) -> float:
        """Error bound of the chosen candidate."""
        return self.candidates[0].error_bound

    @property
    def multiplications(self) -> int:
        """Multiplications for the whole result."""
        return self.candidates[0].multiplications * self.problem.pixels

    def __call__(self, input: npt.ArrayLike, output: Array | None = None) -> Array:
        """Compute the convolution of `input`; the result is written to `output` if that is given."""
        x = np.asarray(input)
        if x.shape != self.problem.in_shape or x.dtype.newbyteorder("=") != self.problem.dtype:
            raise ValueError(
                "input must have the shape and dtype of the plan, "
                f"{self.problem.in_shape} {self.problem.dtype}, got {x.shape} {x.dtype}"
            )
        return apply(self.route, x, output, self.workers)

    def __str__(self) -> str:
        problem = self.problem
        layout = "NHWC" if problem.channels_last else "NCHW"
        sizes = f"{_sizes(problem.in_shape)} -> {_sizes(problem.out_shape)}"
        lines = [
            f"{problem.operation} {layout} {problem.dtype} {sizes}",
            f"  {'method':<11}{'multiplications/pixel':>22}{'estimate':>12}{'error bound':>13}  what it does",
        ]
        for candidate in self.candidates:
            marker = ">" if candidate is self.candidates[0] else " "
            figures = f"{'-':>22}{'-':>12}{'-':>13}"
            if candidate.feasible:
                time = f"{candidate.seconds * 1e3:.3f} ms"
                figures = f"{candidate.multiplications:>22,}{time:>12}{candidate.error_bound:>13.1e}"
            lines.append(f"{marker} {candidate.method:<11}{figures}  {candidate.reason}")
        return "\n".join(lines)

    __repr__ = __str__


def plan_separable_conv2d(
    shape: Sequence[int],
    depthwise_filter: npt.ArrayLike,
    pointwise_filter: npt.ArrayLike,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,  # noqa: ARG001 - TensorFlow's signature
    data_format: str | None = None,
    *,
    dilations: Any = None,
    method: str = "auto",
    workers: int | None = None,
    device: str | None = None,
) -> ConvolutionPlan:
    """Plan `separable_conv2d` for an input of `shape` and the dtype of the filters.

    Parameters
    ----------
    shape : sequence of 4 int
        Shape of the input.
    depthwise_filter, pointwise_filter : array_like
        The filters of `separable_conv2d`.
    strides, padding, rate, name, data_format, dilations, method, workers, device : see `separable_conv2d`
        The arguments of `separable_conv2d`.

    Returns
    -------
    ConvolutionPlan
        `str()` explains the plan; calling it on an input runs it.

    Raises
    ------
    ValueError
        As `separable_conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from numbasep import nn
    >>> depthwise, pointwise = np.ones((5, 5, 3, 1), np.float32), np.ones((1, 1, 3, 256), np.float32)
    >>> plan = nn.plan_separable_conv2d(
    ...     (1, 12, 12, 3), depthwise, pointwise, [1, 1, 1, 1], "VALID", method="direct"
    ... )
    >>> plan.method, plan.multiplications
    ('direct', 53952)
    """
    filters = np.asarray(depthwise_filter), np.asarray(pointwise_filter)
    options = ConvolutionOptions(strides, padding, rate, dilations, data_format)
    problem = _describe("separable_conv2d", shape, filters, options)
    check_options(method, workers, device)
    return _plan(
        problem, lambda name: depthwise_route(problem, *filters, name, threads.most()), method, workers
    )


def plan_depthwise_conv2d(
    shape: Sequence[int],
    filter: npt.ArrayLike,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,  # noqa: ARG001 - TensorFlow's signature
    data_format: str | None = None,
    *,
    dilations: Any = None,
    method: str = "auto",
    workers: int | None = None,
    device: str | None = None,
) -> ConvolutionPlan:
    """Plan `depthwise_conv2d` for an input of `shape` and the dtype of the filters.

    Parameters
    ----------
    shape : sequence of 4 int
        Shape of the input.
    filter : array_like
        The filters of `depthwise_conv2d`.
    strides, padding, rate, name, data_format, dilations, method, workers, device : see `depthwise_conv2d`
        The arguments of `depthwise_conv2d`.

    Returns
    -------
    ConvolutionPlan
        `str()` explains the plan; calling it on an input runs it.

    Raises
    ------
    ValueError
        As `depthwise_conv2d`.

    Examples
    --------
    Sobel's 3 x 3 filter is a column times a row: 6 multiplications instead of 9.

    >>> import numpy as np
    >>> from numbasep import nn
    >>> sobel = np.outer([1.0, 2.0, 1.0], [-1.0, 0.0, 1.0]).reshape(3, 3, 1, 1)
    >>> arguments = (1, 64, 64, 1), sobel, [1, 1, 1, 1], "SAME"
    >>> [
    ...     nn.plan_depthwise_conv2d(*arguments, method=m).multiplications // 64**2
    ...     for m in ("direct", "separable")
    ... ]
    [9, 6]
    """
    filters = np.asarray(filter)
    options = ConvolutionOptions(strides, padding, rate, dilations, data_format)
    problem = _describe("depthwise_conv2d", shape, (filters,), options)
    check_options(method, workers, device)
    return _plan(
        problem, lambda name: depthwise_route(problem, filters, None, name, threads.most()), method, workers
    )


def plan_conv2d(
    shape: Sequence[int],
    filters: npt.ArrayLike,
    strides: Any,
    padding: Any,
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,  # noqa: ARG001 - TensorFlow's signature
    *,
    rtol: float | None = None,
    method: str = "auto",
    workers: int | None = None,
    device: str | None = None,
) -> ConvolutionPlan:
    """Plan `conv2d` for an input of `shape` and the dtype of the filters.

    Parameters
    ----------
    shape : sequence of 4 int
        Shape of the input.
    filters : array_like
        The filters of `conv2d`.
    strides, padding, data_format, dilations, name, rtol, method, workers, device : see `conv2d`
        The arguments of `conv2d`.

    Returns
    -------
    ConvolutionPlan
        `str()` explains the plan; calling it on an input runs it.

    Raises
    ------
    ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from numbasep import nn
    >>> filters = np.random.default_rng(0).standard_normal((3, 3, 16, 32))
    >>> nn.plan_conv2d((1, 56, 56, 16), filters, 1, "SAME").method
    'direct'
    """
    given = np.asarray(filters)
    problem = _describe(
        "conv2d", shape, (given,), ConvolutionOptions(strides, padding, None, dilations, data_format)
    )
    check_options(method, workers, device)
    return _plan(
        problem, lambda name: ordinary_route(problem, given, name, rtol, threads.most()), method, workers
    )


def _describe(
    operation: Operation,
    shape: Sequence[int],
    filters: tuple[Array, ...],
    options: ConvolutionOptions,
) -> Convolution:
    if not isinstance(shape, (tuple, list)) or not all(
        isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size >= 0 for size in shape
    ):
        raise ValueError(f"shape must be a sequence of sizes, got {shape!r}")
    if filters[0].dtype.newbyteorder("=").name not in DTYPES:  # errors of `describe` would name the input
        raise ValueError(
            f"filter must be {', '.join(DTYPES[:2])} or {DTYPES[2]}, got dtype {filters[0].dtype}"
        )
    return describe(operation, tuple(int(size) for size in shape), filters[0].dtype, filters, options)


def _plan(
    problem: Convolution, route_of: Callable[[str], ChannelRoute], method: str, workers: int | None
) -> ConvolutionPlan:
    """Return the plan of the route for `method`, with the other method as its second candidate."""
    count, route = threads.thread_count(workers), route_of(method)
    other = "direct" if route.method == "separable" else "separable"
    try:
        second = _candidate(route_of(other), count)
    except ValueError as error:
        reason = str(error).removeprefix(f"method={other!r} ")
        second = ConvolutionCandidate(other, False, reason, 0, math.inf, math.inf)
    return ConvolutionPlan(problem, (_candidate(route, count), second), route, workers)


def _candidate(route: ChannelRoute, workers: int) -> ConvolutionCandidate:
    inner = route.problem
    taps = inner.rows.taps + inner.columns.taps if route.producer == "spatial" else inner.taps
    produced = 0 if route.producer == "unfold" else taps * inner.channels * inner.multiplier
    mixed = 0 if route.matrix is None else int(route.matrix.size)
    method = "separable" if route.producer == "spatial" else "direct"
    seconds = cost.seconds(inner, method, inner.multiplier, workers)
    return ConvolutionCandidate(
        route.method, True, _what(route), produced + mixed, seconds, error_bound(route, taps)
    )


def _what(route: ChannelRoute) -> str:
    inner = route.problem
    down, along = inner.rows.taps, inner.columns.taps
    if route.producer == "unfold":
        return f"matrix product of unfolded windows, {down * along * inner.channels} x {inner.out_channels}"
    passes = (
        f"{down} taps down, {along} along"
        if route.producer == "spatial"
        else f"{down} x {along} taps at once"
    )
    groups = f" for each of {inner.channels} channels x {inner.multiplier}"
    product = (
        "" if route.matrix is None else f", then a {route.matrix.shape[0]} x {route.matrix.shape[1]} product"
    )
    return passes + groups + product


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
