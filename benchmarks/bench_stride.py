"""Filters that compute only every second or fourth result, as for image pyramids."""

from __future__ import annotations

import numpy as np

import numbasep

from . import common

BINOMIAL = np.array([1, 4, 6, 4, 1])


def strided(weights, array, stride):
    """Return a call of a plan that computes every `stride`-th result, with a preallocated output."""
    plan = numbasep.plan(weights, array.shape, array.dtype, mode="mirror", stride=stride)
    output = np.empty(plan.problem.out_shape, array.dtype)
    plan(array, output)
    return lambda: plan(array, output)


class Images:
    """One level of an image pyramid, and the full filter (stride 1): a Gaussian of 9 taps, a binomial of 5."""

    params = ([1, 2, 4], ["gaussian", "binomial"], ["uint8", "float32"])
    param_names = ("stride", "kernel", "dtype")

    def setup(self, stride, kernel, dtype):
        taps = common.gaussian_taps(9) if kernel == "gaussian" else BINOMIAL / BINOMIAL.sum()
        self.run = strided(np.outer(taps, taps), common.image(common.SIDE, common.SIDE, dtype=dtype), stride)

    def time_filter(self, stride, kernel, dtype):
        self.run()


class Dense:
    """A kernel without structure, with strides along rows and columns."""

    params = ([1, 2, 4], [5, 15])
    param_names = ("stride", "taps")

    def setup(self, stride, taps):
        self.run = strided(common.random_kernel(taps), common.image(common.SIDE, common.SIDE), stride)

    def time_filter(self, stride, taps):
        self.run()


class Volumes:
    """A volume with strides along every axis."""

    params = ([1, 2], ["uint16", "float32"])
    param_names = ("stride", "dtype")

    def setup(self, stride, dtype):
        array = common.image(common.CUBE, common.CUBE, common.CUBE, dtype=dtype)
        self.run = strided(common.gaussian(9, ndim=3), array, stride)

    def time_filter(self, stride, dtype):
        self.run()


class Pyramids:
    """Five levels of a pyramid, each a call on the level before."""

    def setup(self):
        self.array = common.image(common.SIDE, common.SIDE)
        self.time_five_levels()

    def time_five_levels(self):
        level = self.array
        for _ in range(5):
            level = numbasep.gaussian_filter(level, 1, stride=2)
