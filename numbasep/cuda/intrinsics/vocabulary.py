"""Intrinsics of the CUDA kernels: each is PTX on a device, and NumPy in Numba's CUDA simulator.

They do what Python and Numba cannot express: loads of sixteen bytes, asynchronous copies into shared memory, arithmetic
that is unrolled over registers, conversions between storage types.  `device` and `arithmetic` emit them through LLVM,
`reference` computes the same with NumPy.  Kernels are written once and never ask which of the two is there.

Pointers are flat: on a device typed addresses, in the simulator one-dimensional arrays.  Indices count elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba.core import config

SIMULATED = bool(config.ENABLE_CUDASIM)
LANES = 32
OUTSIDE = -1

if SIMULATED:
    from . import reference as intrinsics
else:
    from . import device as intrinsics

__all__ = ["LANES", "OUTSIDE", "SIMULATED", "Storage", "intrinsics"]


@dataclass(frozen=True, slots=True)
class Storage:
    """How numbers lie in memory, and how sums become such numbers."""

    code: str
    """NumPy's letters for the type: "f4", "u1", ... ("b1" for bool)."""
    saturate: bool = False
    """Integers: round half to even and clip; otherwise C's cast, towards zero and wrapping round."""
    bounded: bool = False
    """Integers of at most 16 bits: whether all sums that become such numbers are known to fit 32 bits."""

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return int(self.code[1:])

    @property
    def raw(self) -> np.dtype:
        """The type that memory is read as: bool as uint8, float16 as uint16, which Numba knows everywhere."""
        return np.dtype({"b1": "u1", "f2": "u2"}.get(self.code, self.code))

    @property
    def is_integer(self) -> bool:
        """Whether it holds integers or truth values."""
        return self.code[0] in "biu"
