"""Thirty kernels that were not used for tuning, to judge the automatic choice of routes.

``kernels()`` returns them by name, like `kernel_zoo`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from tests.support import kernel_zoo as zoo

Array = NDArray[np.float64]


def polar(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Return the radius and the angle of the frequencies of a discrete transform."""
    y, x = (np.fft.fftfreq(n) for n in shape)
    return np.hypot(y[:, None], x[None, :]), np.arctan2(y[:, None], x[None, :])


def butterworth(size: int, cutoff: float, order: int) -> Array:
    """Return the point spread function of a Butterworth low-pass."""
    radius, _ = polar((size, size))
    response = 1 / (1 + (radius / cutoff) ** (2 * order))
    return np.fft.fftshift(np.fft.ifft2(response).real)


def oblique_gaussian(along: float, across: float, degrees: float, shape: tuple[int, int]) -> Array:
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    u, v = x[None, :] * c + y[:, None] * s, y[:, None] * c - x[None, :] * s
    return zoo.unit_sum(np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2)))


def binomial(order: int) -> Array:
    taps = np.ones(1)
    for _ in range(order):
        taps = np.convolve(taps, [1.0, 1.0])
    return taps


def sheared(kernel: Array, slope: float) -> Array:
    """Shift rows by whole samples, in proportion to their distance from the first."""
    moved = [
        np.roll(row, round(slope * i)) for i, row in enumerate(np.pad(kernel, ((0, 0), (0, len(kernel)))))
    ]
    return np.array(moved)


def ellipsoid(*radii: int) -> Array:
    grids = zoo.offsets(*radii)
    return (sum((g / (r + 0.3)) ** 2 for g, r in zip(grids, radii, strict=True)) <= 1).astype(float)


def _planes() -> dict[str, Array]:
    rng = np.random.default_rng(30)
    noise = rng.standard_normal((21, 21))
    smooth = zoo.outer(binomial(20), binomial(20)) / 2.0**40
    low = rng.integers(-5, 6, (3, 17)).astype(float).T @ rng.integers(-5, 6, (3, 23)).astype(float)
    sparse = np.where(rng.random((19, 19)) < 0.06, rng.standard_normal((19, 19)), 0.0)
    u, v = zoo.rotated(12, 20)
    return {
        "oblique gauss 1.5x6 @25": oblique_gaussian(6, 1.5, 25, (33, 33)),
        "oblique gauss 1x2 @45": oblique_gaussian(2, 1, 45, (13, 13)),
        "hexagon r=5": zoo.hexagon(5),
        "hexagon r=20": zoo.hexagon(20),
        "disk r=11 normalised": zoo.unit_sum(zoo.ball(2, 11)),
        "ring 10..13": zoo.ball(2, 13) - np.pad(zoo.ball(2, 10), 3),
        "cross 21": np.maximum(*np.broadcast_arrays(np.eye(21)[10][:, None], np.eye(21)[10])),
        "sparse random 19": sparse,
        "sheared box 9": sheared(np.ones((9, 9)), 0.5),
        "gabor rank 2 @20": np.exp(-(u**2 + v**2) / 32) * np.cos(0.9 * u + 0.4),
        "binomial 12": zoo.outer(binomial(11), binomial(11)),
        "binomial 4x8 /2**10": zoo.outer(binomial(3), binomial(7)) / 1024,
        "motion 31 @17": zoo.motion_line(31, 17),
        "motion 9 @70": zoo.motion_line(9, 70),
        "butterworth 31": butterworth(31, 0.12, 3),
        "butterworth 40": butterworth(40, 0.07, 2),
        "integer rank 3 /97": low / 97,
        "nearly separable 1e-5": smooth * (1 + 1e-5 * noise),
        "nearly separable 1e-3": smooth * (1 + 1e-3 * noise),
        "zero border gauss": np.pad(zoo.gaussian(1.2, 2.0), ((4, 1), (0, 6))),
        "1x41": np.hanning(43)[None, 1:-1],
        "41x1": np.hanning(43)[1:-1, None],
        "6x10 even": zoo.outer(np.arange(1.0, 7), np.arange(10.0, 0, -1))
        + zoo.outer(np.eye(6)[2], np.eye(10)[5]),
        "kirsch-like 5x5": np.sign(np.add.outer(np.arange(-2.0, 3), np.arange(-2.0, 3))) * 3,
        "checkerboard 8": (-1.0) ** np.add.outer(np.arange(8), np.arange(8)),
    }


def _volumes() -> dict[str, Array]:
    z, y, x = zoo.offsets(5, 6, 7)
    ones = np.ones(5)
    wave = np.cos(0.5 * z + 0.7 * y - 0.4 * x)
    return {
        "3D ellipsoid 3,5,6": ellipsoid(3, 5, 6),
        "3D oblique gabor": wave * np.exp(-(z**2 + y**2 + x**2) / 18),
        "3D laplace of box": zoo.outer([1, -2, 1], ones, ones) + zoo.outer(ones[:3], ones, [1, 0, -2, 0, 1]),
        "3D anisotropic gauss": zoo.gaussian(0.7, 1.5, 1.5),
        "3D sparse 26": np.where(zoo.squared_radius(3, 1) == 3, 1.0, 0.0) - zoo.impulse(3, 3) * 8,
    }  # fmt: skip


def kernels() -> dict[str, Array]:
    """Return all kernels, by name, as new arrays (25 in two dimensions, then 5 in three)."""
    return {**_planes(), **_volumes()}


def complex_kernels() -> dict[str, NDArray[np.complex128]]:
    """Return kernels with complex results; `benchmarks.regret` only measures real images."""
    u, v = zoo.rotated(9, 35)
    envelope = np.exp(-(u**2 + v**2) / 18)
    return {
        "complex gabor @35": envelope * np.exp(0.8j * u),
        "complex random 5": np.random.default_rng(3).standard_normal((2, 5, 5)).T @ np.array([1, 1j]),
        "complex rank 2": np.outer([1, 2j, 1], [1, 0, -1j]) + np.outer([1, 1j, 0], [0.5, 1, 2]),
    }
