"""The photograph and the six kernels of the demo."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..system.types import Array

# Rec. 709 luma, for photographs in colour.
LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Subject:
    """A kernel of the demo, with its title and a remark."""

    name: str
    """Title of the kernel."""
    remark: str
    """Short description of its special property."""
    kernel: Array
    """Dense weights, which are all that numbasep gets."""
    signed: bool
    """Whether the result is shown relative to zero (edges, bands) instead of as an image."""


def kernels() -> tuple[Subject, ...]:
    """Return the six kernels of the demo.

    Examples
    --------
    >>> [subject.kernel.shape for subject in kernels()]
    [(25, 25), (3, 3), (25, 25), (17, 17), (31, 31), (15, 15)]
    """
    random = np.random.default_rng(7).standard_normal((15, 15)).astype(np.float32)
    return (
        Subject("Gaussian", "sigma 3: one outer product", gaussian(3.0, 12), signed=False),
        Subject("Sobel", "exact integers", np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]]), signed=True),
        Subject(
            "Laplacian of Gaussian",
            "sigma 3: two outer products",
            laplacian_of_gaussian(3.0, 12),
            signed=True,
        ),
        Subject("Disk", "radius 8: defocus, runs of ones", disk(8), signed=False),
        Subject("Gabor", "30 degrees: oblique, yet rank 2", gabor(15, 30.0), signed=True),
        Subject("Random", "no structure at all", random / np.abs(random).sum(), signed=True),
    )


def gaussian(sigma: float, radius: int) -> Array:
    """Return a normalised Gaussian as a dense matrix."""
    x = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (x / sigma) ** 2)
    return float32(np.outer(taps, taps) / taps.sum() ** 2)


def laplacian_of_gaussian(sigma: float, radius: int) -> Array:
    """Return the Laplacian of a Gaussian, of mean zero: Marr & Hildreth, Proc. R. Soc. B 207 (1980) 187."""
    x = np.arange(-radius, radius + 1)
    r2 = (x[:, None] ** 2 + x[None, :] ** 2) / sigma**2
    envelope = np.exp(-0.5 * r2)
    kernel = (r2 - 2) * envelope
    kernel -= envelope * (kernel.sum() / envelope.sum())  # the response to a constant image is zero
    return float32(kernel / np.abs(kernel).sum())


def disk(radius: int) -> Array:
    """Return the average over a disk, the point spread of a defocused lens."""
    x = np.arange(-radius, radius + 1)
    inside = x[:, None] ** 2 + x[None, :] ** 2 <= radius**2
    return float32(inside / inside.sum())


def gabor(radius: int, degrees: float, *, sigma: float = 5.0, wavelength: float = 9.0) -> Array:
    """Return the even Gabor function: Daugman, J. Opt. Soc. Am. A 2 (1985) 1160.

    Its envelope is isotropic, so cos(a + b) = cos a cos b - sin a sin b makes it a sum of two outer products
    at every angle.
    """
    x = np.arange(-radius, radius + 1)
    angle = np.deg2rad(degrees)
    phase = 2 * np.pi / wavelength * (np.cos(angle) * x[None, :] + np.sin(angle) * x[:, None])
    envelope = np.exp(-0.5 * (x[:, None] ** 2 + x[None, :] ** 2) / sigma**2)
    kernel = envelope * np.cos(phase)
    return float32(kernel / np.abs(kernel).sum())


def float32(kernel: Array) -> Array:
    """Return the kernel rounded to float32, the type of most kernels in practice."""
    return np.asarray(kernel, dtype=np.float32)


def load_photograph(path: Path | None = None) -> tuple[Array, str]:
    """Return a photograph as a grey float32 image in [0, 1], and its name.

    Parameters
    ----------
    path : path, optional
        An image file; None takes the portrait of Eileen Collins (NASA, public domain) that ships with
        scikit-image.

    Raises
    ------
    ModuleNotFoundError
        If the package that reads or contains the photograph is not installed.
    OSError
        If the file is missing or is not an image.
    """
    pixels: Array
    if path is None:
        try:
            from skimage import data
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "the photograph ships in scikit-image: "
                'python -m pip install "numbasep[demo]", or name an image file'
            ) from None
        pixels, name = data.astronaut(), "astronaut (NASA, from skimage.data)"
    else:
        from ..files.formats import read_array

        pixels, name = read_array(path), path.name
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise ValueError(
            f"{name}: a photograph has rows, columns and maybe channels, not shape {pixels.shape}"
        )
    return grey(pixels), name


def grey(pixels: Array) -> Array:
    """Return pixels of any integer or float type, grey or in colour, as grey float32 in [0, 1]."""
    scale = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else 1.0
    image = pixels.astype(np.float32) / np.float32(scale)
    if image.ndim == 3:
        image = image[..., :3] @ LUMA if image.shape[-1] >= 3 else image[..., 0]
    return np.ascontiguousarray(image, dtype=np.float32)


def mirror_tile(image: Array, size: int) -> Array:
    """Return the image extended by mirroring to at least `size` rows and columns.

    Examples
    --------
    >>> mirror_tile(np.array([[1, 2], [3, 4]]), 3)
    array([[1, 2, 2],
           [3, 4, 4],
           [3, 4, 4]])
    """
    rows, columns = (max(0, size - length) for length in image.shape)
    return np.pad(image, ((0, rows), (0, columns)), mode="symmetric")
