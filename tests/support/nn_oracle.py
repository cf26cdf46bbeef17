"""Reference implementation of the convolutions over channels: simple loops over taps in float64."""

import numpy as np


def axis_geometry(size, taps, stride, dilation, padding):
    """Return (zeros before, zeros after, outputs) for one image axis, by the notes on padding of `tf.nn`."""
    reach = (taps - 1) * dilation + 1
    if padding == "SAME":
        outputs = -(-size // stride)
        total = max((outputs - 1) * stride + reach - size, 0)
        return total // 2, total - total // 2, outputs
    before, after = (0, 0) if padding == "VALID" else padding
    return before, after, (size + before + after - reach) // stride + 1


def windows(x, kernel, strides, padding, rates):
    """Return a function of a tap (di, dj) that returns the samples of x (B, H, W, C) which it multiplies."""
    pads = (
        ("SAME", "SAME") if padding == "SAME" else ("VALID", "VALID") if padding == "VALID" else padding[1:3]
    )
    (top, bottom, rows), (left, right, columns) = (
        axis_geometry(x.shape[1 + a], kernel[a], strides[a], rates[a], pads[a]) for a in (0, 1)
    )
    padded = np.pad(x.astype(np.float64), ((0, 0), (top, bottom), (left, right), (0, 0)))

    def at(di, dj):
        i = di * rates[0] + strides[0] * np.arange(rows)
        j = dj * rates[1] + strides[1] * np.arange(columns)
        return padded[:, i[:, None], j[None, :], :]

    return at, (x.shape[0], rows, columns)


def depthwise(x, filters, strides=(1, 1), padding="SAME", rates=(1, 1)):
    kh, kw, channels, multiplier = filters.shape
    at, shape = windows(x, (kh, kw), strides, padding, rates)
    total = np.zeros((*shape, channels, multiplier))
    for di in range(kh):
        for dj in range(kw):
            total += at(di, dj)[..., None] * filters[di, dj].astype(np.float64)
    return total.reshape(*shape, channels * multiplier)


def separable(x, filters, pointwise, strides=(1, 1), padding="SAME", rates=(1, 1)):
    return depthwise(x, filters, strides, padding, rates) @ pointwise[0, 0].astype(np.float64)


def ordinary(x, filters, strides=(1, 1), padding="SAME", rates=(1, 1)):
    kh, kw = filters.shape[:2]
    at, shape = windows(x, (kh, kw), strides, padding, rates)
    total = np.zeros((*shape, filters.shape[3]))
    for di in range(kh):
        for dj in range(kw):
            total += at(di, dj) @ filters[di, dj].astype(np.float64)
    return total
