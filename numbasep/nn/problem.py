"""Description of a convolution over channels: sizes, strides, dilations, padding, types.

The arithmetic of strides, dilations and padding is TensorFlow's (`tf.nn`, "Convolution" notes): with a window
of ``reach = (taps - 1) * dilation + 1`` input samples,

* ``"SAME"``: ``out = ceil(size / stride)`` and ``max((out - 1) * stride + reach - size, 0)`` zeros, with the
  smaller half before the image;
* ``"VALID"``: ``out = ceil((size - reach + 1) / stride)`` and no zeros;
* a list of pairs: the given numbers of zeros, then as ``"VALID"``.

At tap ``k``, output ``i`` reads input ``stride * i + dilation * k - before``: a correlation, without flipping.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np

from ..system.types import Array

Operation = Literal["separable_conv2d", "depthwise_conv2d", "conv2d"]
FORMATS = ("NHWC", "NCHW")
DTYPES = ("float16", "float32", "float64")


class ConvolutionOptions(NamedTuple):
    """Arguments of a convolution besides its arrays."""

    strides: Any
    padding: Any
    rate: Any
    dilations: Any
    data_format: Any


@dataclass(frozen=True, slots=True)
class SpatialAxis:
    """Sizes of a convolution along one of the two image axes."""

    size: int
    """Number of input samples."""
    taps: int
    """Number of taps."""
    stride: int
    """Input samples from one output to the next."""
    dilation: int
    """Input samples from one tap to the next."""
    before: int
    """Zeros before the first sample; negative if samples are skipped instead."""
    out_size: int
    """Number of output samples."""

    @property
    def reach(self) -> int:
        """Input samples from the first tap to the last, both included."""
        return (self.taps - 1) * self.dilation + 1


@dataclass(frozen=True, slots=True)
class Convolution:
    """A validated request; hashable, without arrays."""

    operation: Operation
    """Name of the public function."""
    batch: int
    """Number of images."""
    channels: int
    """Number of input channels C."""
    multiplier: int
    """Number of depthwise filters per input channel M; 1 for an ordinary convolution."""
    out_channels: int
    """Number of output channels K."""
    rows: SpatialAxis
    """Vertical axis of the image."""
    columns: SpatialAxis
    """Horizontal axis of the image."""
    channels_last: bool
    """Whether the layout is NHWC instead of NCHW."""
    dtype: np.dtype[Any]
    """Type of the input, the filters and the result."""

    @property
    def compute(self) -> np.dtype[Any]:
        """Type of the sums: float64 for float64, otherwise float32."""
        return np.dtype(np.float64 if self.dtype == np.float64 else np.float32)

    @property
    def pixels(self) -> int:
        """Number of output pixels of all images."""
        return self.batch * self.rows.out_size * self.columns.out_size

    @property
    def taps(self) -> int:
        """Number of taps per filter."""
        return self.rows.taps * self.columns.taps

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of the input."""
        return _shape(self.channels_last, self.batch, self.rows.size, self.columns.size, self.channels)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return _shape(
            self.channels_last, self.batch, self.rows.out_size, self.columns.out_size, self.out_channels
        )

    @property
    def multiplications(self) -> int:
        """Multiplications of the direct evaluation of the operation, for the whole result."""
        depthwise = self.taps * self.channels * self.multiplier
        products = {
            "depthwise_conv2d": depthwise,
            "separable_conv2d": depthwise + self.channels * self.multiplier * self.out_channels,
            "conv2d": self.taps * self.channels * self.out_channels,
        }
        return self.pixels * products[self.operation]


def _shape(channels_last: bool, batch: int, height: int, width: int, channels: int) -> tuple[int, ...]:
    return (batch, height, width, channels) if channels_last else (batch, channels, height, width)


def freeze(value: Any) -> Any:
    """Convert lists and arrays to tuples, so that a request can be hashed."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return tuple(map(freeze, value)) if isinstance(value, (list, tuple)) else value


def describe(
    operation: Operation,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    filters: Sequence[Array],
    options: ConvolutionOptions,
) -> Convolution:
    """Validate a request for an input of `shape` and `dtype`.

    Raise ValueError with argument, value and rule if it is invalid.
    """
    frozen = options
    try:
        hash(options)
    except TypeError:
        frozen = ConvolutionOptions(*map(freeze, options))
    try:
        hash(frozen)
    except TypeError:
        raise ValueError(
            "strides, padding, rate, dilations and data_format must be numbers, strings or sequences, "
            "got {!r}, {!r}, {!r}, {!r} and {!r}".format(*options)
        ) from None
    shapes, dtypes = tuple(item.shape for item in filters), tuple(item.dtype for item in filters)
    return _described(operation, shape, shapes, (dtype, *dtypes), frozen)


@lru_cache(maxsize=512)
def _described(
    operation: Operation,
    shape: tuple[int, ...],
    filters: tuple[tuple[int, ...], ...],
    dtypes: tuple[np.dtype[Any], ...],
    options: ConvolutionOptions,
) -> Convolution:
    strides, padding, rate, dilations, data_format = options
    names = _filter_names(operation)
    dtype = _common_dtype(("input", *names), dtypes)
    channels_last = _channels_last(data_format)
    if len(shape) != 4:
        raise ValueError(f"input must have 4 dimensions, {_layout(channels_last)}, got shape {shape}")
    batch, height, width, channels = shape if channels_last else (shape[0], *shape[2:], shape[1])
    taps, multiplier, out_channels = _filter_sizes(operation, names, filters, channels, channels_last)
    steps = _strides(operation, strides, channels_last)
    rates = _rates(operation, rate, dilations, channels_last)
    if operation != "conv2d" and max(rates) > 1 and max(steps) > 1:
        raise ValueError(
            f"strides must all be 1 where a rate is greater than 1, got strides {strides!r} with "
            f"{'rate' if dilations is None else 'dilations'} {rate if dilations is None else dilations!r}"
        )
    pads = _padding(padding, channels_last)
    sizes = (height, width)
    rows, columns = (
        _axis(name, sizes[i], taps[i], steps[i], rates[i], padding if isinstance(padding, str) else pads[i])
        for i, name in enumerate(("height", "width"))
    )
    return Convolution(
        operation, batch, channels, multiplier, out_channels, rows, columns, channels_last, dtype
    )


def _filter_names(operation: Operation) -> tuple[str, ...]:
    return {
        "separable_conv2d": ("depthwise_filter", "pointwise_filter"),
        "depthwise_conv2d": ("filter",),
        "conv2d": ("filters",),
    }[operation]


def _layout(channels_last: bool) -> str:
    return "(batch, height, width, channels)" if channels_last else "(batch, channels, height, width)"


def _common_dtype(names: Sequence[str], dtypes: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    found = [dtype.newbyteorder("=") for dtype in dtypes]
    for name, dtype in zip(names, found, strict=True):
        if dtype.name not in DTYPES:
            raise ValueError(f"{name} must be {', '.join(DTYPES[:2])} or {DTYPES[2]}, got dtype {dtype}")
        if dtype != found[0]:
            raise ValueError(f"{name} must have the dtype of input, {found[0]}, got {dtype}")
    return found[0]


def _channels_last(data_format: object) -> bool:
    if data_format is not None and data_format not in FORMATS:
        raise ValueError(f"data_format must be 'NHWC', 'NCHW' or None (NHWC), got {data_format!r}")
    return bool(data_format != "NCHW")


def _filter_sizes(
    operation: Operation,
    names: Sequence[str],
    filters: Sequence[tuple[int, ...]],
    channels: int,
    channels_last: bool,
) -> tuple[tuple[int, int], int, int]:
    """Return ((vertical taps, horizontal taps), multiplier, output channels)."""
    last = "output channels" if operation == "conv2d" else "channel multiplier"
    name, shape = names[0], filters[0]
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(
            f"{name} must have shape (height, width, input channels, {last}), all at least 1, got {shape}"
        )
    if shape[2] != channels:
        where = "last" if channels_last else "second"
        raise ValueError(
            f"{name} must have as many input channels as input: its third dimension is {shape[2]}, "
            f"but the {where} dimension of input is {channels}"
        )
    taps = shape[0], shape[1]
    if operation == "conv2d":
        return taps, 1, shape[3]
    if operation == "depthwise_conv2d":
        return taps, shape[3], channels * shape[3]
    pointwise = filters[1]
    if len(pointwise) != 4 or pointwise[:2] != (1, 1) or pointwise[3] < 1:
        raise ValueError(
            "pointwise_filter must have shape (1, 1, input channels * channel multiplier, output channels), "
            f"got {pointwise}"
        )
    if pointwise[2] != channels * shape[3]:
        raise ValueError(
            f"pointwise_filter must have input channels * channel multiplier = {channels} * {shape[3]} = "
            f"{channels * shape[3]} as its third dimension, got {pointwise[2]} in shape {pointwise}"
        )
    return taps, shape[3], pointwise[3]


def _integers(name: str, value: Any, lengths: Sequence[int], low: int) -> tuple[int, ...]:
    allowed = " or ".join(map(str, lengths))
    rule = f"{name} must be {allowed} integers, each at least {low}, got {value!r}"
    if (
        not isinstance(value, tuple)
        or len(value) not in lengths
        or any(isinstance(item, bool) for item in value)
    ):
        raise ValueError(rule)
    try:
        numbers = tuple(operator.index(item) for item in value)
    except TypeError:
        raise ValueError(rule) from None
    if min(numbers) < low:
        raise ValueError(rule)
    return numbers


def _image_pair(name: str, value: Any, lengths: Sequence[int], channels_last: bool) -> tuple[int, int]:
    """Return the two entries for the image axes; those for batch and channels must be 1."""
    numbers = _integers(name, value, lengths, 1)
    if len(numbers) == 1:
        return numbers[0], numbers[0]
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    image = slice(1, 3) if channels_last else slice(2, 4)
    others = (numbers[0], numbers[3] if channels_last else numbers[1])
    if others != (1, 1):
        layout = FORMATS[0] if channels_last else FORMATS[1]
        raise ValueError(f"{name} of batch and channels must be 1, got {value!r} in {layout} order")
    first, second = numbers[image]
    return first, second


def _strides(operation: Operation, strides: Any, channels_last: bool) -> tuple[int, int]:
    if operation == "conv2d":
        value = (strides,) if _is_integer(strides) else strides
        return _image_pair("strides", value, (1, 2, 4), channels_last)
    return _image_pair("strides", strides, (4,), channels_last)


def _rates(operation: Operation, rate: Any, dilations: Any, channels_last: bool) -> tuple[int, int]:
    if rate is not None and dilations is not None:
        raise ValueError(
            f"rate and dilations are two names for the same argument: give one, got {rate!r} and {dilations!r}"
        )
    name, value = ("rate", rate) if dilations is None else ("dilations", dilations)
    if value is None:
        return 1, 1
    if operation == "conv2d":
        value = (value,) if _is_integer(value) else value
        return _image_pair(name, value, (1, 2, 4), channels_last)
    return _image_pair(name, value, (2,), channels_last)


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _padding(padding: Any, channels_last: bool) -> tuple[tuple[int, int], ...]:
    """Return the explicit padding of rows and columns, or () for "SAME" and "VALID"."""
    if padding in ("SAME", "VALID"):
        return ()
    rule = (
        "padding must be 'SAME', 'VALID' or four pairs of zeros before and after each dimension of input, "
        f"none of batch and channels, got {padding!r}"
    )
    if not isinstance(padding, tuple) or len(padding) != 4:
        raise ValueError(rule)
    try:
        first, second, third, last = (_integers("padding", pair, (2,), 0) for pair in padding)
    except ValueError:
        raise ValueError(rule) from None
    channels, image = (last, (second, third)) if channels_last else (second, (third, last))
    if max(first) > 0 or max(channels) > 0:
        raise ValueError(rule)
    return tuple((before, after) for before, after in image)


def _axis(
    name: str, size: int, taps: int, stride: int, dilation: int, padding: str | tuple[int, int]
) -> SpatialAxis:
    reach = (taps - 1) * dilation + 1
    if padding == "SAME":
        out_size = -(-size // stride)
        return SpatialAxis(
            size, taps, stride, dilation, max((out_size - 1) * stride + reach - size, 0) // 2, out_size
        )
    before, after = (0, 0) if isinstance(padding, str) else padding
    room = size + before + after
    if reach > room:
        raise ValueError(
            f"the {name} of the filter, {reach} samples with its dilation, must not exceed "
            f"that of the padded input, {room}, for padding {padding!r}"
        )
    return SpatialAxis(size, taps, stride, dilation, before, (room - reach) // stride + 1)
