"""Numba's CUDA simulator as a device: kernels run as Python, arrays are NumPy arrays.

With NUMBA_ENABLE_CUDASIM=1 everything above the driver runs unchanged.  Blocks have one warp, since the simulator has
no barrier of a warp.  An instruction takes microseconds: the simulator is for tests.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from ..system.types import Array
from .compiler import FAMILIES
from .launches import Program, Slot


@functools.cache
def _kernel(variant: Any) -> Any:
    make, _ = FAMILIES[type(variant)]
    return make(variant)


class SimulatedDevice:
    """Counterpart of `driver.Device` for the simulator."""

    name = "Numba's CUDA simulator"
    ordinal = None
    multiprocessors = 1
    warps = 1

    def prepare(self, program: Program, code: str) -> SimulatedProgram:
        """Prepare a program; `code` is the type of the sums."""
        return SimulatedProgram(program, code)


simulated = SimulatedDevice()


class SimulatedProgram:
    """A program whose kernels run in the simulator."""

    def __init__(self, program: Program, code: str) -> None:
        self.scratch = program.scratch
        self._program, self._number = program, np.dtype(code).type

    def __call__(self, addresses: dict[int, tuple[int, int]], stream: int = 0) -> None:  # noqa: ARG002 - none here
        """Run all launches; `addresses` maps each slot to (address, bytes)."""
        for launch in self._program.launches:
            arguments = list(launch.arguments)
            source, target = launch.arguments[0].index, launch.arguments[1].index
            if launch.aligned_in is not None and addresses[source][0] % 16:
                arguments[launch.aligned_in] = 0
            if launch.pitch_out is not None and addresses[target][0] % 16:
                arguments[launch.pitch_out] = -abs(arguments[launch.pitch_out])
            raw = iter(launch.variant.pointers)
            bound = [self._bound(a, addresses, next(raw) if isinstance(a, Slot) else None) for a in arguments]
            _kernel(launch.variant)[(launch.blocks, 1), (32, launch.warps)](*bound)

    def _bound(self, value: Any, addresses: dict[int, tuple[int, int]], raw: np.dtype[Any] | None) -> Any:
        if isinstance(value, Slot):
            from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

            assert raw is not None
            address, nbytes = addresses[value.index]
            # The simulator copies each NumPy array there and back, which is wrong for memory that two arguments share.
            return FakeCUDAArray(memory_at(address, nbytes).view(raw))
        if isinstance(value, tuple):
            return tuple(self._bound(item, addresses, None) for item in value)
        return self._number(value) if isinstance(value, float) else value


def memory_at(address: int, nbytes: int) -> Array:
    """Return a view of the host memory at an address, as bytes."""
    if not nbytes:
        return np.zeros(0, np.uint8)
    memory: Array = np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))
    return memory
