"""The convolutions over channels against PyTorch and TensorFlow, where they are installed."""

import numpy as np
import pytest

from numbasep import nn

pytestmark = pytest.mark.peers

CASES = [
    # image, channels, multiplier, outputs, kernel, stride, dilation
    ((14, 17), 8, 1, 16, (3, 3), 1, 1),
    ((15, 14), 33, 2, 20, (5, 3), 2, 1),
    ((20, 21), 16, 3, 7, (4, 2), 1, 2),
    ((9, 12), 64, 1, 64, (3, 3), 3, 1),
    ((28, 28), 32, 1, 64, (3, 3), 1, 1),
]


def arrays(size, channels, multiplier, outputs, kernel):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *size, channels)).astype(np.float32)
    depthwise = rng.standard_normal((*kernel, channels, multiplier)).astype(np.float32)
    pointwise = rng.standard_normal((1, 1, channels * multiplier, outputs)).astype(np.float32)
    filters = rng.standard_normal((*kernel, channels, outputs)).astype(np.float32)
    return x, depthwise, pointwise, filters


def close(one, other):
    assert one.shape == other.shape
    assert np.abs(one - other).max() / np.abs(other).max() <= 2e-6  # two roundings, theirs and ours


@pytest.mark.parametrize(("size", "channels", "multiplier", "outputs", "kernel", "stride", "dilation"), CASES)
def test_equals_pytorch(size, channels, multiplier, outputs, kernel, stride, dilation):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, depthwise, pointwise, filters = arrays(size, channels, multiplier, outputs, kernel)
    image = torch.from_numpy(x).permute(0, 3, 1, 2)
    functional = torch.nn.functional
    taps = torch.from_numpy(depthwise).permute(2, 3, 0, 1).reshape(channels * multiplier, 1, *kernel)
    between = functional.conv2d(image, taps, stride=stride, dilation=dilation, groups=channels)
    mixed = functional.conv2d(between, torch.from_numpy(pointwise).permute(3, 2, 0, 1))
    ordinary = functional.conv2d(
        image, torch.from_numpy(filters).permute(3, 2, 0, 1), stride=stride, dilation=dilation
    )
    four, rate = (1, stride, stride, 1), (dilation, dilation)
    close(nn.depthwise_conv2d(x, depthwise, four, "VALID", rate), between.permute(0, 2, 3, 1).numpy())
    close(
        nn.separable_conv2d(x, depthwise, pointwise, four, "VALID", rate), mixed.permute(0, 2, 3, 1).numpy()
    )
    close(nn.conv2d(x, filters, four, "VALID", None, rate), ordinary.permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("padding", ["SAME", "VALID", [[0, 0], [2, 1], [0, 3], [0, 0]]])
@pytest.mark.parametrize(("size", "channels", "multiplier", "outputs", "kernel", "stride", "dilation"), CASES)
def test_equals_tensorflow(size, channels, multiplier, outputs, kernel, stride, dilation, padding):
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    x, depthwise, pointwise, filters = arrays(size, channels, multiplier, outputs, kernel)
    four, rate = (1, stride, stride, 1), (dilation, dilation)
    theirs = tf.nn.depthwise_conv2d(x, depthwise, four, padding, dilations=rate).numpy()
    close(nn.depthwise_conv2d(x, depthwise, four, padding, rate), theirs)
    theirs = tf.nn.separable_conv2d(x, depthwise, pointwise, four, padding, dilations=rate).numpy()
    close(nn.separable_conv2d(x, depthwise, pointwise, four, padding, dilations=rate), theirs)
    theirs = tf.nn.conv2d(x, filters, four, padding, dilations=rate).numpy()
    close(nn.conv2d(x, filters, four, padding, dilations=rate), theirs)
    image = x.transpose(0, 3, 1, 2)
    pads = padding if isinstance(padding, str) else [padding[i] for i in (0, 3, 1, 2)]
    first = nn.conv2d(image, filters, (1, 1, stride, stride), pads, "NCHW", rate)
    close(first.transpose(0, 2, 3, 1), theirs)


def test_positional_order_is_tensorflows():
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    x, depthwise, pointwise, filters = arrays((9, 10), 4, 2, 5, (3, 3))
    arguments = (x, depthwise, pointwise, [1, 1, 1, 1], "SAME", [2, 2], "layer", "NHWC")
    close(nn.separable_conv2d(*arguments), tf.compat.v1.nn.separable_conv2d(*arguments).numpy())
    arguments = (x, depthwise, [1, 2, 2, 1], "SAME", [1, 1], "layer", "NHWC")
    close(nn.depthwise_conv2d(*arguments), tf.compat.v1.nn.depthwise_conv2d(*arguments).numpy())
    arguments = (x, filters, [1, 2, 2, 1], "SAME", "NHWC", None, "layer")
    close(nn.conv2d(*arguments), tf.nn.conv2d(*arguments).numpy())
