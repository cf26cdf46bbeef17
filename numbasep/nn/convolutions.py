"""`separable_conv2d`, `depthwise_conv2d` and `conv2d`, with TensorFlow's signatures."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments.dispatch import dispatched
from ..cpu import threads
from ..system.types import Array
from . import execute
from .bands import run_in_bands
from .problem import Convolution, ConvolutionOptions, describe
from .routes import ChannelRoute, check_method, depthwise_route, ordinary_route
from .weights import aligned_empty

__all__ = ["conv2d", "depthwise_conv2d", "separable_conv2d"]


@dispatched
def separable_conv2d(
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
    output: Array | None = None,
    method: str = "auto",
    workers: int | None = None,
    device: str | None = None,
) -> Array:
    """Depthwise convolution followed by a pointwise convolution, as `tf.nn.separable_conv2d`.

    ``out[b, i, j, k] = sum_{di, dj, q, r} input[b, s1 * i + d1 * di - top, s2 * j + d2 * dj - left, q]
    * depthwise_filter[di, dj, q, r] * pointwise_filter[0, 0, q * M + r, k]``, with zeros outside the image.
    The depthwise result is computed tile by tile in cache and never written to memory in full.

    Parameters
    ----------
    input : array_like of float16, float32 or float64
        Shape (batch, height, width, C) or (batch, C, height, width), in the order of `data_format`.
    depthwise_filter : array_like of the same dtype, shape (kh, kw, C, M)
        M filters for each channel, in both data formats.
    pointwise_filter : array_like of the same dtype, shape (1, 1, C * M, K)
        Mixes channels; row ``q * M + r`` belongs to filter r of channel q.
    strides : sequence of 4 int
        In the order of `data_format`; 1 for batch and channels.
    padding : "SAME", "VALID" or sequence of 4 pairs of int
        Zeros before and after each dimension in the order of `data_format`; none for batch and channels.
    rate : sequence of 2 int, optional
        Input samples from one tap to the next.  If one is greater than 1, all strides must be 1.
    name : str, optional
        Taken for compatibility, not used.
    data_format : "NHWC" or "NCHW", optional
        None is "NHWC".
    dilations : sequence of 2 int, optional
        TensorFlow 2's name for `rate`.
    output : ndarray, optional
        Array for the result, of its shape and dtype.
    method : "auto", "direct" or "separable"
        "direct": sum over all taps of the depthwise filters; "separable": a vertical and a horizontal pass,
        which needs filters of rank 1; "auto": the faster of the two, if results agree within rounding.
    workers : int, optional
        Maximum number of threads; None: `numbasep.num_threads`, or Numba's setting.
    device : {"cpu", "cuda"}, optional
        "cuda" computes on the GPU, which `separable_conv2d` and `depthwise_conv2d` support.

    Returns
    -------
    ndarray
        Shape (batch, out height, out width, K) or (batch, K, out height, out width), of the dtype of `input`.
        float16 is computed in float32 and rounded once.

    Raises
    ------
    ValueError
        If arguments break the rules above: wrong ranks, sizes or dtypes, strides with rates, a filter larger than
        the padded image, unknown names.  The message names the argument, the value and the rule.

    Notes
    -----
    Formula and padding: TensorFlow API documentation, `tf.nn.separable_conv2d` and `tf.nn` ("Convolution"
    notes).  Chollet, "Xception: deep learning with depthwise separable convolutions", CVPR 2017.

    Examples
    --------
    From a 12 x 12 image of 3 channels to 8 x 8 of 256 channels: 53,952 multiplications instead of the 1,228,800
    of an ordinary 5 x 5 convolution.

    >>> import numpy as np
    >>> from numbasep import nn
    >>> image = np.ones((1, 12, 12, 3), np.float32)
    >>> depthwise, pointwise = np.ones((5, 5, 3, 1), np.float32), np.ones((1, 1, 3, 256), np.float32)
    >>> out = nn.separable_conv2d(image, depthwise, pointwise, [1, 1, 1, 1], "VALID")
    >>> out.shape, float(out[0, 0, 0, 0])
    ((1, 8, 8, 256), 75.0)
    """
    check_options(method, workers, None if device == "cuda" else device)
    x, depthwise, pointwise = np.asarray(input), np.asarray(depthwise_filter), np.asarray(pointwise_filter)
    options = ConvolutionOptions(strides, padding, rate, dilations, data_format)
    problem = describe("separable_conv2d", x.shape, x.dtype, (depthwise, pointwise), options)
    if device == "cuda":
        return on_gpu(problem, x, depthwise, pointwise, output)
    return apply(depthwise_route(problem, depthwise, pointwise, method, threads.most()), x, output, workers)


@dispatched
def depthwise_conv2d(
    input: npt.ArrayLike,
    filter: npt.ArrayLike,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,  # noqa: ARG001 - TensorFlow's signature
    data_format: str | None = None,
    *,
    dilations: Any = None,
    output: Array | None = None,
    method: str = "auto",
    workers: int | None = None,
    device: str | None = None,
) -> Array:
    """Convolve each channel with its own filters, as `tf.nn.depthwise_conv2d`.

    ``out[b, i, j, q * M + r] = sum_{di, dj} input[b, s1 * i + d1 * di - top, s2 * j + d2 * dj - left, q]
    * filter[di, dj, q, r]``, with zeros outside the image.

    Parameters
    ----------
    input : array_like of float16, float32 or float64
        Shape (batch, height, width, C) or (batch, C, height, width), in the order of `data_format`.
    filter : array_like of the same dtype, shape (kh, kw, C, M)
        M filters for each channel, in both data formats.
    strides, padding, rate, name, data_format, dilations, output, method, workers, device : see `separable_conv2d`
        As in `separable_conv2d`.

    Returns
    -------
    ndarray
        Shape (batch, out height, out width, C * M) or (batch, C * M, out height, out width).

    Raises
    ------
    ValueError
        As `separable_conv2d`.

    Notes
    -----
    Formula and padding: TensorFlow API documentation, `tf.nn.depthwise_conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from numbasep import nn
    >>> image = np.arange(8.0).reshape(1, 2, 2, 2)
    >>> nn.depthwise_conv2d(image, np.ones((2, 2, 2, 1)), [1, 1, 1, 1], "VALID")
    array([[[[12., 16.]]]])
    """
    check_options(method, workers, None if device == "cuda" else device)
    x, filters = np.asarray(input), np.asarray(filter)
    options = ConvolutionOptions(strides, padding, rate, dilations, data_format)
    problem = describe("depthwise_conv2d", x.shape, x.dtype, (filters,), options)
    if device == "cuda":
        return on_gpu(problem, x, filters, None, output)
    return apply(depthwise_route(problem, filters, None, method, threads.most()), x, output, workers)


@dispatched
def conv2d(
    input: npt.ArrayLike,
    filters: npt.ArrayLike,
    strides: Any,
    padding: Any,
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,  # noqa: ARG001 - TensorFlow's signature
    *,
    rtol: float | None = None,
    output: Array | None = None,
    method: str = "auto",
    workers: int | None = None,
    device: str | None = None,
) -> Array:
    """Ordinary convolution over channels, as `tf.nn.conv2d`; computed as depthwise separable if the filters are.

    ``out[b, i, j, k] = sum_{di, dj, q} input[b, s1 * i + d1 * di - top, s2 * j + d2 * dj - left, q]
    * filters[di, dj, q, k]``, with zeros outside the image.

    Parameters
    ----------
    input : array_like of float16, float32 or float64
        Shape (batch, height, width, C) or (batch, C, height, width), in the order of `data_format`.
    filters : array_like of the same dtype, shape (kh, kw, C, K)
        The same shape in both data formats.
    strides : int or sequence of 1, 2 or 4 int
        For height and width, or in the order of `data_format` with 1 for batch and channels.
    padding : "SAME", "VALID" or sequence of 4 pairs of int
        As in `separable_conv2d`.
    data_format : "NHWC" or "NCHW", optional
        None is "NHWC".
    dilations : int or sequence of 1, 2 or 4 int, optional
        Input samples from one tap to the next, given as `strides` are.  They may be combined with strides.
    name : str, optional
        Taken for compatibility, not used.
    rtol : float, optional
        Allow a depthwise separable form whose certified relative error (`factorize_conv2d`) is at most this.
        None: only one that is equal within rounding.
    output : ndarray, optional
        Array for the result, as in `separable_conv2d`.
    method : "auto", "direct" or "separable"
        "direct": matrix product of unfolded windows, tile by tile; "separable": the depthwise separable form
        within `rtol`; "auto": that form if it exists and is faster.
    workers, device : see `separable_conv2d`
        As in `separable_conv2d`.

    Returns
    -------
    ndarray
        Shape (batch, out height, out width, K) or (batch, K, out height, out width), of the dtype of `input`.

    Raises
    ------
    ValueError
        As `separable_conv2d`; also if method="separable" and the filters have no such form.

    Notes
    -----
    Formula and padding: TensorFlow API documentation, `tf.nn.conv2d` and `tf.nn` ("Convolution" notes).

    Examples
    --------
    >>> import numpy as np
    >>> from numbasep import nn
    >>> image = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> nn.conv2d(image, np.ones((3, 3, 1, 1)), 1, "VALID")[0, :, :, 0]
    array([[45., 54.],
           [81., 90.]])
    """
    check_options(method, workers, device)
    x, given = np.asarray(input), np.asarray(filters)
    options = ConvolutionOptions(strides, padding, None, dilations, data_format)
    problem = describe("conv2d", x.shape, x.dtype, (given,), options)
    return apply(ordinary_route(problem, given, method, rtol, threads.most()), x, output, workers)


def on_gpu(
    problem: Convolution, x: Array, depthwise: Array, pointwise: Array | None, output: Array | None
) -> Array:
    """Compute a convolution on the GPU; raise `CudaUnavailableError` if something is missing for that."""
    from ..cuda import separable_channels

    if output is not None:
        check_output(problem, output)
    result: Array = separable_channels.run(problem, x, depthwise, pointwise, output)
    return result


def check_options(method: object, workers: object, device: object) -> None:
    """Raise ValueError for an unknown method or device or an invalid number of threads."""
    check_method(method)
    if workers is not None and (
        isinstance(workers, bool) or not isinstance(workers, (int, np.integer)) or workers < 1
    ):
        raise ValueError(f"workers must be None or an integer of at least 1, got {workers!r}")
    if device not in (None, "cpu"):
        raise ValueError(f"device must be None or 'cpu' for the functions of numbasep.nn, got {device!r}")


def apply(route: ChannelRoute, x: Array, output: Array | None, workers: int | None) -> Array:
    """Run a route on an array; return the result, which is `output` if that is given."""
    problem = route.problem
    if output is not None:
        check_output(problem, output)
    overlaps = output is not None and _overlaps(output, x, route)
    if problem.compute != problem.dtype:
        half = output if output is not None and not overlaps else np.empty(problem.out_shape, problem.dtype)
        run_in_bands(route, x, half, workers)
        return _copied(half, output)
    direct = output is not None and not overlaps and _can_hold(problem, output)
    out = output if direct and output is not None else aligned_empty(problem.out_shape, problem.compute)
    execute.run(problem, route.producer, x, route.taps, route.matrix, out, workers)
    return _copied(out, output)


def _copied(result: Array, output: Array | None) -> Array:
    """Copy the result to `output` if that is given and another array; return the array that holds it."""
    if output is None or output is result:
        return result
    output[...] = result
    return output


def check_output(problem: Convolution, output: object) -> None:
    """Raise ValueError unless `output` is a writable array of the shape and dtype of the result."""
    if not isinstance(output, np.ndarray):
        raise ValueError(f"output must be None or an array, got {type(output).__name__}")
    if output.shape != problem.out_shape:
        raise ValueError(f"output must have the shape of the result, {problem.out_shape}, got {output.shape}")
    if output.dtype.newbyteorder("=") != problem.dtype:
        raise ValueError(f"output must have the dtype of input, {problem.dtype}, got {output.dtype}")
    if not output.flags.writeable:
        raise ValueError("output must be writable, got a read-only array")


def _overlaps(output: Array, x: Array, route: ChannelRoute) -> bool:
    """Return whether `output` may share memory with an operand, which kernels read while they write."""
    operands = (x, route.taps, route.matrix)
    return any(operand is not None and np.may_share_memory(output, operand) for operand in operands)


def _can_hold(problem: Convolution, output: Array) -> bool:
    """Return whether the kernels can write to `output` directly."""
    return output.dtype == problem.compute and output.flags.c_contiguous and output.flags.aligned
