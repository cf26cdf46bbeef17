"""Separable kernels of one term."""

from __future__ import annotations

from . import common


class Separable:
    """A Gaussian given as a dense matrix, by number of taps and dtype of the image."""

    params = ([3, 5, 9, 17, 31, 65], ["uint8", "uint16", "int16", "float32", "float64"])
    param_names = ("taps", "dtype")

    def setup(self, taps, dtype):
        array = common.image(common.SIDE, common.SIDE, dtype=dtype)
        self.run = common.prepared(common.gaussian(taps), array, method="separable")

    def time_filter(self, taps, dtype):
        self.run()


class OneThread:
    """The same Gaussian on one thread."""

    params = [3, 5, 9, 17, 31, 65]
    param_names = ("taps",)

    def setup(self, taps):
        array = common.image(common.SIDE, common.SIDE)
        self.run = common.prepared(common.gaussian(taps), array, method="separable", workers=1)

    def time_filter(self, taps):
        self.run()


class Boundaries:
    """Every boundary mode; the interior dominates, so that times should be equal."""

    params = ["reflect", "mirror", "nearest", "wrap", "constant"]
    param_names = ("mode",)

    def setup(self, mode):
        array = common.image(common.SIDE, common.SIDE)
        self.run = common.prepared(common.gaussian(17), array, mode=mode)

    def time_filter(self, mode):
        self.run()
