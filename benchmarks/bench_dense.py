"""Dense kernels without structure: direct summation, Fourier transforms, and their crossover."""

from __future__ import annotations

from . import common


class Direct:
    """Direct summation, by size of the kernel and type of the image."""

    params = ([3, 5, 7, 9, 11, 15, 21], ["uint8", "float32", "float64"])
    param_names = ("taps", "dtype")

    def setup(self, taps, dtype):
        array = common.image(common.SIDE, common.SIDE, dtype=dtype)
        self.run = common.prepared(common.random_kernel(taps), array, method="direct")

    def time_filter(self, taps, dtype):
        self.run()


class FourierCrossover:
    """Direct summation and tiled Fourier transforms."""

    params = ([7, 15, 31, 63], ["direct", "fft", "auto"])
    param_names = ("taps", "method")
    timeout = 600

    def setup(self, taps, method):
        if taps > 31 and method == "direct":
            raise NotImplementedError("seconds a call, and of no interest")
        array = common.image(common.SIDE, common.SIDE)
        self.run = common.prepared(common.random_kernel(taps), array, method=method)

    def time_filter(self, taps, method):
        self.run()
