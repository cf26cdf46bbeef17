"""Flat kernels, as for focal statistics, top-hats and defocus: disks, rings, diamonds, balls."""

from __future__ import annotations

import numpy as np

from . import common


def ring(inner, outer):
    """Return the average over the disk of radius `outer` without that of radius `inner`."""
    distance = np.hypot(*np.mgrid[-outer : outer + 1, -outer : outer + 1])
    mask = (distance <= outer) & (distance > inner)
    return mask / mask.sum()


def surround(inner, outer):
    """Return the average over a disk minus the average over a larger disk."""
    return np.pad(common.disk(inner), outer - inner) - common.disk(outer)


def diamond(radius):
    """Return the average over a diamond."""
    mask = np.abs(np.mgrid[-radius : radius + 1, -radius : radius + 1]).sum(0) <= radius
    return mask / mask.sum()


def ball(radius):
    """Return the sum over a ball."""
    grid = np.mgrid[(slice(-radius, radius + 1),) * 3]
    return (np.square(grid).sum(0) <= radius**2).astype(float)


KERNELS = {
    "disk 6": (common.disk, 6),
    "disk 11": (common.disk, 11),
    "disk 16": (common.disk, 16),
    "disk 25": (common.disk, 25),
    "ring 10 15": (ring, 10, 15),
    "ring 3 9": (ring, 3, 9),
    "surround 5 11": (surround, 5, 11),
    "diamond 12": (diamond, 12),
}


class Flat:
    """Images, by kernel and dtype."""

    params = (list(KERNELS), ["uint8", "float32"])
    param_names = ("kernel", "dtype")

    def setup(self, kernel, dtype):
        make, *sizes = KERNELS[kernel]
        self.run = common.prepared(make(*sizes), common.image(common.SIDE, common.SIDE, dtype=dtype))

    def time_filter(self, kernel, dtype):
        self.run()


class Balls:
    """Volumes, by radius."""

    params = [3, 5]
    param_names = ("radius",)

    def setup(self, radius):
        side = max(common.SIDE // 32, 4 * radius)
        self.run = common.prepared(ball(radius), common.image(side, side, side))

    def time_filter(self, radius):
        self.run()
