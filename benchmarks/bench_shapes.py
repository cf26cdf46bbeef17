"""Array shapes found in practice: signals, tables, colour, stacks and many axes, in both memory orders."""

from __future__ import annotations

import numpy as np

import numbasep

from . import common


def shapes(samples):
    """Return shapes with about this number of samples, by name."""
    side, edge = round(samples**0.5), round(samples ** (1 / 3))
    return {
        "image": (side, side),
        "signal": (samples,),
        "one row": (1, samples),
        "three rows": (3, samples // 3),
        "eight rows": (8, samples // 8),
        "table of 64": (samples // 64, 64),
        "table of 8": (samples // 8, 8),
        "table of 3": (samples // 3, 3),
        "table of 2": (samples // 2, 2),
        "colour": (side // 2, -(-samples * 2 // (3 * side)), 3),
        "four channels": (side // 2, side // 2, 4),
        "sixteen bands": (side // 4, side // 4, 16),
        "three planes": (3, round((samples / 3) ** 0.5), round((samples / 3) ** 0.5)),
        "volume": (edge, edge, edge),
        "sixty slices": (60, round((samples / 60) ** 0.5), round((samples / 60) ** 0.5)),
        "spectra of 60": (round((samples / 60) ** 0.5), round((samples / 60) ** 0.5), 60),
        "four axes": (round(samples**0.25),) * 4,
        "movie": (4, 3, max(1, samples // 120_000), 100, 100),
        "six axes": (round(samples ** (1 / 6)),) * 6,
    }


AXES = {
    "all": slice(None),
    "first": slice(1),
    "last": slice(-1, None),
    "first two": slice(2),
    "last two": slice(-2, None),
}


class Shapes:
    """A Gaussian of nine taps along some axes, on arrays with a quarter of the samples of the large images."""

    params = [list(shapes(1 << 22)), ["C", "F"], list(AXES)]
    param_names = ("shape", "order", "axes")

    def setup(self, shape, order, axes):
        sizes = shapes(common.SIDE**2 // 4)[shape]
        self.axes = tuple(range(len(sizes)))[AXES[axes]]
        least = {"all": 1, "first": 2, "last": 2}.get(axes, 3)  # else the same as another
        if len(sizes) < least or (len(sizes) == 1 and order == "F"):
            raise NotImplementedError
        self.array = np.asarray(common.image(*sizes), order=order)
        self.output = np.empty_like(self.array)
        self.time_gaussian(shape, order, axes)

    def time_gaussian(self, shape, order, axes):
        numbasep.gaussian_filter(self.array, 1.0, axes=self.axes, output=self.output)
