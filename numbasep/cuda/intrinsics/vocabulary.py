"""Intrinsics of the CUDA kernels: PTX on a device, NumPy in Numba's CUDA simulator.

They do what Numba cannot express: loads of sixteen bytes, asynchronous copies into shared memory, arithmetic unrolled
over registers, conversions between storage types.  `device`, `arithmetic` and `results` emit them through LLVM;
`reference` computes the same with NumPy.  Kernels are written once and do not depend on which of the two is used.

Pointers are typed addresses on a device, and one-dimensional arrays in the simulator.  Indices count elements.
"""

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

__all__ = ["LANES", "OUTSIDE", "SIMULATED", "ElementType", "intrinsics"]


@dataclass(frozen=True, slots=True)
class ElementType:
    """Type of numbers in memory, and the conversion from sums to that type."""

    code: str
    """NumPy's type string without byte order: "f4", "u1", ... ("b1" for bool)."""
    saturate: bool = False
    """For integers, whether sums are rounded half to even and clipped; otherwise they are cast as in C."""
    bounded: bool = False
    """Whether all sums are known to fit 32 bits; for integers of at most 16 bits."""

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return int(self.code[1:])

    @property
    def raw(self) -> np.dtype:
        """Type as which memory is read: uint8 for bool, uint16 for float16, which Numba supports only in part."""
        return np.dtype({"b1": "u1", "f2": "u2"}.get(self.code, self.code))

    @property
    def is_integer(self) -> bool:
        """Whether the type is an integer type or bool."""
        return self.code[0] in "biu"
