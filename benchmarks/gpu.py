"""Filters on a GPU, compared with its memory bandwidth and arithmetic, and with other libraries.

    python -m benchmarks.gpu                    # prints, and writes gpu.json and gpu.md to benchmarks/results
    python -m benchmarks.gpu --results DIR      # writes them to another folder
    python -m benchmarks.gpu --quick            # images up to 2048 only
    python -m benchmarks.gpu --minutes 8        # starts no measurement after this time
    python -m benchmarks.gpu --first            # runs the device's tests first, all in at most nine minutes

Needs a GPU and the extra ``cuda``; CuPy, PyTorch and cuCIM are compared if they are installed.  Times are from events
on the default stream, on rotating buffers that together exceed the second-level cache, with random data.  Results
are first compared with a float64 sum, and the exit status is 1 if one of them exceeds its bound.  Events are enqueued
after a write of memory that takes longer than the host needs to enqueue the timed work.  The floor of a filter is the
larger of two times: reading its input and writing its output once at the copy rate measured in the same run, and its
multiply-adds at the device's peak.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import numbasep
from numbasep.cuda.driver import LEGACY_STREAM
from numbasep.cuda.libraries import with_transforms

from .gpu_first import run_tests
from .gpu_libraries import ROTATED_BYTES, TAPS, kernel_of, peers
from .gpu_report import Row, report, versions

RESULTS = Path(__file__).parent / "results"
SIDES = (16384, 4096, 1024, 8192, 2048, 512)
"""Sides of the images; those with targets come first."""
EDGE = 512
"""Edge of the volumes."""
TERMS = (1, 2, 3)
COPIED_BYTES = 1 << 30
COMPARED = 192
"""Number of rows and columns that are compared."""
REPEATS = 20
BATCH = 8
"""Number of runs between two events, if a run takes less than a millisecond."""
BLOCKED_BYTES = 1 << 30
LANES = 128
"""float32 multiply-adds per cycle of a multiprocessor from compute capability 8.6 on; 64 before."""


class Gpu:
    """The first GPU, its memory and its clock, by calls of the driver only."""

    def __init__(self) -> None:
        from numbasep.cuda import driver

        lacking = driver.missing()
        if lacking is not None:
            sys.exit(f"benchmarks/gpu.py needs a GPU: {lacking}")
        self.check, self.device = driver.check, driver.device(0)
        self.driver = self.device._driver
        attribute = self.driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_CLOCK_RATE
        clock = self.device._attribute(attribute) * 1e3
        lanes = LANES if self.device.capability >= (8, 6) else LANES // 2
        self.peak = self.device.multiprocessors * lanes * clock
        self._events = [self.check(self.driver.cuEventCreate(0)) for _ in range(2)]
        self._blocked = self.device.allocate(BLOCKED_BYTES)
        self._blocked_seconds = self.timed(lambda: self.block(1))[0]

    def block(self, times: int) -> None:
        """Keep the device busy while the host enqueues."""
        for _ in range(times):
            self.device.fill(self._blocked, BLOCKED_BYTES)

    def timed(self, work: Callable[[], Any], blocks: int = 0) -> tuple[float, float]:
        """Return (time on the device, time of the host to enqueue) of work that is enqueued after `blocks` writes."""
        start, stop = self._events
        self.block(blocks)
        begin = time.perf_counter()
        self.check(self.driver.cuEventRecord(start, LEGACY_STREAM))
        work()
        self.check(self.driver.cuEventRecord(stop, LEGACY_STREAM))
        host = time.perf_counter() - begin
        self.check(self.driver.cuEventSynchronize(stop))
        return float(self.check(self.driver.cuEventElapsedTime(start, stop))) * 1e-3, host

    def median_seconds(self, work: Callable[[int], Any], repeats: int = REPEATS) -> float:
        """Return the median time of ``work(i)`` on the device, after warm-up runs, without waits for the host."""
        numbers = itertools.count()
        device, host = min(self.timed(lambda: work(next(numbers))) for _ in range(3))
        batch = BATCH if device < 1e-3 else 1
        blocks = 1 + int(1.5 * batch * host / max(self._blocked_seconds, 1e-6)) if device < 1e-2 else 0

        def several() -> None:
            for _ in range(batch):
                work(next(numbers))

        return float(np.median([self.timed(several, blocks)[0] / batch for _ in range(repeats)]))

    def random(self, nbytes: int, dtype: np.dtype[Any]) -> int:
        """Return the address of memory filled with repeated copies of a block of random numbers."""
        block = min(nbytes, 16 << 20)
        generator, count = np.random.default_rng(5), -(-block // dtype.itemsize)
        values = generator.random(count) * (200 if dtype.kind in "iu" else 1)
        address = self.device.allocate(nbytes)
        self.device.upload(address, values.astype(dtype).view(np.uint8)[:block])
        for start in range(block, nbytes, block):
            self.device.copy(address + start, address, min(block, nbytes - start))
        return address

    def download(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return device memory as a NumPy array."""
        values = np.empty(shape, dtype)
        self.device.download(values, address)
        return values

    def free(self, addresses: Sequence[int]) -> None:
        """Free memory."""
        for address in addresses:
            self.device.free(address)


def copy_rate(gpu: Gpu, nbytes: int = COPIED_BYTES) -> float:
    """Return the bytes per second, read and written, of the driver's copy."""
    source, target = gpu.random(nbytes, np.dtype("f4")), gpu.device.allocate(nbytes)
    seconds = gpu.median_seconds(lambda _: gpu.device.copy(target, source, nbytes))
    gpu.free([source, target])
    return 2 * nbytes / seconds


# --------------------------------------------------------------------------- numbasep


def measure_plan(gpu: Gpu, case: str, plan: numbasep.Plan, taps: int, terms: int, rate: float) -> Row:
    """Measure a plan on device memory."""
    from numbasep.cuda.launches import INPUT, OUTPUT
    from numbasep.cuda.run import prepared_program

    problem = plan.problem
    if plan.method == "fft":
        return measure_transforms(gpu, case, plan, taps, rate)
    sizes = (
        math.prod(problem.shape) * problem.input_dtype.itemsize,
        problem.pixels * problem.output_dtype.itemsize,
    )
    count = max(2, -(-ROTATED_BYTES // sum(sizes)))
    program = prepared_program(plan, gpu.device)
    inputs = [gpu.random(sizes[0], problem.input_dtype) for _ in range(count)]
    outputs = [gpu.device.allocate(sizes[1]) for _ in range(count)]
    scratch = {slot: (gpu.device.allocate(n), n) for slot, n in program.scratch.items()}

    def run(i: int) -> None:
        places = {INPUT: (inputs[i % count], sizes[0]), OUTPUT: (outputs[i % count], sizes[1]), **scratch}
        program(places)

    gpu.device.fill(outputs[0], sizes[1])
    run(0)
    error, allowed = error_of(gpu, plan, inputs[0], outputs[0])
    seconds = gpu.median_seconds(run)
    gpu.free([*inputs, *outputs, *(address for address, _ in scratch.values())])
    operations = plan.choice.chosen.operations * problem.pixels
    peak = gpu.peak / (2 if problem.compute_dtype.itemsize == 8 else 1)
    floor = max(sum(sizes) / rate, operations / peak)
    return Row(
        case,
        "numbasep",
        problem.shape,
        taps,
        terms,
        str(problem.input_dtype),
        seconds * 1e6,
        floor * 1e6,
        error,
        allowed,
    )


def measure_transforms(gpu: Gpu, case: str, plan: numbasep.Plan, taps: int, rate: float) -> Row:
    """Measure a plan with the transforms of a library, on its arrays; the floor is one pass over memory."""
    library, problem = with_transforms(), plan.problem
    assert library is not None
    x = np.random.default_rng(5).random(problem.shape, np.float32)
    there = library.put(x)
    target = library.put(np.zeros_like(x))
    plan(there, target)
    places = (library.describe(array, case).address for array in (there, target))
    error, allowed = error_of(gpu, plan, *places)
    seconds = gpu.median_seconds(lambda _: plan(there, target))
    floor = (problem.input_dtype.itemsize + problem.output_dtype.itemsize) * problem.pixels / rate
    return Row(
        case, "numbasep", problem.shape, taps, 1, str(problem.input_dtype), seconds * 1e6, floor * 1e6, error, allowed
    )  # fmt: skip


def error_of(gpu: Gpu, plan: numbasep.Plan, source: int, target: int) -> tuple[float, float]:
    """Return (largest difference to a float64 sum in a corner, allowed difference), relative to the kernel's norm."""
    from scipy import ndimage

    problem, weights = plan.problem, plan.kernel.weights
    taps = {window.axis: window.taps for window in problem.windows}
    weights = weights.reshape([taps.get(axis, 1) for axis in range(len(problem.shape))])
    side = COMPARED if len(problem.shape) == 2 else COMPARED // 4
    kept = [min(n, side + reach) for n, reach in zip(problem.shape, weights.shape, strict=True)]
    known = [k if k == n else k - r for n, k, r in zip(problem.shape, kept, weights.shape, strict=True)]
    corner, inside = (tuple(map(slice, sizes)) for sizes in (kept, known))
    rows = (kept[0], *problem.shape[1:])
    x = gpu.download(source, rows, problem.input_dtype)[corner].astype(float)
    got = gpu.download(target, rows, problem.output_dtype)[inside].astype(float)
    origin = [(n - 1) // 2 - n // 2 for n in weights.shape]
    expected = ndimage.correlate(x, weights, mode="reflect", origin=origin)[inside]
    norm = float(np.abs(weights).sum())
    if problem.output_dtype.kind in "iu":
        rounded = 1.0  # if the sum is close to an integer
        expected = np.trunc(expected)
    else:
        rounded = float(np.finfo(problem.output_dtype).eps * np.abs(expected).max())
    allowed = plan.error_bound * float(np.abs(x).max()) + rounded / norm
    return float(np.abs(got - expected).max()) / norm, allowed


def plane_plan(side: int, taps: int, terms: int) -> numbasep.Plan:
    """Return a plan for a float32 image and a kernel with this number of taps and terms."""
    rows, columns = kernel_of(taps, terms)
    dense = np.einsum("ti,tj->ij", rows, columns)
    return numbasep.plan(
        dense, (side, side), np.float32, operation="correlate", method="separable", device="cuda"
    )


def other_plans(largest: int) -> Iterator[tuple[str, numbasep.Plan, int]]:
    """Yield (case, plan, taps) for other dtypes, shapes and kernel families."""
    side = min(8192, largest)
    make = numbasep.plan
    common: dict[str, Any] = {"operation": "correlate", "device": "cuda"}
    nine = np.outer(*(kernel_of(9, 1)[0][0],) * 2)
    for dtype in ("uint8", "uint16", "float16", "float64"):
        yield f"separable {dtype}", make(nine, (side, side), dtype, method="separable", **common), 9
    ragged = make(nine, (side - 3, side - 5), np.float32, method="separable", **common)
    yield "separable, ragged rows", ragged, 9
    for n in (3, 5, 11):
        dense = np.random.default_rng(n).random((n, n))
        yield "dense", make(dense, (side, side), np.float32, method="direct", **common), n
    along = np.random.default_rng(1).random((1, 129))
    yield "129 taps along rows", make(along, (side, side), np.float32, method="separable", **common), 129
    yield "129 taps down columns", make(along.T, (side, side), np.float32, method="separable", **common), 129
    if with_transforms() is not None:
        many = np.random.default_rng(2).random((65, 65))
        yield "transforms", make(many, (side, side), np.float32, method="fft", **common), 65
    edge, five = min(EDGE, side), kernel_of(5, 1)[0][0]
    volume = five[:, None, None] * five[:, None] * five
    for dtype in ("float32", "float64"):
        yield f"volume {dtype}", make(volume, (edge,) * 3, dtype, method="separable", **common), 5
    ragged = make(volume, (edge - 3, edge - 5, edge - 6), np.float32, method="separable", **common)
    yield "volume, ragged rows", ragged, 5


def measure_peers(gpu: Gpu, sides: Sequence[int], floors: dict[Any, float], deadline: float) -> Iterator[Row]:
    """Measure every library while there is time, the most relevant taps first, for each size in turn."""
    for name, (make, takes) in peers().items():
        order = [t for t in (9, 17, 33, 3, 5, 13, 65) if t in takes]
        for taps in order:
            for side in sides:
                if time.monotonic() > deadline or (side, taps) not in floors:
                    print(f"{name}: no time left for {taps} taps at {side}", flush=True)
                    continue
                try:
                    elapsed = gpu.median_seconds(make(side, taps), REPEATS // 2)
                except (MemoryError, RuntimeError) as error:
                    print(f"{name}: {taps} taps at {side}: {error}", flush=True)
                    continue
                floor = floors[side, taps]
                yield Row("separable", name, (side, side), taps, 1, "float32", elapsed * 1e6, floor, None)


# --------------------------------------------------------------------------- host time


def host_microseconds(gpu: Gpu, calls: int = 2000) -> dict[str, float]:
    """Return host times of repeated calls: of a launch alone, and of filters on arrays of the installed libraries."""
    from numbasep.cuda.launches import INPUT, OUTPUT
    from numbasep.cuda.run import prepared_program

    plan = plane_plan(64, 9, 1)
    program = prepared_program(plan, gpu.device)
    nbytes = 64 * 64 * 4
    places = {slot: (gpu.random(nbytes, np.dtype("f4")), nbytes) for slot in (INPUT, OUTPUT)}
    found = {"a prepared launch": microseconds(gpu, lambda: program(places), calls)}
    gpu.free([address for address, _ in places.values()])
    for library in ("torch", "cupy"):
        try:
            module = __import__(library)
            if library == "torch":
                x, y = (module.rand(64, 64, device="cuda") for _ in range(2))
            else:
                x, y = (module.random.rand(64, 64, dtype=module.float32) for _ in range(2))
        except Exception as error:  # the library is missing or broken
            print(f"{library}: {error}", flush=True)
            continue
        found[f"plan(x, y), {library}"] = microseconds(gpu, lambda x=x, y=y: plan(x, y), calls)  # type: ignore[misc]
        found[f"gaussian_filter(x, 1), {library}"] = microseconds(
            gpu, lambda x=x: numbasep.gaussian_filter(x, 1.0), calls // 4
        )  # type: ignore[misc]
    return found


def microseconds(gpu: Gpu, work: Callable[[], Any], calls: int) -> float:
    """Return the least mean host time over series of 50 calls, with waits in between so that the queue is not full."""
    work()
    best, series = math.inf, max(1, calls // 50)
    for _ in range(series):
        gpu.device.wait()
        start = time.perf_counter()
        for _ in range(50):
            work()
        best = min(best, (time.perf_counter() - start) / 50)
    gpu.device.wait()
    return best * 1e6


def run(gpu: Gpu, sides: Sequence[int], taps: Sequence[int], deadline: float, folder: Path) -> bool:
    """Measure and print, and write `gpu.json` and `gpu.md` after each row; return whether anything failed."""
    from numbasep.cuda import compiler

    rate = copy_rate(gpu, min(COPIED_BYTES, 16 * max(sides) ** 2))
    header: dict[str, Any] = {
        "device": gpu.device.name, "driver for CUDA": gpu.device.driver_release,
        "compilers of CUDA": compiler.release(), "copy TB/s": round(rate / 1e12, 4), **versions(),
    }  # fmt: skip
    rows: list[Row] = []
    failed: list[str] = []
    host = host_microseconds(gpu)

    def add(row: Row) -> None:
        rows.append(row)
        print(
            f"{'x'.join(map(str, row.shape)):>16s} {row.taps:4d} taps {row.terms} terms {row.dtype:8s} {row.case:24s} "
            f"{row.library:26s} {row.microseconds:10.1f} us {row.microseconds / row.floor:6.2f} x floor",
            flush=True,
        )

    def write() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        content = {"header": header, "host": host, "failed": failed, "rows": [asdict(row) for row in rows]}
        (folder / "gpu.json").write_text(json.dumps(content, indent=1) + "\n")
        (folder / "gpu.md").write_text(report(header, rows, host))

    planned: Iterator[tuple[str, Callable[[], numbasep.Plan], int, int]] = (
        ("separable", functools.partial(plane_plan, side, n, terms), n, terms)
        for terms in TERMS
        for side in sides
        for n in taps
        if terms <= max(1, n // 2)  # else there are nearly as many terms as rows
    )
    others = ((case, lambda plan=plan: plan, n, 1) for case, plan, n in other_plans(max(sides)))
    for case, make, n, terms in itertools.chain(planned, others):
        if time.monotonic() > deadline:
            print(f"no time left for {case}, {n} taps, {terms} terms", flush=True)
            continue
        try:
            add(measure_plan(gpu, case, make(), n, terms, rate))
        except (MemoryError, RuntimeError) as error:  # continue with the other cases
            failed.append(f"{case}, {n} taps, {terms} terms: {error}")
            print(failed[-1], flush=True)
        write()
    floors = {(r.shape[0], r.taps): r.floor for r in rows if r.case == "separable" and r.terms == 1}
    for row in measure_peers(gpu, sides, floors, deadline):
        add(row)
        write()
    print(report(header, rows, host).split("\n\n| case")[0])
    return bool(failed) or any(row.wrong for row in rows)


def main() -> int:
    """Measure, print and write; return 1 if something failed or a result is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="images up to 2048 only")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which no measurement is started")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of what is written")
    parser.add_argument("--first", action="store_true", help="the tests of the device before")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    failed = run_tests(arguments.results) if arguments.first else 0
    gpu = Gpu()
    with gpu.device.current():
        wrong = run(gpu, SIDES[4:] if arguments.quick else SIDES, TAPS, deadline, arguments.results)
    return int(bool(failed) or wrong)


if __name__ == "__main__":
    sys.exit(main())
