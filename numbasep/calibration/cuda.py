"""Measures the constants of a GPU for predicted times, see `planning.accelerator`."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..cuda import driver
from ..cuda.launches import INPUT, OUTPUT
from ..cuda.run import prepared_program
from ..planning.accelerator import REFERENCE, Accelerator
from ..planning.planner import PlannedFilter

COPIED_BYTES = 1 << 30
TRANSFERRED_BYTES = 1 << 28
REPEATS = 10

MakePlan = Callable[[tuple[int, ...], tuple[int, ...], str, str], PlannedFilter]
"""Function of (kernel shape, array shape, dtype, method) that returns a GPU plan with a separable kernel."""


def measure(make_plan: MakePlan, ordinal: int = 0) -> Accelerator:
    """Measure the constants of a GPU, in about a second after its kernels are compiled.

    Raises
    ------
    CudaUnavailableError
        If there is no GPU, or a library is missing.
    """
    device = driver.device(ordinal)
    sides = {"f4": 8192, "f8": 4096}

    def rate(kernel: tuple[int, ...], method: str, code: str) -> float:
        shape = (sides[code], sides[code])
        plan = make_plan(kernel, shape, code, method)
        return plan.choice.chosen.operations * plan.problem.pixels / run_seconds(device, plan)

    def both(kernel: tuple[int, ...], method: str) -> tuple[float, float]:
        return rate(kernel, method, "f4"), rate(kernel, method, "f8")

    tiny = make_plan((3, 3), (32, 32), "f4", "separable")
    return Accelerator(
        name=f"{device.name}, measured",
        copy_rate=copy_rate(device),
        plane_rate=both((33, 33), "separable"),
        columns_rate=both((11, 11), "direct"),
        lines_rate=both((1, 129), "separable"),
        launch_seconds=max(run_seconds(device, tiny, repeats=200), REFERENCE.launch_seconds / 4),
        transfer_rate=transfer_rate(device),
    )


def run_seconds(device: Any, plan: PlannedFilter, repeats: int = REPEATS) -> float:
    """Return the time of a plan on arrays in device memory, by CUDA events."""
    problem = plan.problem
    program = prepared_program(plan, device)
    sizes = {INPUT: int(np.prod(problem.shape)) * problem.input_dtype.itemsize}
    sizes |= {OUTPUT: problem.pixels * problem.output_dtype.itemsize, **program.scratch}
    with device.current():
        memory = {slot: (device.allocate(nbytes), nbytes) for slot, nbytes in sizes.items()}
        try:
            device.fill(memory[INPUT][0], sizes[INPUT])
            seconds: float = device.seconds(lambda: program(memory), repeats)
        finally:
            for address, _ in memory.values():
                device.free(address)
    return seconds


def copy_rate(device: Any) -> float:
    """Return the bytes per second, read and written, of the driver's copy function."""
    with device.current():
        source, target = (device.allocate(COPIED_BYTES) for _ in range(2))
        try:
            device.fill(source, COPIED_BYTES)
            seconds: float = device.seconds(lambda: device.copy(target, source, COPIED_BYTES), REPEATS)
        finally:
            device.free(source)
            device.free(target)
    return 2 * COPIED_BYTES / seconds


def transfer_rate(device: Any) -> float:
    """Return the bytes per second to the device and back, for pageable host memory."""
    values = np.zeros(TRANSFERRED_BYTES, np.uint8)
    with device.current():
        memory = device.allocate(values.nbytes)
        try:
            device.upload(memory, values)
            start = time.perf_counter()
            device.upload(memory, values)
            device.download(values, memory)
            return 2 * values.nbytes / (time.perf_counter() - start)
        finally:
            device.free(memory)
