"""Launches on host arrays, which are copied to the device and back."""

from typing import Any

import numpy as np

from ..system.types import Array
from . import driver
from .intrinsics.vocabulary import SIMULATED
from .launches import Program
from .simulator import simulated

Addresses = dict[int, tuple[int, int]]
"""Slot -> (address on the device, bytes)."""


def require() -> None:
    """Raise a `CudaUnavailableError` if there is no device, unless kernels are simulated."""
    if not SIMULATED:
        driver.require()


def run_program(program: Program, code: str, given: dict[int, Array], slot: int, result: Array) -> None:
    """Run a program on host arrays; `code` is the type of the sums, `slot` the argument that is read into `result`."""
    require()
    device = simulated if SIMULATED else driver.device(0)
    transfer_and_run(device, device.prepare(program, code), given, slot, result)


def transfer_and_run(device: Any, program: Any, given: dict[int, Array], slot: int, result: Array) -> None:
    """Copy host arrays to the device, run a prepared program, and copy the result back."""
    sizes = {**{s: a.nbytes for s, a in given.items()}, slot: result.nbytes, **program.scratch}
    if SIMULATED:
        scratch = {s: np.empty(n, np.uint8) for s, n in program.scratch.items()}
        arrays = {**given, slot: result, **scratch}
        program({s: (a.ctypes.data, a.nbytes) for s, a in arrays.items()})
        return
    addresses: Addresses = {}
    stream = driver.LEGACY_STREAM
    with device.current():
        try:
            for s, nbytes in sizes.items():
                addresses[s] = (device.allocate(nbytes, stream), nbytes)
            for s, array in given.items():
                device.upload(addresses[s][0], array, stream)
            program(addresses, stream)
            device.download(result, addresses[slot][0], stream)
        finally:
            for address, _ in addresses.values():
                device.free(address, stream)
