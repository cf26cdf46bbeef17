"""Flat kernels compared with OpenCV, and balls with SciPy, in alternating calls.

``--target haswell`` compiles the library for that processor; OpenCV and SciPy always use the one they find.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

import numbasep
from numbasep.planning import machine

from . import common
from .bench_flat import KERNELS, ball

RESULTS = Path(__file__).parent / "results"
SIDE, CUBE = 4096, 128
DTYPES = ("float32", "uint8")
BALLS = (3, 5)
Call = Callable[[], object]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flat", description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="", choices=sorted(common.TARGETS), help="compile for it")
    parser.add_argument("--repeats", type=int, default=7, help="calls of each library")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    common.compile_for(arguments.target, "benchmarks.flat", argv)
    header = f"# Flat kernels: {machine.cpu_name()}, {machine.available_processors()} cores"
    lines = [
        f"{header}, compiled for {arguments.target}" if arguments.target else header, "",
        f"Medians of {arguments.repeats} alternating calls on {SIDE}x{SIDE}: milliseconds, and how many times as long "
        f"`cv2.filter2D` takes; balls on {CUBE}x{CUBE}x{CUBE} float32 and `scipy.ndimage.correlate`.", "",
        "| kernel | float32 | OpenCV | uint8 | OpenCV |", "|---|---|---|---|---|",
    ]  # fmt: skip
    ratios: dict[str, list[float]] = {dtype: [] for dtype in DTYPES}
    for name in KERNELS:
        cells = []
        for dtype in DTYPES:
            ours, theirs = compared(name, dtype, arguments.repeats)
            cells.append(f"{ours * 1e3:.3g} | {theirs / ours:.1f}")
            ratios[dtype].append(theirs / ours)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    means = (
        f"{dtype} {math.exp(statistics.fmean(map(math.log, found))):.1f}, least {min(found):.1f}"
        for dtype, found in ratios.items()
    )
    lines += ["", f"Geometric means: {'; '.join(means)}.", "", "| ball | float32 | SciPy |", "|---|---|---|"]
    for radius in BALLS:
        ours, theirs = compared_balls(radius, arguments.repeats)
        lines.append(f"| {radius} | {ours * 1e3:.3g} | {theirs / ours:.0f} |")
    text = "\n".join([*lines, ""])
    stem = f"flat_{arguments.target}" if arguments.target else "flat"
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / f"{stem}.md").write_text(text, encoding="utf-8")
    print(text)


def compared(name: str, dtype: str, repeats: int) -> tuple[float, float]:
    """Return the median seconds of the library and of OpenCV for an image."""
    import cv2

    cv2.setNumThreads(machine.available_processors())
    make, *sizes = KERNELS[name]
    kernel = np.asarray(make(*sizes), float)
    x = (np.random.default_rng(0).random((SIDE, SIDE)) * 255).astype(dtype)
    y, single = np.empty_like(x), kernel.astype(np.float32)
    return alternating(
        lambda: numbasep.correlate(x, kernel, output=y),
        lambda: cv2.filter2D(x, -1, single, borderType=cv2.BORDER_REFLECT),
        repeats,
    )


def compared_balls(radius: int, repeats: int) -> tuple[float, float]:
    """Return the median seconds of the library and of SciPy for a volume."""
    x, kernel = np.random.default_rng(0).random((CUBE,) * 3, np.float32), ball(radius)
    y = np.empty_like(x)
    return alternating(
        lambda: numbasep.correlate(x, kernel, output=y), lambda: ndimage.correlate(x, kernel), repeats
    )


def alternating(ours: Call, theirs: Call, repeats: int) -> tuple[float, float]:
    """Return the median seconds of two functions that are called in turn, after a first call of each."""
    times: list[list[float]] = [[], []]
    for _ in range(repeats + 1):
        for function, found in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            function()
            found.append(time.perf_counter() - start)
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])


if __name__ == "__main__":
    main()
