"""Sums of separable terms, and kernels with structure."""

from __future__ import annotations

import numpy as np

from . import common


class SumsOfTerms:
    """Several terms in one pass over memory, so that time should only grow with arithmetic."""

    params = ([1, 2, 3, 4], [9, 31])
    param_names = ("terms", "taps")

    def setup(self, terms, taps):
        array = common.image(common.SIDE, common.SIDE)
        self.run = common.prepared(common.sum_of_terms(taps, terms), array, method="separable")

    def time_filter(self, terms, taps):
        self.run()


class Structured:
    """Kernels found in practice, by the automatic route."""

    params = ["box 31", "disk 8", "sobel", "laplacian 5-point", "sharpen 9"]
    param_names = ("kernel",)

    def setup(self, kernel):
        array = common.image(common.SIDE, common.SIDE)
        self.run = common.prepared(self.kernels()[kernel], array)

    def time_filter(self, kernel):
        self.run()

    @staticmethod
    def kernels():
        """Return the kernels by name."""
        sharpen = -common.gaussian(9)
        sharpen[4, 4] += 2
        return {
            "box 31": np.full((31, 31), 1 / 961),
            "disk 8": common.disk(8),
            "sobel": np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]]),
            "laplacian 5-point": np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]),
            "sharpen 9": sharpen,
        }
