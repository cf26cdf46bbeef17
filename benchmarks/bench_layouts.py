"""Memory layouts: arrays of the same size with other strides and dtypes."""

from __future__ import annotations

import numpy as np

import numbasep

from . import common


class Layouts:
    """A 9x9 Gaussian along rows and columns of arrays of equal size in memory."""

    params = [
        "C", "Fortran", "cropped", "rows sliced", "columns sliced", "rows reversed", "columns reversed", "colour",
        "channels last", "one channel of colour", "complex64", "real part of complex64",
    ]  # fmt: skip
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
        """Return functions that make the arrays, by layout."""
        return {
            "C": lambda: common.image(side, side),
            "Fortran": lambda: np.asfortranarray(common.image(side, side)),
            "columns sliced": lambda: common.image(side, 2 * side)[:, ::2],
            "cropped": lambda: common.image(side + 64, side + 100)[32:-32, 50:-50],
            "rows sliced": lambda: common.image(2 * side, side)[::2],
            "rows reversed": lambda: common.image(side, side)[::-1],
            "columns reversed": lambda: common.image(side, side)[:, ::-1],
            "colour": lambda: common.image(side, side // 3, 3),
            "one channel of colour": lambda: common.image(side, side, 3)[..., 1],
            "real part of complex64": lambda: common.image(side, side, dtype=np.complex64).real,
            "channels last": lambda: common.image(side, side // 4, 4),
            "complex64": lambda: common.image(side, side // 2, dtype=np.complex64),
        }


class PowersOfTwo:
    """Widths whose rows map to the same cache set, and close widths, which should take the same time per pixel."""

    params = [4096, 4097, 4112]
    param_names = ("columns",)

    def setup(self, columns):
        array = common.image(common.SIDE, columns * common.SIDE // 4096)
        self.run = common.prepared(common.gaussian(17), array)

    def time_filter(self, columns):
        self.run()
