"""Long kernels, compared with NumPy and SciPy: ``python -m benchmarks.signals``.

Signals of 10,000 to a million samples with 25 to 5001 taps, several channels, images with kernels up to their own size,
and volumes, all with zeros beyond the edges and preallocated outputs.  The others are `numpy.convolve`,
`scipy.signal.oaconvolve` and `fftconvolve`, and `scipy.ndimage.correlate`; the fastest of them counts.  All are timed
in turns, so that no call finds its data in the caches.  The table is written to ``benchmarks/results/signals.md``, or
``signals_TARGET.md``.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import scipy.ndimage
import scipy.signal

import numbasep
from numbasep.planning import machine

from . import common

RESULTS = Path(__file__).parent / "results"
CASES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    *(((n,), (taps,)) for n in (10_000, 100_000, 1_000_000) for taps in (25, 101, 501, 5001)),
    *(((n,), (taps,)) for n in (1000, 30_000, 300_000) for taps in (63, 301)),
    ((30_000,), (2047,)), ((300_000,), (2047,)), ((4, 100_000), (1, 101)), ((4, 100_000), (1, 1001)),
    ((1024, 1024), (201, 201)), ((1024, 1024), (701, 701)), ((512, 512), (512, 512)),
    ((1024, 1024, 1), (101, 101, 1)), ((1, 1024, 1024), (1, 101, 101)),
    ((96, 96, 96), (31, 31, 31)), ((128, 128, 128), (15, 15, 15)),
)  # fmt: skip
DIRECT_PRODUCTS = 4e8  # direct summations with more products are left out, as they are the slowest
LEAST_SAMPLES = 5
Call = Callable[[], object]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.signals", description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="", choices=sorted(common.TARGETS), help="compile for it")
    parser.add_argument("--seconds", type=float, default=0.5, help="time for each case")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    common.compile_for(arguments.target, "benchmarks.signals", argv)
    lines = [
        f"# Long kernels: {machine.cpu_name()}, {machine.available_processors()} cores", "",
        "Milliseconds; in brackets, how many times as long the fastest of NumPy and SciPy takes.", "",
        "| array | kernel | float32 | float64 | |", "|---|---|---|---|---|",
    ]  # fmt: skip
    ratios = []
    for shape, taps in CASES:
        cells, best = [], []
        for dtype in ("float32", "float64"):
            ours, theirs, name = compared(shape, taps, dtype, arguments.seconds)
            cells.append(f"{ours * 1e3:.3g} ({theirs / ours:.1f})")
            best.append(name)
            ratios.append(theirs / ours)
        named = " and ".join(dict.fromkeys(best))
        lines.append(f"| {_times(shape)} | {_times(taps)} | {' | '.join(cells)} | {named} |")
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    lines += ["", f"Geometric mean {mean:.1f}, least {min(ratios):.1f}.", ""]
    text = "\n".join(lines)
    stem = f"signals_{arguments.target}" if arguments.target else "signals"
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / f"{stem}.md").write_text(text, encoding="utf-8")
    print(text)


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def compared(
    shape: tuple[int, ...], taps: tuple[int, ...], dtype: str, seconds: float
) -> tuple[float, float, str]:
    """Return the median seconds of numbasep and of the fastest of the others, and its name."""
    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal(shape).astype(dtype), rng.standard_normal(taps).astype(dtype)
    out, other = np.empty_like(x), np.empty_like(x)
    calls: dict[str, Call] = {
        "numbasep": lambda: numbasep.correlate(x, weights, out, mode="constant"),
        "oaconvolve": lambda: scipy.signal.oaconvolve(x, weights, "same"),
        "fftconvolve": lambda: scipy.signal.fftconvolve(x, weights, "same"),
    }
    if x.size * weights.size < DIRECT_PRODUCTS:
        calls["ndimage"] = lambda: scipy.ndimage.correlate(x, weights, other, mode="constant")
        if x.ndim == 1:
            calls["numpy"] = lambda: np.convolve(x, weights, "same")
    found = turns(calls, seconds)
    best = min((name for name in found if name != "numbasep"), key=found.__getitem__)
    return found["numbasep"], found[best], best


def turns(calls: dict[str, Call], seconds: float) -> dict[str, float]:
    """Return the median time of each call, in turns; those of three times the least time are timed once."""
    first = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        first[name] = time.perf_counter() - start
    least = min(taken for name, taken in first.items() if name != "numbasep")
    near = {name: call for name, call in calls.items() if name == "numbasep" or first[name] < 3 * least}
    samples: dict[str, list[float]] = {name: [] for name in near}
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(samples["numbasep"]) < LEAST_SAMPLES:
        for name, call in near.items():
            start = time.perf_counter()
            call()
            samples[name].append(time.perf_counter() - start)
    return first | {name: statistics.median(taken) for name, taken in samples.items()}


if __name__ == "__main__":
    main()
