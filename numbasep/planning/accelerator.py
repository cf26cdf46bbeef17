"""Constants of one GPU, for predicted times.

The counterpart of `machine` for the other processor.  `REFERENCE` is put together from the data sheet of one device;
`numbasep.calibrate(device="cuda")` replaces it by what it measures.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Any

from . import machine

FORMAT = 1  # of the file


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Constants of a GPU. Pairs are (float32, float64)."""

    name: str
    """What they are those of: shown in plans."""
    copy_rate: float
    """Bytes a second, read and written, of a copy within its memory."""
    plane_rate: tuple[float, float]
    """Multiply-adds a second of taps in one pass over a plane."""
    columns_rate: tuple[float, float]
    """Multiply-adds a second of dense weights, and of long filters along outer axes."""
    lines_rate: tuple[float, float]
    """Multiply-adds a second of long filters along contiguous lines."""
    launch_seconds: float
    """Fixed time of a launch."""
    transfer_rate: float
    """Bytes a second between the memories of host and device."""


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
    """Store measured constants and let `current` return them from now on."""
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
    """Constants for this process: those stored by a calibration, or the reference."""
    return machine.recall("accelerator", _KEY, _from_fields) or REFERENCE
