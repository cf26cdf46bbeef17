"""Elementwise arithmetic between filters: gradient magnitudes, missing samples, conversions.

All operations share the signature ``(x, y, other, second, count, a, b)`` and the code that launches them: inputs `x`
and `other`, outputs `y` and `second`, `count` elements, two scalars.  Unused pointers must be valid.
"""

from dataclasses import dataclass

import numpy as np
from numba import cuda

from ..intrinsics.vocabulary import LANES, ElementType, intrinsics

WARPS = 8
PER_THREAD = 4


@dataclass(frozen=True, slots=True)
class ElementwiseVariant:
    """Compile-time parameters of a kernel of this family."""

    operation: str
    """Operation, a key of `_MAKERS`."""
    storage: ElementType
    """Type of `x`."""
    other: ElementType
    """Type of `other`."""
    result: ElementType
    """Type of `y` and `second`."""
    compute: str
    """Type of the arithmetic, "f4" or "f8"."""
    options: tuple[str, ...] = ()
    """Options of `add`: "whole", "square", "add", "root"; of `split`: "omit", "masked"."""

    @property
    def pointers(self) -> tuple[np.dtype, ...]:
        """Types of the arrays of a call, in the order of the arguments."""
        return self.storage.raw, self.result.raw, self.other.raw, self.result.raw

    @property
    def launch_bounds(self) -> tuple[int, int]:
        """(Threads per block, minimum number of resident blocks per multiprocessor)."""
        return LANES * WARPS, 4


def elementwise_signature(variant: ElementwiseVariant):
    """Return the Numba types of the arguments of `elementwise_kernel`."""
    types, number = intrinsics.types, intrinsics.scalar_type(variant.compute)
    arrays = (
        intrinsics.pointer_to(s) for s in (variant.storage, variant.result, variant.other, variant.result)
    )
    return (*arrays, types.int64, number, number)


def elementwise_kernel(variant: ElementwiseVariant):
    """Make the kernel of a variant, which Numba compiles at the first launch."""
    return _MAKERS[variant.operation](variant)


def _accessors(variant):
    read, read_other = (
        intrinsics.read_intrinsic(s, variant.compute) for s in (variant.storage, variant.other)
    )
    return read, read_other, intrinsics.result_intrinsics(variant.result, variant.compute, 1).write


def _add(variant):
    """Make the kernel ``y = sqrt(other + trunc(x) ** 2)``, in which each operation is optional."""
    WHOLE, SQUARE, ADD, ROOT = (option in variant.options for option in ("whole", "square", "add", "root"))
    read, read_other, write = _accessors(variant)
    truncated, root = intrinsics.math_intrinsics(variant.compute)

    @cuda.jit(**intrinsics.options(variant))
    def add(x, y, other, second, count, a, b):
        first = np.int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        first = first * (LANES * PER_THREAD) + cuda.threadIdx.x
        for i in range(first, min(first + LANES * PER_THREAD, count), LANES):
            value = read(x, i)
            if WHOLE:
                value = truncated(value)
            if SQUARE:
                value = value * value
            if ADD:
                value += read_other(other, i)
            if ROOT:
                value = root(value)
            write(y, i, value)

    return add


def _convert(variant):
    """Make the kernel ``y = x``, which converts by the rules of `numbasep.arguments.casting`."""
    read, _, write = _accessors(variant)

    @cuda.jit(**intrinsics.options(variant))
    def convert(x, y, other, second, count, a, b):
        first = np.int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        first = first * (LANES * PER_THREAD) + cuda.threadIdx.x
        for i in range(first, min(first + LANES * PER_THREAD, count), LANES):
            write(y, i, read(x, i))

    return convert


def _find_nan(variant):
    """Make the kernel that sets ``y[0] = 1`` if `x` has a NaN."""
    read, _, write = _accessors(variant)
    number = np.dtype(variant.compute).type

    @cuda.jit(**intrinsics.options(variant))
    def find_nan(x, y, other, second, count, a, b):
        first = np.int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        first = first * (LANES * PER_THREAD) + cuda.threadIdx.x
        for i in range(first, min(first + LANES * PER_THREAD, count), LANES):
            value = read(x, i)
            if value != value:
                write(y, 0, number(1))

    return find_nan


def _normalise(variant):
    """Make the kernel ``y = x / (other / a)``, with NaN where ``abs(other / a) <= b``."""
    read, read_other, write = _accessors(variant)
    NAN = np.dtype(variant.compute).type(np.nan)

    @cuda.jit(**intrinsics.options(variant))
    def normalise(x, y, other, second, count, a, b):
        first = np.int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        first = first * (LANES * PER_THREAD) + cuda.threadIdx.x
        for i in range(first, min(first + LANES * PER_THREAD, count), LANES):
            share = read_other(other, i) / a
            value = NAN
            if abs(share) > b:
                value = read(x, i) / share
            write(y, i, value)

    return normalise


def _split(variant):
    """Make the kernel ``y, second = x, 1``, with zeros for NaN ("omit") and where ``other != 0`` ("masked")."""
    OMIT, MASKED = (option in variant.options for option in ("omit", "masked"))
    read, read_other, write = _accessors(variant)
    number = np.dtype(variant.compute).type

    @cuda.jit(**intrinsics.options(variant))
    def split(x, y, other, second, count, a, b):
        first = np.int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        first = first * (LANES * PER_THREAD) + cuda.threadIdx.x
        for i in range(first, min(first + LANES * PER_THREAD, count), LANES):
            value, present = read(x, i), number(1)
            if OMIT and value != value:
                present = number(0)
            if MASKED and read_other(other, i) != 0:
                present = number(0)
            write(second, i, present)
            write(y, i, value if present != 0 else number(0))

    return split


_MAKERS = {
    "add": _add, "convert": _convert, "find_nan": _find_nan, "normalise": _normalise, "split": _split
}  # fmt: skip
