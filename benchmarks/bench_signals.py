"""Long kernels, for which transforms are used, missing samples, and arrays in the other byte order."""

from __future__ import annotations

import numpy as np

import numbasep

from . import common


def planned(weights, array, method="auto"):
    """Return a call of a plan with zeros beyond the edges and a preallocated output."""
    plan = numbasep.plan(weights, array.shape, array.dtype, mode="constant", method=method, rtol=1e-3)
    output = np.empty_like(array, dtype=plan.problem.output_dtype)
    plan(array, output)
    return lambda: plan(array, output)


class Signals:
    """One signal, of up to a million samples at full size."""

    params = ([1, 10, 100], [25, 101, 1000, 5001], ["float32", "float64"], ["auto", "fft"])
    param_names = ("10,000 samples", "taps", "dtype", "method")

    def setup(self, tens, taps, dtype, method):
        samples = tens * common.SIDE * 10_000 // 4096
        self.run = planned(np.random.default_rng(0).random(taps), common.image(samples, dtype=dtype), method)

    def time_filter(self, tens, taps, dtype, method):
        self.run()


class Images:
    """Kernels of a twentieth of the image's side up to its full size, also with an axis of length 1 before or after."""

    params = ([0.05, 0.2, 0.5, 1.0], ["plain", "first", "last"], ["float32", "float64"])
    param_names = ("share", "axis of one", "dtype")

    def setup(self, share, one, dtype):
        side = max(common.SIDE // 4, 8)
        taps = max(int(share * side), 1)
        index = {"plain": (), "first": (None, ...), "last": (..., None)}[one]
        self.run = planned(
            common.random_kernel(taps)[index], common.image(side, side, dtype=dtype)[index], "fft"
        )

    def time_filter(self, share, one, dtype):
        self.run()


class Volumes:
    """A dense three-dimensional kernel."""

    params = ([15, 31], ["float32", "float64"])
    param_names = ("taps", "dtype")

    def setup(self, taps, dtype):
        weights = np.random.default_rng(0).random((taps, taps, taps))
        side = common.CUBE // 2
        self.run = planned(weights, common.image(side, side, side, dtype=dtype), "fft")

    def time_filter(self, taps, dtype):
        self.run()


class Gaps:
    """A point spread function on an image: finite, with a NaN region of 1 %, and with 1 % NaN pixels."""

    params = (["none", "region", "pixels"], ["propagate", "omit"], ["float32", "float64"])
    param_names = ("gaps", "nan_policy", "dtype")

    def setup(self, gaps, policy, dtype):
        side = common.SIDE // 2
        self.array = common.image(side, side, dtype=dtype)
        if gaps == "region":
            self.array[side // 2 : side // 2 + side // 10, side // 3 : side // 3 + side // 10] = np.nan
        elif gaps == "pixels":
            self.array[np.random.default_rng(0).random(self.array.shape) < 0.01] = np.nan
        taps = max(side // 20, 2)
        y, x = np.mgrid[-taps : taps + 1, -taps : taps + 1]
        self.weights = (1 + (x**2 + 1.3 * y**2) / 9) ** -2.5
        self.output = np.empty_like(self.array)
        self.time_filter(gaps, policy, dtype)

    def time_filter(self, gaps, policy, dtype):
        numbasep.convolve(self.array, self.weights, self.output, method="fft", rtol=1e-3, nan_policy=policy)


class SignalGaps:
    """One signal and 501 taps: finite, with one NaN, with a run of 1 % NaN, and with 20 single NaN."""

    params = (["none", "one", "run", "few"], ["propagate", "omit"], ["float32", "float64"])
    param_names = ("gaps", "nan_policy", "dtype")

    def setup(self, gaps, policy, dtype):
        samples = common.SIDE * 1_000_000 // 4096
        middle = samples // 2
        self.array = common.image(samples, dtype=dtype)
        nan = {
            "none": [], "one": [middle], "run": np.arange(middle, middle + samples // 100),
            "few": np.random.default_rng(0).integers(0, samples, 20),
        }  # fmt: skip
        self.array[np.asarray(nan[gaps], np.int64)] = np.nan
        self.weights, self.output = np.hanning(503)[1:-1], np.empty_like(self.array)
        self.time_filter(gaps, policy, dtype)

    def time_filter(self, gaps, policy, dtype):
        numbasep.convolve1d(self.array, self.weights, output=self.output, nan_policy=policy)


class ByteOrder:
    """A Gaussian on arrays as in FITS files: input, output or both in the other byte order."""

    params = (["neither", "input", "output", "both"], ["float32", "float64", "int16"])
    param_names = ("swapped", "dtype")

    def setup(self, swapped, dtype):
        other = np.dtype(dtype).newbyteorder()
        array = common.image(common.SIDE, common.SIDE, dtype=dtype)
        self.array = array.astype(other) if swapped in ("input", "both") else array
        self.output = np.empty(array.shape, other if swapped in ("output", "both") else dtype)
        self.time_filter(swapped, dtype)

    def time_filter(self, swapped, dtype):
        numbasep.gaussian_filter(self.array, 1, output=self.output)
