"""Constants of one GPU, for predicted times.

The counterpart of `machine` for GPUs.  `REFERENCE` follows from the data sheet of one device;
`numbasep.calibrate(device="cuda")` replaces it by measurements.
"""

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Any

from . import machine

FORMAT = 1  # version of the file format


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Constants of a GPU. Pairs are (float32, float64)."""

    name: str
    """Name of the device, shown in plans."""
    copy_rate: float
    """Bytes per second, read and written, of a copy within device memory."""
    plane_rate: tuple[float, float]
    """Multiply-adds per second of separable terms in one pass over planes."""
    columns_rate: tuple[float, float]
    """Multiply-adds per second of dense weights, and of long filters along outer axes."""
    lines_rate: tuple[float, float]
    """Multiply-adds per second of long filters along contiguous lines."""
    launch_seconds: float
    """Fixed time of a kernel launch."""
    transfer_rate: float
    """Bytes per second between host and device memory."""


REFERENCE = Accelerator(
    name="reference (NVIDIA H200 by its data sheet, not measured)",
    copy_rate=4.3e12,
    plane_rate=(18e12, 9e12),
    columns_rate=(10e12, 6e12),
    lines_rate=(15e12, 7e12),
    launch_seconds=4e-6,
    transfer_rate=20e9,
)


_KEY = {"format": FORMAT}


def save(measured: Accelerator) -> Any:
    """Store measured constants and make `current` return them from now on."""
    path = machine.store("accelerator", _KEY, dataclasses.asdict(measured))
    current.cache_clear()
    return path


def _from_fields(fields: dict[str, Any]) -> Accelerator:
    made: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    accelerator = Accelerator(**made)
    numbers = [accelerator.copy_rate, accelerator.launch_seconds, accelerator.transfer_rate]
    numbers += [*accelerator.plane_rate, *accelerator.columns_rate, *accelerator.lines_rate]
    if len(numbers) != 9 or not all(0 < float(n) < math.inf for n in numbers):
        raise ValueError("constants must be positive numbers")
    return accelerator


@functools.cache
def current() -> Accelerator:
    """Return the constants for this process: those stored by a calibration, or the reference."""
    return machine.recall("accelerator", _KEY, _from_fields) or REFERENCE
