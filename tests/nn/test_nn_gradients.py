"""Gradients of the convolutions over channels, by finite differences.

The functions are linear in each argument alone, so a central difference along a random direction is exact up
to rounding.
"""

import numpy as np
import pytest

from numbasep import nn


def call(function, arrays, strides, padding, rates, data_format):
    if function.startswith("conv2d"):
        return getattr(nn, function)(*arrays, strides, padding, data_format, rates)
    return getattr(nn, function)(*arrays, strides, padding, rates, None, data_format)


CASES = [
    ((7, 8), (3, 3), (1, 1), "SAME", (1, 1)),
    ((7, 8), (3, 2), (1, 1), "VALID", (1, 1)),
    ((9, 8), (3, 4), (2, 3), "SAME", (1, 1)),
    ((9, 8), (2, 3), (3, 2), "VALID", (1, 1)),
    ((9, 10), (3, 2), (1, 1), "SAME", (2, 3)),
    ((5, 4), (3, 3), (1, 1), ((0, 0), (4, 1), (0, 5), (0, 0)), (1, 1)),
    ((5, 6), (2, 2), (2, 1), ((0, 0), (3, 3), (2, 0), (0, 0)), (1, 1)),
    ((2, 2), (5, 5), (1, 1), "SAME", (1, 1)),
    ((1, 1), (1, 1), (1, 1), "SAME", (1, 1)),
]


@pytest.mark.thinned
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize(("size", "kernel", "strides", "padding", "rates"), CASES)
@pytest.mark.parametrize("function", ["separable_conv2d", "depthwise_conv2d", "conv2d"])
def test_gradients_equal_finite_differences(function, size, kernel, strides, padding, rates, data_format):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *size, 3))
    filters = {
        "separable_conv2d": [rng.standard_normal((*kernel, 3, 2)), rng.standard_normal((1, 1, 6, 4))],
        "depthwise_conv2d": [rng.standard_normal((*kernel, 3, 2))],
        "conv2d": [rng.standard_normal((*kernel, 3, 4))],
    }[function]
    four = (1, *strides, 1)
    if data_format == "NCHW":
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        four = (1, 1, *strides)
        padding = padding if isinstance(padding, str) else tuple(padding[i] for i in (0, 3, 1, 2))
    arrays = [x, *filters]
    result = call(function, arrays, four, padding, rates, data_format)
    gradient = rng.standard_normal(result.shape)
    found = call(f"{function}_vjp", [gradient, *arrays], four, padding, rates, data_format)
    assert len(found) == len(arrays)
    for i, array in enumerate(arrays):
        assert found[i].shape == array.shape
        direction = rng.standard_normal(array.shape)
        ends = [
            call(
                function,
                [*arrays[:i], array + step * direction, *arrays[i + 1 :]],
                four,
                padding,
                rates,
                data_format,
            )
            for step in (0.5, -0.5)
        ]
        expected = ((ends[0] - ends[1]) * gradient).sum()
        scale = np.abs(gradient).sum() * np.abs(direction).max()
        assert abs((found[i] * direction).sum() - expected) <= 1e-12 * scale


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float16, 1e-3), (np.float32, 1e-6)])
def test_gradients_keep_the_dtype(dtype, tolerance):
    rng = np.random.default_rng(1)
    arrays = [
        rng.standard_normal(shape).astype(dtype) for shape in ((1, 9, 9, 3), (3, 3, 3, 1), (1, 1, 3, 5))
    ]
    gradient = rng.standard_normal((1, 9, 9, 5)).astype(dtype)
    found = nn.separable_conv2d_vjp(gradient, *arrays, (1, 1, 1, 1), "SAME")
    exact = nn.separable_conv2d_vjp(
        gradient.astype(float), *(array.astype(float) for array in arrays), (1, 1, 1, 1), "SAME"
    )
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == dtype
        assert np.abs(one - other).max() / np.abs(other).max() <= tolerance


def test_gradient_of_another_shape_or_dtype_is_refused():
    x, w = np.ones((1, 5, 5, 2)), np.ones((3, 3, 2, 2))
    with pytest.raises(
        ValueError, match=r"gradient must have the shape of the result, \(1, 5, 5, 2\), got \(1, 5, 5, 3\)"
    ):
        nn.conv2d_vjp(np.ones((1, 5, 5, 3)), x, w, 1, "SAME")
    with pytest.raises(ValueError, match="gradient must have the dtype of input, float64, got float32"):
        nn.conv2d_vjp(np.ones((1, 5, 5, 2), np.float32), x, w, 1, "SAME")
    with pytest.raises(ValueError, match="strides must all be 1"):
        nn.depthwise_conv2d_vjp(np.ones((1, 3, 3, 4)), x, w, (1, 2, 2, 1), "SAME", (2, 2))


@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
@pytest.mark.parametrize("channels", [150, 16])
def test_filter_gradient_of_many_channels_equals_the_sum(channels, strides):
    rng = np.random.default_rng(7)
    x = rng.standard_normal((2, 11, 141, channels)).astype(np.float32)
    w = rng.standard_normal((3, 3, channels, 2)).astype(np.float32)
    padding, four = [[0, 0], [1, 1], [1, 1], [0, 0]], (1, *strides, 1)
    g = rng.standard_normal(nn.depthwise_conv2d(x, w, four, padding).shape).astype(np.float32)
    _, found = nn.depthwise_conv2d_vjp(g, x, w, four, padding)
    padded = np.pad(x.astype(np.float64), padding)
    split = g.astype(np.float64).reshape(*g.shape[:3], channels, 2)
    for di in range(3):
        for dj in range(3):
            down, along = (n * s for n, s in zip(g.shape[1:3], strides, strict=True))
            samples = padded[:, di : di + down : strides[0], dj : dj + along : strides[1]]
            samples = samples[:, : g.shape[1], : g.shape[2]]
            expected = np.einsum("bijq,bijqr->qr", samples, split)
            assert np.abs(found[di, dj] - expected).max() <= 1e-6 * np.abs(expected).max()
