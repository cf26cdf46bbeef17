"""Seventy kernels from image processing, microscopy, astronomy and vision.

``kernels()`` returns them by name.  ``BEST`` holds the operations per pixel of the best known lossless form of each,
``RANK`` the number of separable terms where it follows from theory.
"""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def offsets(*radii: int) -> list[Array]:
    """Return signed distances from the centre, one open grid per axis."""
    return [a.astype(float) for a in np.ogrid[tuple(slice(-r, r + 1) for r in radii)]]


def squared_radius(ndim: int, r: int) -> Array:
    """Return squared Euclidean distances from the centre of a cube of half-width r."""
    return sum((a * a for a in offsets(*[r] * ndim)), np.zeros(()))


def outer(*vectors) -> Array:
    """Return the tensor product of any number of 1-D tap vectors."""
    result = np.ones(())
    for vector in vectors:
        result = np.multiply.outer(result, np.asarray(vector, float))
    return result


def unit_sum(kernel: Array) -> Array:
    return kernel / kernel.sum()


def gaussian_taps(sigma: float, truncate: float = 4.0) -> Array:
    radius = int(truncate * sigma + 0.5)
    return unit_sum(np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2))


def gaussian(*sigmas: float) -> Array:
    return outer(*(gaussian_taps(s) for s in sigmas))


def rotated(r: int, degrees: float) -> tuple[Array, Array]:
    """Return coordinates along and across a direction."""
    y, x = offsets(r, r)
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return x * c + y * s, y * c - x * s


def oriented_gaussian(along: float, across: float, degrees: float, r: int) -> Array:
    u, v = rotated(r, degrees)
    return unit_sum(np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2)))


def gabor(size: int, sigma: float, degrees: float, wavelength: float, aspect: float) -> Array:
    u, v = rotated(size // 2, degrees)
    return np.exp(-(u**2 + (aspect * v) ** 2) / (2 * sigma**2)) * np.cos(2 * math.pi * u / wavelength)


def laplacian_of_gaussian(sigma: float, ndim: int = 2, r: int | None = None) -> Array:
    q = squared_radius(ndim, int(4 * sigma + 0.5) if r is None else r)
    return (q - ndim * sigma**2) / sigma**4 * np.exp(-q / (2 * sigma**2)) / (2 * math.pi * sigma**2)


def zero_mean(kernel: Array) -> Array:
    return kernel - kernel.mean()


def ball(ndim: int, r: int) -> Array:
    """Return the indicator of the disk (2-D) or ball (3-D) of radius r."""
    return (squared_radius(ndim, r) <= r * r).astype(float)


def antialiased_disk(r: int, samples: int = 16) -> Array:
    n = 2 * r + 1
    t = (np.arange(n * samples) + 0.5) / samples - n / 2
    inside = (t[:, None] ** 2 + t**2 <= (r + 0.25) ** 2).astype(float)
    return unit_sum(inside.reshape(n, samples, n, samples).mean(axis=(1, 3)))


def hexagon(r: int) -> Array:
    y, x = (abs(a) for a in offsets(r, r))
    return ((x <= 0.866 * r) & (0.5 * x + 0.866 * y <= 0.866 * r)).astype(float)


def motion_line(length: int, degrees: float, density: int = 12) -> Array:
    """Draw a line by bilinear splatting of evenly spaced points."""
    r = length // 2
    kernel = np.zeros((2 * r + 3, 2 * r + 3))
    t = np.linspace(-r, r, density * length)
    y, x = r - t * math.sin(math.radians(degrees)), r + t * math.cos(math.radians(degrees))
    i, j = np.floor(y).astype(int), np.floor(x).astype(int)
    for di, wy in ((0, 1 - (y - i)), (1, y - i)):
        for dj, wx in ((0, 1 - (x - j)), (1, x - j)):
            weight = wy * wx
            np.add.at(kernel, (i + di, j + dj), np.where(weight > 1e-12, weight, 0))
    return unit_sum(kernel[: 2 * r + 1, : 2 * r + 1])


def jinc(q: Array) -> Array:
    """Return ``2 J1(q) / q``, by the midpoint rule on Bessel's integral."""
    theta = (np.arange(400) + 0.5) * math.pi / 400
    safe = np.where(q == 0, 1.0, q)
    return np.where(q == 0, 1.0, 2 * np.cos(theta - safe[..., None] * np.sin(theta)).mean(-1) / safe)


def airy(r: int, first_zero: float) -> Array:
    return unit_sum(jinc(np.sqrt(squared_radius(2, r)) * 3.8317 / first_zero) ** 2)


def moffat(r: int, width: float, beta: float) -> Array:
    return unit_sum((1 + squared_radius(2, r) / width**2) ** -beta)


def lanczos(lobes: int, scale: int) -> Array:
    t = np.arange(1 - lobes * scale, lobes * scale) / scale
    taps = unit_sum(np.sinc(t) * np.sinc(t / lobes))
    return outer(taps, taps)


def jinc_resampler(r: int, scale: int, cutoff: float = 3.2383) -> Array:
    q = np.sqrt(squared_radius(2, r)) / scale
    return jinc(math.pi * q) * jinc(math.pi * q * 1.2197 / cutoff) * (q < cutoff)


def steerable_second(sigma: float, degrees: float, r: int) -> Array:
    u = rotated(r, degrees)[0] / sigma
    return (u * u - 1) * np.exp(-squared_radius(2, r) / (2 * sigma**2))


def savitzky_golay(size: int, degree: int, derivative: tuple[int, int] = (0, 0)) -> Array:
    y, x = (a.ravel() for a in np.broadcast_arrays(*offsets(size // 2, size // 2)))
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    design = np.stack([y**i * x**j for i, j in powers], axis=1)
    return np.linalg.pinv(design)[powers.index(derivative)].reshape(size, size)


def impulse(ndim: int, size: int) -> Array:
    kernel = np.zeros((size,) * ndim)
    kernel[(size // 2,) * ndim] = 1
    return kernel


def _stencils() -> dict[str, Array]:
    binomial, smooth, difference = [1, 4, 6, 4, 1], [1, 2, 1], [-1, 0, 1]
    b5 = outer(binomial, binomial)
    return {
        "gauss 5x5 int /273": np.array(
            [[1, 4, 7, 4, 1], [4, 16, 26, 16, 4], [7, 26, 41, 26, 7], [4, 16, 26, 16, 4], [1, 4, 7, 4, 1]],
            float,
        ),
        "binomial 5x5 int": b5,
        "sobel3": outer(smooth, difference),
        "scharr3": outer([3, 10, 3], difference),
        "prewitt3": outer([1, 1, 1], difference),
        "sobel5": outer(binomial, [-1, -2, 0, 2, 1]),
        "kirsch N": np.array([[5, 5, 5], [-3, 0, -3], [-3, -3, -3]], float),
        "kirsch NW": np.array([[5, 5, -3], [5, 0, -3], [-3, -3, -3]], float),
        "emboss": np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], float),
        "laplace4": np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], float),
        "laplace8": np.ones((3, 3)) - 9 * impulse(2, 3),
        "laplace9 (1 4 -20)": outer([1, 4, 1], [1, 4, 1]) - 36 * impulse(2, 3),
        "sharpen4": np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], float),
        "unsharp 5x5 int": 512 * impulse(2, 5) - b5,
        "malvar demosaic 5x5": np.array(
            [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]], float
        ),
    }


def _smooth_2d() -> dict[str, Array]:
    return {
        "gauss s=0.8": gaussian(0.8, 0.8),
        "gauss s=1.5": gaussian(1.5, 1.5),
        "gauss s=3": gaussian(3, 3),
        "gauss s=8": gaussian(8, 8),
        "gauss aniso 1.5x4 axis": gaussian(1.5, 4),
        "gauss aniso 2x5 rot30": oriented_gaussian(2, 5, 30, 20),
        "unsharp s=2 a=1.5": 2.5 * impulse(2, 17) - 1.5 * gaussian(2, 2),
        "LoG s=1.4": laplacian_of_gaussian(1.4),
        "LoG s=1.4 zero-mean": zero_mean(laplacian_of_gaussian(1.4)),
        "LoG s=3": laplacian_of_gaussian(3),
        "mexican hat s=5 z-mean": zero_mean(laplacian_of_gaussian(5)),
        "DoG 1.4/2.24": np.pad(gaussian(1.4, 1.4), 3) - gaussian(2.24, 2.24),
        "gabor 0 g=.5": gabor(21, 4, 0, 10, 0.5),
        "gabor 45 g=.5": gabor(21, 4, 45, 10, 0.5),
        "gabor 30 g=.5": gabor(21, 4, 30, 10, 0.5),
        "gabor 30 g=1": gabor(21, 4, 30, 10, 1.0),
        "airy r=4 (41)": airy(20, 4),
        "moffat g=3 b=2.5 (41)": moffat(20, 3, 2.5),
        "lanczos3 x4": lanczos(3, 4),
        "jinc EWA x4": jinc_resampler(13, 4),
        "steerable G2 @30": steerable_second(2, 30, 8),
        "steerable G2 @45": steerable_second(2, 45, 8),
        "savgol 7 deg2": savitzky_golay(7, 2),
        "savgol 11 deg4": savitzky_golay(11, 4),
        "savgol 9 d3 d/dy": savitzky_golay(9, 3, (1, 0)),
        "epanechnikov r=7": np.clip(1 - squared_radius(2, 7) / 50, 0, None),
        "exponential radial 21": np.exp(-np.sqrt(squared_radius(2, 10)) / 2.5),
    }


def _shapes_2d() -> dict[str, Array]:
    rng = np.random.default_rng(70)
    return {
        "disk r=3": ball(2, 3),
        "disk r=7": ball(2, 7),
        "disk r=15": ball(2, 15),
        "disk aa r=5": antialiased_disk(5),
        "ring 5..7": ball(2, 7) - np.pad(ball(2, 4), 3),
        "hexagon r=9": hexagon(9),
        "box 3": np.ones((3, 3)),
        "box 7": np.ones((7, 7)),
        "box 31": np.ones((31, 31)),
        "motion 15 @0": np.pad(np.ones((1, 15)), ((7, 7), (0, 0))),
        "motion 15 @45": np.fliplr(np.eye(15)).copy(),
        "motion 15 @30": motion_line(15, 30),
        "random 7x7": rng.standard_normal((7, 7)),
        "random 15x15": rng.standard_normal((15, 15)),
    }


def _volumes() -> dict[str, Array]:
    rng = np.random.default_rng(71)
    faces = (squared_radius(3, 1) <= 1).astype(float)
    z, y, x = offsets(6, 6, 6)
    return {
        "3D gauss 1,2,3": gaussian(1, 2, 3),
        "3D box 5": np.ones((5, 5, 5)),
        "3D LoG s=2": laplacian_of_gaussian(2, ndim=3, r=8),
        "3D DoG 1.5/2.4": np.pad(gaussian(1.5, 1.5, 1.5), 4) - gaussian(2.4, 2.4, 2.4),
        "3D ball r=4": ball(3, 4),
        "3D ball r=7": ball(3, 7),
        "3D sobel z": outer([-1, 0, 1], [1, 2, 1], [1, 2, 1]),
        "3D laplace6": faces - 7 * impulse(3, 3),
        "3D laplace26": np.ones((3, 3, 3)) - 27 * impulse(3, 3),
        "3D disk5 x gauss1.5": np.multiply.outer(gaussian_taps(1.5), ball(2, 5)),
        "3D unsharp s=1.5": 3 * impulse(3, 13) - 2 * gaussian(1.5, 1.5, 1.5),
        "3D gabor 30deg": np.multiply.outer(gaussian_taps(2), gabor(17, 3, 30, 8, 1.0)),
        "3D moffat b=2.5": (1 + (x * x + y * y + (z / 2) ** 2) / 4) ** -2.5,
        "3D random 5": rng.standard_normal((5, 5, 5)),
    }


def kernels() -> dict[str, Array]:
    """Return all kernels, by name, as new float64 arrays (56 in two dimensions, then 14 in three)."""
    return {**_stencils(), **_smooth_2d(), **_shapes_2d(), **_volumes()}


#: Operations per pixel of the best lossless form found in a survey of these kernels that combined direct summation
#: (one for each non-zero weight), folding, singular values, prefix sums of runs and tensor trains.
BEST: dict[str, int] = {
    "gauss 5x5 int /273": 17,
    "binomial 5x5 int": 10,
    "sobel3": 4,
    "scharr3": 4,
    "prewitt3": 3,
    "sobel5": 9,
    "kirsch N": 6,
    "kirsch NW": 8,
    "emboss": 7,
    "laplace4": 5,
    "laplace8": 5,
    "laplace9 (1 4 -20)": 7,
    "sharpen4": 5,
    "unsharp 5x5 int": 11,
    "malvar demosaic 5x5": 9,
    "gauss s=0.8": 14,
    "gauss s=1.5": 26,
    "gauss s=3": 50,
    "gauss s=8": 130,
    "gauss aniso 1.5x4 axis": 46,
    "gauss aniso 2x5 rot30": 1291,
    "unsharp s=2 a=1.5": 35,
    "LoG s=1.4": 52,
    "LoG s=1.4 zero-mean": 59,
    "LoG s=3": 100,
    "mexican hat s=5 z-mean": 171,
    "DoG 1.4/2.24": 76,
    "gabor 0 g=.5": 42,
    "gabor 45 g=.5": 441,
    "gabor 30 g=.5": 439,
    "gabor 30 g=1": 78,
    "airy r=4 (41)": 881,
    "moffat g=3 b=2.5 (41)": 881,
    "lanczos3 x4": 38,
    "jinc EWA x4": 284,
    "steerable G2 @30": 100,
    "steerable G2 @45": 100,
    "savgol 7 deg2": 28,
    "savgol 11 deg4": 66,
    "savgol 9 d3 d/dy": 34,
    "epanechnikov r=7": 89,
    "exponential radial 21": 241,
    "disk r=3": 13,
    "disk r=7": 30,
    "disk r=15": 58,
    "disk aa r=5": 61,
    "ring 5..7": 47,
    "hexagon r=9": 31,
    "box 3": 4,
    "box 7": 6,
    "box 31": 6,
    "motion 15 @0": 3,
    "motion 15 @45": 15,
    "motion 15 @30": 43,
    "random 7x7": 49,
    "random 15x15": 225,
    "3D gauss 1,2,3": 51,
    "3D box 5": 9,
    "3D LoG s=2": 136,
    "3D DoG 1.5/2.4": 168,
    "3D ball r=4": 99,
    "3D ball r=7": 299,
    "3D sobel z": 7,
    "3D laplace6": 7,
    "3D laplace26": 7,
    "3D disk5 x gauss1.5": 101,
    "3D unsharp s=1.5": 40,
    "3D gabor 30deg": 85,
    "3D moffat b=2.5": 819,
    "3D random 5": 125,
}

#: Least number of separable terms where theory gives it: products, Leibniz's rule for derivatives of
#: Gaussians, floor(degree / 2) + 1 for Savitzky-Golay, the rank of the matrix for integers.
RANK: dict[str, int] = {
    "gauss 5x5 int /273": 3,
    "binomial 5x5 int": 1,
    "sobel3": 1,
    "scharr3": 1,
    "prewitt3": 1,
    "sobel5": 1,
    "kirsch N": 2,
    "kirsch NW": 3,
    "emboss": 3,
    "laplace4": 2,
    "laplace8": 2,
    "laplace9 (1 4 -20)": 2,
    "sharpen4": 2,
    "unsharp 5x5 int": 2,
    "malvar demosaic 5x5": 2,
    "gauss s=0.8": 1,
    "gauss s=1.5": 1,
    "gauss s=3": 1,
    "gauss s=8": 1,
    "gauss aniso 1.5x4 axis": 1,
    "unsharp s=2 a=1.5": 2,
    "LoG s=1.4": 2,
    "LoG s=1.4 zero-mean": 3,
    "LoG s=3": 2,
    "mexican hat s=5 z-mean": 3,
    "DoG 1.4/2.24": 2,
    "gabor 0 g=.5": 1,
    "gabor 30 g=1": 2,
    "lanczos3 x4": 1,
    "steerable G2 @30": 3,
    "steerable G2 @45": 3,
    "savgol 7 deg2": 2,
    "savgol 11 deg4": 3,
    "savgol 9 d3 d/dy": 2,
    "disk r=3": 3,
    "disk r=7": 6,
    "disk r=15": 10,
    "ring 5..7": 7,
    "hexagon r=9": 6,
    "box 3": 1,
    "box 7": 1,
    "box 31": 1,
    "motion 15 @0": 1,
    "motion 15 @45": 15,
    "3D gauss 1,2,3": 1,
    "3D box 5": 1,
    "3D LoG s=2": 3,
    "3D DoG 1.5/2.4": 2,
    "3D sobel z": 1,
    "3D laplace6": 3,
    "3D laplace26": 2,
    "3D disk5 x gauss1.5": 4,
    "3D unsharp s=1.5": 2,
    "3D gabor 30deg": 2,
}
