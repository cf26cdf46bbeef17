"""Vector-Jacobian products of the convolutions over channels.

With ``y = f(input, filters)`` and a gradient ``g = dL/dy`` they return ``dL/dinput`` and ``dL/dfilters``.
The gradient with respect to the input of a correlation is a correlation, too:
``y[i] = sum_k w[k] x[s i + d k - before]`` gives

    ``dx[u] = sum_k w[taps - 1 - k] z[u + before - d (taps - 1) + d k]``,  ``z[s i] = g[i]``, zero elsewhere,

so the same kernels compute it.  The gradient with respect to tap k is the sum of ``g[i] x[s i + d k - before]``.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.dispatch import dispatched
from ..system.types import Array
from . import execute
from .convolutions import check_options
from .problem import Convolution, ConvolutionOptions, Operation, SpatialAxis, describe

__all__ = ["conv2d_vjp", "depthwise_conv2d_vjp", "separable_conv2d_vjp"]


@dispatched
def separable_conv2d_vjp(
    gradient: npt.ArrayLike,
    input: npt.ArrayLike,
    depthwise_filter: npt.ArrayLike,
    pointwise_filter: npt.ArrayLike,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,  # noqa: ARG001 - TensorFlow's signature
    data_format: str | None = None,
    *,
    dilations: Any = None,
    workers: int | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of `separable_conv2d` with respect to its input and both filters.

    Parameters
    ----------
    gradient : array_like
        Gradient of the loss with respect to the result of `separable_conv2d`, of its shape and dtype.
    input, depthwise_filter, pointwise_filter : array_like
        The arrays passed to `separable_conv2d`.
    strides, padding, rate, name, data_format, dilations, workers : see `separable_conv2d`
        The arguments of `separable_conv2d`.

    Returns
    -------
    tuple of ndarray
        Gradients with respect to `input`, `depthwise_filter` and `pointwise_filter`, of their shapes and dtype.

    Raises
    ------
    ValueError
        As `separable_conv2d`; also if `gradient` has another shape or dtype.

    Notes
    -----
    The depthwise result is computed once, for the gradient with respect to `pointwise_filter`.

    Examples
    --------
    >>> import numpy as np
    >>> from numbasep import nn
    >>> x, d, p = np.ones((1, 2, 2, 1)), np.ones((1, 1, 1, 1)), np.full((1, 1, 1, 1), 3.0)
    >>> dx, dd, dp = nn.separable_conv2d_vjp(np.ones((1, 2, 2, 1)), x, d, p, [1, 1, 1, 1], "SAME")
    >>> float(dx[0, 0, 0, 0]), float(dd[0, 0, 0, 0]), float(dp[0, 0, 0, 0])
    (3.0, 12.0, 4.0)
    """
    given = _Arguments("separable_conv2d", gradient, input, (depthwise_filter, pointwise_filter))
    problem = given.describe(ConvolutionOptions(strides, padding, rate, dilations, data_format), workers)
    depthwise, matrix = given.filters[0], given.filters[1][0, 0]
    inner = replace(problem, operation="depthwise_conv2d", out_channels=matrix.shape[0], channels_last=True)
    between = np.empty(inner.out_shape, problem.compute)
    taps = depthwise.reshape(-1, *depthwise.shape[2:])
    execute.run(inner, "dense", given.x, taps, None, between, workers)
    flat = given.g.reshape(-1, matrix.shape[1])
    to_pointwise = between.reshape(-1, matrix.shape[0]).T @ flat
    to_between = (flat @ matrix.T).reshape(between.shape)
    to_input, to_depthwise = _depthwise_gradients(inner, to_between, given.x, depthwise, workers)
    first, second, third = given.results(to_input, to_depthwise, to_pointwise.reshape(1, 1, *matrix.shape))
    return first, second, third


@dispatched
def depthwise_conv2d_vjp(
    gradient: npt.ArrayLike,
    input: npt.ArrayLike,
    filter: npt.ArrayLike,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,  # noqa: ARG001 - TensorFlow's signature
    data_format: str | None = None,
    *,
    dilations: Any = None,
    workers: int | None = None,
) -> tuple[Array, Array]:
    """Gradients of `depthwise_conv2d` with respect to its input and its filters.

    Parameters
    ----------
    gradient : array_like
        Gradient of the loss with respect to the result of `depthwise_conv2d`, of its shape and dtype.
    input, filter : array_like
        The arrays passed to `depthwise_conv2d`.
    strides, padding, rate, name, data_format, dilations, workers : see `depthwise_conv2d`
        The arguments of `depthwise_conv2d`.

    Returns
    -------
    tuple of ndarray
        Gradients with respect to `input` and `filter`, of their shapes and dtype.

    Raises
    ------
    ValueError
        As `depthwise_conv2d`; also if `gradient` has another shape or dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from numbasep import nn
    >>> x, w = np.arange(4.0).reshape(1, 2, 2, 1), np.ones((2, 2, 1, 1))
    >>> dx, dw = nn.depthwise_conv2d_vjp(np.ones((1, 1, 1, 1)), x, w, [1, 1, 1, 1], "VALID")
    >>> dw[:, :, 0, 0]
    array([[0., 1.],
           [2., 3.]])
    """
    given = _Arguments("depthwise_conv2d", gradient, input, (filter,))
    problem = given.describe(ConvolutionOptions(strides, padding, rate, dilations, data_format), workers)
    inner = replace(problem, channels_last=True)
    found = _depthwise_gradients(inner, given.g, given.x, given.filters[0], workers)
    to_input, to_filter = given.results(*found)
    return to_input, to_filter


@dispatched
def conv2d_vjp(
    gradient: npt.ArrayLike,
    input: npt.ArrayLike,
    filters: npt.ArrayLike,
    strides: Any,
    padding: Any,
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,  # noqa: ARG001 - TensorFlow's signature
    *,
    workers: int | None = None,
) -> tuple[Array, Array]:
    """Gradients of `conv2d` with respect to its input and its filters.

    Parameters
    ----------
    gradient : array_like
        Gradient of the loss with respect to the result of `conv2d`, of its shape and dtype.
    input, filters : array_like
        The arrays passed to `conv2d`.
    strides, padding, data_format, dilations, name, workers : see `conv2d`
        The arguments of `conv2d`.

    Returns
    -------
    tuple of ndarray
        Gradients with respect to `input` and `filters`, of their shapes and dtype.

    Raises
    ------
    ValueError
        As `conv2d`; also if `gradient` has another shape or dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from numbasep import nn
    >>> x, w = np.arange(4.0).reshape(1, 2, 2, 1), np.ones((2, 2, 1, 1))
    >>> dx, dw = nn.conv2d_vjp(np.ones((1, 1, 1, 1)), x, w, 1, "VALID")
    >>> dx[0, :, :, 0]
    array([[1., 1.],
           [1., 1.]])
    """
    given = _Arguments("conv2d", gradient, input, (filters,))
    problem = given.describe(ConvolutionOptions(strides, padding, None, dilations, data_format), workers)
    kernel, g = given.filters[0], given.g
    to_kernel = np.empty(kernel.shape, problem.compute)
    flat = g.reshape(-1, g.shape[3])
    for (di, dj), samples in _tap_samples(problem, given.x):
        to_kernel[di, dj] = samples.reshape(-1, problem.channels).T @ flat
    flipped = np.ascontiguousarray(kernel[::-1, ::-1].transpose(0, 1, 3, 2))
    backward = _transposed(problem, "conv2d", channels=problem.out_channels, out_channels=problem.channels)
    to_input = np.empty(backward.out_shape, problem.compute)
    matrix = flipped.reshape(-1, problem.channels)
    execute.run(backward, "unfold", _spread(problem, g), None, matrix, to_input, workers)
    first, second = given.results(to_input, to_kernel)
    return first, second


class _Arguments:
    """Arrays of a call, converted to NHWC and the compute dtype, and the conversion of the results back."""

    def __init__(
        self,
        operation: Operation,
        gradient: npt.ArrayLike,
        x: npt.ArrayLike,
        filters: tuple[npt.ArrayLike, ...],
    ) -> None:
        self.operation = operation
        self.g, self.x = np.asarray(gradient), np.asarray(x)
        self.filters = tuple(np.asarray(item) for item in filters)

    def describe(self, options: ConvolutionOptions, workers: int | None) -> Convolution:
        """Validate the arguments and convert the arrays to NHWC and the compute dtype."""
        check_options("auto", workers, None)
        problem = describe(self.operation, self.x.shape, self.x.dtype, self.filters, options)
        if self.g.shape != problem.out_shape:
            raise ValueError(
                f"gradient must have the shape of the result, {problem.out_shape}, got {self.g.shape}"
            )
        if self.g.dtype.newbyteorder("=") != problem.dtype:
            raise ValueError(f"gradient must have the dtype of input, {problem.dtype}, got {self.g.dtype}")
        self._problem = problem
        if not problem.channels_last:
            self.g, self.x = (item.transpose(0, 2, 3, 1) for item in (self.g, self.x))
        self.g, self.x = (np.ascontiguousarray(item, problem.compute) for item in (self.g, self.x))
        self.filters = tuple(item.astype(problem.compute, copy=False) for item in self.filters)
        return problem

    def results(self, to_input: Array, *to_filters: Array) -> list[Array]:
        """Convert gradients to the data format and dtype of the call."""
        if not self._problem.channels_last:
            to_input = np.ascontiguousarray(to_input.transpose(0, 3, 1, 2))
        with np.errstate(over="ignore"):
            return [item.astype(self._problem.dtype, copy=False) for item in (to_input, *to_filters)]


def _depthwise_gradients(
    problem: Convolution, g: Array, x: Array, filters: Array, workers: int | None
) -> tuple[Array, Array]:
    """Return the gradients of a channels-last depthwise convolution with respect to input and filters."""
    multiplier, channels = problem.multiplier, problem.channels
    split = g.reshape(*g.shape[:3], channels, multiplier)
    to_filters = np.empty(filters.shape, problem.compute)
    for r in range(multiplier):
        part = np.ascontiguousarray(split[..., r])
        to_filters[..., r] = execute.filter_gradient(problem, x, part, workers)
    flipped = filters[::-1, ::-1].reshape(-1, channels, multiplier)
    backward = _transposed(problem, "depthwise_conv2d", multiplier=1, out_channels=channels)
    to_input = np.zeros(backward.out_shape, problem.compute)
    sums = to_input if multiplier == 1 else np.empty_like(to_input)
    for r in range(multiplier):
        source = _spread(problem, np.ascontiguousarray(split[..., r]))
        execute.run(backward, "dense", source, flipped[:, :, r : r + 1], None, sums, workers)
        if multiplier > 1:
            to_input += sums
    return to_input, to_filters


def _tap_samples(problem: Convolution, x: Array) -> Any:
    """Yield each tap and the input samples that it multiplies, (batch, out height, out width, C)."""
    rows, columns = problem.rows, problem.columns
    padded = np.zeros((x.shape[0], _needed(rows), _needed(columns), x.shape[3]), x.dtype)
    height, width = (min(axis.size, _needed(axis) - axis.before) for axis in (rows, columns))
    padded[:, rows.before :, columns.before :][:, :height, :width] = x[:, : max(height, 0), : max(width, 0)]
    for di in range(rows.taps):
        for dj in range(columns.taps):
            i, j = di * rows.dilation, dj * columns.dilation
            last_i, last_j = (
                i + (rows.out_size - 1) * rows.stride + 1,
                j + (columns.out_size - 1) * columns.stride + 1,
            )
            yield (di, dj), padded[:, i : last_i : rows.stride, j : last_j : columns.stride]


def _needed(axis: SpatialAxis) -> int:
    """Return the number of padded samples that the taps of all output elements read."""
    return max((axis.out_size - 1) * axis.stride + axis.reach, 0)


def _spread(problem: Convolution, g: Array) -> Array:
    """Insert stride - 1 zeros between the samples of the gradient."""
    rows, columns = problem.rows, problem.columns
    if rows.stride == columns.stride == 1:
        return g
    spread = np.zeros((g.shape[0], _spread_size(rows), _spread_size(columns), g.shape[3]), g.dtype)
    spread[:, :: rows.stride, :: columns.stride] = g
    return spread


def _spread_size(axis: SpatialAxis) -> int:
    return max((axis.out_size - 1) * axis.stride + 1, 0)


def _transposed(problem: Convolution, operation: Operation, **sizes: int) -> Convolution:
    """Return the correlation, channels last and of stride 1, from the spread gradient to that of the input."""
    rows, columns = (
        SpatialAxis(_spread_size(axis), axis.taps, 1, axis.dilation, axis.reach - 1 - axis.before, axis.size)
        for axis in (problem.rows, problem.columns)
    )
    dtype = problem.compute
    return replace(
        problem, operation=operation, rows=rows, columns=columns, channels_last=True, dtype=dtype, **sizes
    )
