"""The GPU against its own memory and arithmetic, and against other libraries.

    python benchmarks/gpu.py            # prints, and writes benchmarks/results/gpu.json and gpu.md
    python benchmarks/gpu.py --quick    # small images only

Every filter is timed by events, on rotating buffers that together exceed the second-level cache, with random data;
its result is first compared with a float64 sum.  The floor of a filter is the larger of two times: reading its input
and writing its output once at the copy rate measured in the same run, and its multiply-adds at the device's peak.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import numbasep

RESULTS = Path(__file__).parent / "results"
SIDES = (512, 1024, 2048, 4096, 8192, 16384)
TAPS = (3, 5, 9, 13, 17, 33, 65)
ROTATED_BYTES = 256 << 20
REPEATS = 20


@dataclass(frozen=True)
class Row:
    """One filter of one library."""

    case: str
    library: str
    side: int
    taps: int
    terms: int
    dtype: str
    microseconds: float
    floor: float
    error: float


def torch_or_exit() -> Any:
    """PyTorch allocates the arrays and times by events; without it, or without a GPU, there is nothing to measure."""
    from numbasep.backends import cuda_driver

    lacking = cuda_driver.missing()
    if lacking is not None:
        sys.exit(f"benchmarks/gpu.py needs a GPU: {lacking}")
    try:
        import torch
    except ModuleNotFoundError:
        sys.exit("benchmarks/gpu.py needs PyTorch, for arrays and events: python -m pip install torch")
    return torch


def seconds(torch: Any, work: Callable[[int], Any]) -> float:
    """Median time of ``work(i)``, by events, after three runs to warm up."""
    for i in range(3):
        work(i)
    times = []
    for i in range(REPEATS):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work(i)
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) * 1e-3)
    return float(np.median(times))


def copy_rate(torch: Any) -> float:
    """Bytes a second, read and written, of a copy of one GiB."""
    source = torch.rand(1 << 28, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(torch, lambda _: target.copy_(source))


def peak_rate(torch: Any) -> float:
    """Multiply-adds a second in float32: lanes times clock."""
    properties = torch.cuda.get_device_properties(0)
    clock = getattr(properties, "clock_rate", 1_980_000) * 1e3
    return properties.multi_processor_count * 128 * clock


def kernel_of(taps: int, terms: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column taps of each term, smooth and of decreasing weight: (terms, taps) twice."""
    x = np.linspace(-1, 1, taps)
    base = np.exp(-3 * x**2)
    base /= base.sum()
    rows = np.array([base * (1 + 0.3 * x) ** t for t in range(terms)])
    return rows, rows[:, ::-1].copy()


def filters(
    torch: Any, shape: tuple[int, ...], rows: np.ndarray, columns: np.ndarray
) -> Iterator[tuple[str, Callable[[Any, Any], Any]]]:
    """(library, ``run(x, y)``) for everything that is installed and computes the same thing."""
    dense = np.einsum("ti,tj->ij", rows, columns)
    plan = numbasep.plan(dense, shape, np.float32, operation="correlate", method="separable", device="cuda")
    yield "numbasep", plan
    weights = [
        (
            torch.tensor(r, dtype=torch.float32, device="cuda").reshape(1, 1, -1, 1),
            torch.tensor(c, dtype=torch.float32, device="cuda").reshape(1, 1, 1, -1),
        )
        for r, c in zip(rows, columns, strict=True)
    ]
    half = rows.shape[1] // 2

    def torch_passes(x: Any, _: Any) -> Any:
        padded = torch.nn.functional.pad(x[None, None], (half,) * 4, mode="reflect")
        convolve = torch.nn.functional.conv2d
        return sum(convolve(convolve(padded, r), c) for r, c in weights)[0, 0]

    yield "torch conv2d, two passes", torch_passes
    if len(rows) == 1:
        yield from cupy_filters(rows[0], columns[0])


def cupy_filters(row: np.ndarray, column: np.ndarray) -> Iterator[tuple[str, Callable[[Any, Any], Any]]]:
    """CuPy and cuCIM, where they are."""
    try:
        import cupy
        from cupyx.scipy import ndimage
    except ImportError:
        return
    taps = cupy.asarray(row, cupy.float32), cupy.asarray(column, cupy.float32)

    def cupy_passes(x: Any, y: Any) -> Any:
        a = cupy.from_dlpack(x)
        return ndimage.correlate1d(ndimage.correlate1d(a, taps[0], 0), taps[1], 1, output=cupy.from_dlpack(y))

    yield "CuPy correlate1d, two passes", cupy_passes
    try:
        from cucim.skimage._vendored import ndimage as cucim
    except ImportError:
        return

    def cucim_passes(x: Any, _: Any) -> Any:
        a = cupy.from_dlpack(x)
        return cucim.correlate1d(cucim.correlate1d(a, taps[0], 0), taps[1], 1)

    yield "cuCIM correlate1d, two passes", cucim_passes


def reference(corner: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The float64 sum over a corner, without the part that the cut spoils."""
    from scipy import ndimage

    total = sum(
        ndimage.correlate1d(ndimage.correlate1d(corner.astype(float), r, 0), c, 1)
        for r, c in zip(rows, columns, strict=True)
    )
    reach = rows.shape[1]
    return total[reach:-reach, reach:-reach]


def measure(torch: Any, side: int, taps: int, terms: int, rate: float, peak: float) -> Iterator[Row]:
    """All libraries on one problem."""
    count = max(3, -(-ROTATED_BYTES // (8 * side * side)))
    inputs = [torch.rand(side, side, device="cuda") for _ in range(count)]
    outputs = [torch.full_like(inputs[0], float("nan")) for _ in range(count)]
    rows, columns = kernel_of(taps, terms)
    floor = max(8 * side**2 / rate, 2 * taps * terms * side**2 / peak)
    edge = min(side, 256)
    for library, run in filters(torch, (side, side), rows, columns):
        got = run(inputs[0], outputs[0])
        got = got.get() if hasattr(got, "get") else got.cpu().numpy()
        expected = reference(inputs[0][:edge, :edge].cpu().numpy(), rows, columns)
        error = float(np.abs(got[taps : edge - taps, taps : edge - taps] - expected).max())
        elapsed = seconds(torch, lambda i, run=run: run(inputs[i % count], outputs[i % count]))
        yield Row("separable", library, side, taps, terms, "float32", elapsed * 1e6, floor * 1e6, error)


def table(found: list[Row], header: dict[str, Any]) -> str:
    """The measurements as Markdown."""
    lines = [", ".join(f"{name} {value}" for name, value in header.items()), ""]
    lines += ["| side | taps | terms | library | us | floor us | times the floor | largest error |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for row in found:
        lines.append(
            f"| {row.side} | {row.taps} | {row.terms} | {row.library} | {row.microseconds:.4g} | {row.floor:.4g} | "
            f"{row.microseconds / row.floor:.2f} | {row.error:.1e} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="images up to 2048 only")
    arguments = parser.parse_args()
    torch = torch_or_exit()
    rate, peak = copy_rate(torch), peak_rate(torch)
    from cuda.bindings import driver

    from numbasep.backends.cuda_driver import check

    header = {
        "device": torch.cuda.get_device_name(0),
        "driver": check(driver.cuDriverGetVersion()),
        "copy TB/s": round(rate / 1e12, 3),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numbasep": numbasep.__version__,
    }
    found: list[Row] = []
    for side in SIDES:
        if arguments.quick and side > 2048:
            continue
        for taps in TAPS:
            for terms in (1, 2, 3):
                for row in measure(torch, side, taps, terms, rate, peak):
                    found.append(row)
                    print(
                        f"{row.side:6d} {row.taps:3d} taps {row.terms} terms  {row.library:32s} "
                        f"{row.microseconds:10.1f} us  {row.microseconds / row.floor:6.2f} x floor  "
                        f"error {row.error:.1e}",
                        flush=True,
                    )
    RESULTS.mkdir(exist_ok=True)
    content = {"header": header, "rows": [asdict(row) for row in found]}
    (RESULTS / "gpu.json").write_text(json.dumps(content, indent=1) + "\n")
    (RESULTS / "gpu.md").write_text(table(found, header))


if __name__ == "__main__":
    main()
