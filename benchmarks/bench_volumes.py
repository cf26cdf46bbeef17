"""Volumes, filtered along all axes or one."""

from __future__ import annotations

import numpy as np

import numbasep

from . import common


class Volume:
    """A Gaussian along all axes of a volume."""

    params = ([5, 9, 17], ["uint16", "float32"])
    param_names = ("taps", "dtype")

    def setup(self, taps, dtype):
        array = common.image(common.CUBE, common.CUBE, common.CUBE, dtype=dtype)
        self.run = common.prepared(common.gaussian(taps, ndim=3), array)

    def time_filter(self, taps, dtype):
        self.run()


class OneAxis:
    """Nine taps along one axis: first, middle and last should cost the same."""

    params = [0, 1, 2]
    param_names = ("axis",)

    def setup(self, axis):
        self.array = common.image(common.CUBE, common.CUBE, common.CUBE)
        self.output = np.empty_like(self.array)
        self.taps = common.gaussian_taps(9)
        self.time_filter(axis)

    def time_filter(self, axis):
        numbasep.separable_convolve(self.array, {axis: self.taps}, output=self.output)
