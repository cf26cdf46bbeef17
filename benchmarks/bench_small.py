"""Small images, where the fixed cost of a call dominates."""

from __future__ import annotations

import numpy as np

import numbasep

from . import common


class SmallImages:
    """`convolve` with the full cost of a call, and a plan made once."""

    params = [16, 64, 256, 512]
    param_names = ("side",)

    def setup(self, side):
        self.array = common.image(side, side)
        self.kernel = common.gaussian(5)
        self.output = np.empty_like(self.array)
        self.plan = numbasep.plan(self.kernel, self.array.shape, self.array.dtype)
        self.time_convolve(side)
        self.time_plan(side)

    def time_convolve(self, side):
        numbasep.convolve(self.array, self.kernel, output=self.output)

    def time_plan(self, side):
        self.plan(self.array, self.output)
