"""The same bytes in another order: memory layouts and element types that share the kernels."""

from __future__ import annotations

import numpy as np

import numbasep

from . import common


class Layouts:
    """A 9x9 Gaussian over rows and columns of arrays of equal size in memory."""

    params = ["C", "Fortran", "columns sliced", "rows reversed", "channels last", "complex64"]
    param_names = ("layout",)

    def setup(self, layout):
        self.array = self.arrays(common.SIDE)[layout]()
        self.output = np.empty_like(self.array)
        self.kernel = common.gaussian(9)
        self.time_filter(layout)

    def time_filter(self, layout):
        numbasep.convolve(self.array, self.kernel, axes=(0, 1), output=self.output)

    @staticmethod
    def arrays(side):
        """Return makers of the arrays by layout."""
        return {
            "C": lambda: common.image(side, side),
            "Fortran": lambda: np.asfortranarray(common.image(side, side)),
            "columns sliced": lambda: common.image(side, 2 * side)[:, ::2],
            "rows reversed": lambda: common.image(side, side)[::-1],
            "channels last": lambda: common.image(side, side // 4, 4),
            "complex64": lambda: common.image(side, side // 2, dtype=np.complex64),
        }


class PowersOfTwo:
    """Rows whose starts share a cache set must not cost more a pixel than their neighbours."""

    params = [4096, 4097, 4112]
    param_names = ("columns",)

    def setup(self, columns):
        array = common.image(common.SIDE, columns * common.SIDE // 4096)
        self.run = common.prepared(common.gaussian(17), array)

    def time_filter(self, columns):
        self.run()
