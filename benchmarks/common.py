"""Images, kernels and prepared calls that the benchmarks share."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import numbasep

Array = npt.NDArray[Any]

SIDE = int(os.environ.get("NUMBASEP_BENCH_SIDE", "4096"))
"""Rows and columns of the large images."""
CUBE = int(os.environ.get("NUMBASEP_BENCH_CUBE", "256"))
"""Edge of the volumes."""


TARGETS = {"haswell": "+sse4.2,+popcnt,+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe"}
"""Features of processors for which numbasep can be compiled on another one."""


def compile_for(target: str, module: str, argv: Sequence[str] | None) -> None:
    """Start `module` again, with numbasep compiled for the processor `target`, unless this process is such a one."""
    if target and os.environ.get("NUMBA_CPU_NAME") != target:
        os.environ |= {"NUMBA_CPU_NAME": target, "NUMBA_CPU_FEATURES": TARGETS[target]}
        os.execv(sys.executable, [sys.executable, "-m", module, *(sys.argv[1:] if argv is None else argv)])


def image(*shape: int, dtype: npt.DTypeLike = np.float32, seed: int = 0) -> Array:
    """Return noise over the range of an integer dtype, or over [0, 1) for a floating dtype."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, size=shape, dtype=dtype, endpoint=True)
    if dtype.kind == "c":
        parts = rng.random((2, *shape), dtype=np.float32)
        return (parts[0] + 1j * parts[1]).astype(dtype)
    return rng.random(shape, dtype=np.float32).astype(dtype)


def gaussian_taps(taps: int) -> Array:
    """Return a normalised Gaussian that reaches four standard deviations at its ends."""
    x = np.arange(taps) - (taps - 1) / 2
    weights = np.exp(-0.5 * (8 * x / (taps + 1)) ** 2)
    return weights / weights.sum()


def gaussian(taps: int, ndim: int = 2) -> Array:
    """Return the dense Gaussian in float32, as a user passes it who does not know that it is separable."""
    kernel = np.ones(())
    for _ in range(ndim):
        kernel = np.multiply.outer(kernel, gaussian_taps(taps))
    return kernel.astype(np.float32)


def random_kernel(taps: int, seed: int = 1) -> Array:
    """Return a dense kernel without any structure, of unit absolute sum."""
    kernel = np.random.default_rng(seed).standard_normal((taps, taps))
    return (kernel / np.abs(kernel).sum()).astype(np.float32)


def sum_of_terms(taps: int, terms: int, seed: int = 2) -> Array:
    """Return a dense float64 kernel of the given rank."""
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((taps, terms)) @ rng.standard_normal((terms, taps))
    return kernel / np.abs(kernel).sum()


def disk(radius: int) -> Array:
    """Return the average over a disk."""
    x = np.arange(-radius, radius + 1)
    inside = x[:, None] ** 2 + x[None, :] ** 2 <= radius**2
    return (inside / inside.sum()).astype(np.float32)


def zoo(module_name: str = "kernel_zoo") -> dict[str, Array]:
    """Return the kernels of a module in `tests.support`, by name; by default those found in practice."""
    root = str(Path(__file__).parents[1])
    if root not in sys.path:  # asv makes only the benchmarks importable
        sys.path.append(root)
    kernels: dict[str, Array] = importlib.import_module(f"tests.support.{module_name}").kernels()
    return kernels


def prepared(
    kernel: Array, array: Array, output_dtype: npt.DTypeLike = None, **options: Any
) -> Callable[[], Array]:
    """Return a call that filters `array` to a preallocated output; a first run compiles it.

    Its time is that of the filter, without planning, compiling, and the page faults of a new output.
    """
    plan = numbasep.plan(kernel, array.shape, array.dtype, **options)
    output = np.empty(array.shape, dtype=output_dtype or array.dtype)

    def run() -> Array:
        result: Array = plan(array, output)
        return result

    run()
    return run
