"""Installed GPU libraries that `benchmarks.gpu` compares with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

TAPS = (3, 5, 9, 13, 17, 33, 65)
ROTATED_BYTES = 256 << 20
SIGMAS = {9: 1.0, 17: 2.0, 33: 4.0}
"""Standard deviation by number of taps, for Gaussians with ``truncate=4``."""


def kernel_of(taps: int, terms: int) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column taps, both of shape (terms, taps), for smooth terms of decreasing weight."""
    x = np.linspace(-1, 1, taps)
    base = np.exp(-3 * x**2)
    base /= base.sum()
    rows = np.array([base * (1 + 0.3 * x) ** t for t in range(terms)])
    return rows, rows[:, ::-1].copy()


def torch_filter(torch: Any, side: int, taps: int) -> Callable[[int], Any]:
    """Return a call of PyTorch's `conv2d` along each axis, after a reflecting pad."""
    row, column = (kernel_of(taps, 1)[k][0] for k in (0, 1))
    down = torch.tensor(row, dtype=torch.float32, device="cuda").reshape(1, 1, -1, 1)
    along = torch.tensor(column, dtype=torch.float32, device="cuda").reshape(1, 1, 1, -1)
    images = [torch.rand(1, 1, side, side, device="cuda") for _ in range(rotations(side))]
    half, functional = taps // 2, torch.nn.functional

    def run(i: int) -> Any:
        padded = functional.pad(images[i % len(images)], (half,) * 4, mode="reflect")
        return functional.conv2d(functional.conv2d(padded, down), along)

    return run


def cupy_filter(
    cupy: Any, gaussian: Callable[[Any, float], Any], side: int, taps: int
) -> Callable[[int], Any]:
    """Return a call of a Gaussian filter on CuPy arrays."""
    images = [cupy.random.rand(side, side, dtype=cupy.float32) for _ in range(rotations(side))]
    return lambda i: gaussian(images[i % len(images)], SIGMAS[taps])


def rotations(side: int) -> int:
    """Return the number of images that together exceed the second-level cache."""
    return max(2, -(-ROTATED_BYTES // (8 * side * side)))


def peers() -> dict[str, tuple[Callable[[int, int], Callable[[int], Any]], Sequence[int]]]:
    """Return, by library, a function of (side, taps) that returns ``run(i)``, and the supported taps."""
    found: dict[str, Any] = {}
    try:
        import torch

        if torch.cuda.is_available():
            torch.backends.cudnn.benchmark = True
            torch.backends.cudnn.allow_tf32 = False
            found["torch conv2d, two passes"] = (lambda side, taps: torch_filter(torch, side, taps), TAPS)
    except Exception as error:
        print(f"PyTorch: {error}", flush=True)
    try:
        import cupy
        from cupyx.scipy import ndimage

        def gaussian(x: Any, sigma: float) -> Any:
            return ndimage.gaussian_filter(x, sigma)

        found["CuPy gaussian_filter"] = (lambda s, t: cupy_filter(cupy, gaussian, s, t), tuple(SIGMAS))
    except Exception as error:
        print(f"CuPy: {error}", flush=True)
        return found
    try:
        from cucim.skimage import filters

        def cucim(x: Any, sigma: float) -> Any:
            return filters.gaussian(x, sigma, mode="reflect", preserve_range=True)

        found["cuCIM gaussian"] = (lambda s, t: cupy_filter(cupy, cucim, s, t), tuple(SIGMAS))
    except Exception as error:
        print(f"cuCIM: {error}", flush=True)
    return found
