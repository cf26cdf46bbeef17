"""Costs around the kernels: memory layouts, single axes, small images, new outputs, the start of a process.

``python -m benchmarks.calls --write benchmarks/results/calls.md`` measures all of them, in turns in one process
except for the start, and writes the tables.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np

import numbasep

from . import bench_layouts, common, libraries, peers

Calls = dict[str, Callable[[], Any]]
FILTERS: dict[str, Callable[[Any, Any], Any]] = {
    "convolve 3x3": lambda m, x: m.convolve(x, np.outer(BINOMIAL, BINOMIAL)),
    "correlate 7x7, dense": lambda m, x: m.correlate(x, DENSE),
    "convolve1d, 3 taps": lambda m, x: m.convolve1d(x, BINOMIAL),
    "correlate1d, 3 taps, axis 0": lambda m, x: m.correlate1d(x, BINOMIAL, axis=0),
    "gaussian_filter sigma=1": lambda m, x: m.gaussian_filter(x, 1),
    "gaussian_filter sigma=3": lambda m, x: m.gaussian_filter(x, 3),
    "gaussian_filter1d sigma=2": lambda m, x: m.gaussian_filter1d(x, 2),
    "uniform_filter size=3": lambda m, x: m.uniform_filter(x, 3),
    "uniform_filter size=51": lambda m, x: m.uniform_filter(x, 51),
    "uniform_filter1d size=9": lambda m, x: m.uniform_filter1d(x, 9),
    "sobel": lambda m, x: m.sobel(x),
    "prewitt": lambda m, x: m.prewitt(x),
    "laplace": lambda m, x: m.laplace(x),
    "gaussian_laplace sigma=2": lambda m, x: m.gaussian_laplace(x, 2),
    "gaussian_gradient_magnitude sigma=2": lambda m, x: m.gaussian_gradient_magnitude(x, 2),
}
BINOMIAL = np.array([1.0, 2.0, 1.0])
DENSE = common.random_kernel(7)
FIRST_CALLS = {
    "gaussian_filter float32": "numbasep.gaussian_filter(np.ones((512, 512), 'f4'), 2)",
    "convolve 3x3 uint8": "numbasep.convolve(np.ones((512, 512), 'u1'), np.outer([1, 2, 1], [1, 2, 1]))",
    "uniform_filter size=51 float32": "numbasep.uniform_filter(np.ones((512, 512), 'f4'), 51)",
    "sobel float64": "numbasep.sobel(np.ones((512, 512)))",
    "convolve 7x7, dense, float32": "numbasep.convolve(np.ones((512, 512), 'f4'), np.arange(49.0).reshape(7, 7) % 5)",
    "gaussian_filter of a volume": "numbasep.gaussian_filter(np.ones((64, 64, 64), 'f4'), 2)",
    "nn.separable_conv2d float32": (
        "from numbasep import nn; nn.separable_conv2d(np.ones((1, 32, 32, 8), 'f4'), np.ones((3, 3, 8, 1), 'f4'), "
        "np.ones((1, 1, 8, 16), 'f4'), [1] * 4, 'SAME')"
    ),
}
START = """
import time, numpy as np, numba
before = time.perf_counter()
import numbasep
numbasep.convolve
imported = time.perf_counter()
{call}
print(imported - before, time.perf_counter() - imported)
"""


@numba.njit(parallel=True)
def _copy(x: Any, y: Any) -> None:
    for i in numba.prange(x.shape[0]):
        y[i] = x[i]


def medians(calls: Calls, repeat: int, inner: int = 1) -> dict[str, float]:
    """Return the median seconds of each call, measured in turns; a first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeat + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(inner):
                call()
            if turn:
                times[name].append((time.perf_counter() - start) / inner)
    return {name: statistics.median(mine) for name, mine in times.items()}


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table in Markdown."""
    cells = [[f"{c:.3g}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    return "\n".join("| " + " | ".join(r) + " |" for r in [list(heads), ["---"] * len(heads), *cells])


# ------------------------------------------------------------------------------------------ sections
def layouts(side: int, repeat: int) -> str:
    """Return times of memory layouts relative to a contiguous array with as many elements."""
    plain = common.image(side, side)
    target = np.empty_like(plain)
    rows = []
    for taps in (3, 9):
        kernel = common.gaussian(taps)
        for name, make in bench_layouts.Layouts.arrays(side).items():
            x = make()
            out = np.empty_like(x)
            calls: Calls = {
                "C": lambda k=kernel: numbasep.convolve(plain, k, output=target),
                "it": lambda x=x, k=kernel, out=out: numbasep.convolve(x, k, axes=(0, 1), output=out),
            }
            t = medians(calls, repeat)
            touched = _touched(x) / plain.nbytes
            ratio = t["it"] / t["C"]
            rows.append((f"{taps}x{taps}", name, 1e3 * t["it"], ratio, touched, ratio / ((touched + 1) / 2)))
    heads = ("kernel", "layout", "ms", "of C", "input bytes touched, of C", "of C for the bytes touched")
    return table(heads, rows)


def _touched(x: Any) -> int:
    """Return the bytes of the cache lines that contain the elements of an array."""
    step = min(abs(s) for n, s in zip(x.shape, x.strides, strict=True) if n > 1)
    return int(x.size * min(max(step, x.itemsize), 64))


def widths(side: int, repeat: int) -> str:
    """Return nanoseconds per pixel for widths at powers of two and close to them."""
    rows = []
    for taps in (3, 9, 17, 31):
        kernel = common.gaussian(taps)
        for group in ((side, side + 1, side + 16), (4 * side, 4 * side + 1, 4 * side + 16)):
            height = side * side // group[0]
            calls = {str(w): common.prepared(kernel, common.image(height, w)) for w in group}
            each = [
                t / (height * w) * 1e9 for t, w in zip(medians(calls, repeat).values(), group, strict=True)
            ]
            rows.append(
                (
                    f"{taps}x{taps}",
                    *(f"{w}: {t:.3f}" for w, t in zip(group, each, strict=True)),
                    max(each) / each[0],
                )
            )
    return table(("kernel", "columns: ns", "columns: ns", "columns: ns", "slowest / first"), rows)


def single_axes(cube: int, repeat: int) -> str:
    """Return times of filters of a volume along one axis, compared with a parallel copy."""
    x = common.image(cube, cube, cube)
    out = np.empty_like(x)
    flat = (x.reshape(64, -1), out.reshape(64, -1))
    rows_of = (cube * cube // 16, cube * 16)
    nothing = numbasep.plan(np.ones((1, 1)), rows_of, np.float32)
    rows = []
    for taps in (3, 5, 9):
        weights = common.gaussian_taps(taps)
        calls: Calls = {
            "copy": lambda: _copy(*flat),
            "one tap": lambda: nothing(x.reshape(rows_of), out.reshape(rows_of)),
        }
        for axis in range(3):
            calls[f"axis {axis}"] = lambda a=axis, w=weights: numbasep.correlate1d(x, w, a, out)
        t = medians(calls, repeat)
        fastest = min(t["copy"], t["one tap"])
        rows.append((taps, *(1e3 * v for v in t.values()), *(t[f"axis {a}"] / fastest for a in range(3))))
    heads = (
        "taps",
        "copy, ms",
        "filter of one tap, ms",
        "axis 0",
        "axis 1",
        "axis 2",
        "0 / copy",
        "1 / copy",
        "2 / copy",
    )
    return table(heads, rows)


def small(repeat: int) -> str:
    """Return times of the filter family on small images, compared with SciPy."""
    from scipy import ndimage

    rows = []
    for side in (16, 32, 64, 256):
        x = common.image(side, side)
        inner = 100 if side < 256 else 10
        for name, function in FILTERS.items():
            calls: Calls = {
                n: lambda m=m, f=function, x=x: f(m, x) for n, m in (("n", numbasep), ("s", ndimage))
            }
            t = medians(calls, repeat, inner)
            rows.append((f"{side}x{side}", name, 1e6 * t["n"], 1e6 * t["s"], t["s"] / t["n"]))
    worst = min(rows, key=lambda row: row[-1])
    mean = statistics.geometric_mean(row[-1] for row in rows)
    heads = ("image", "filter", "numbasep, us", "scipy.ndimage, us", "SciPy / numbasep")
    return (
        f"{table(heads, rows)}\n\nGeometric mean {mean:.1f}, least {worst[-1]:.2f} ({worst[1]}, {worst[0]})."
    )


def overhead(repeat: int) -> str:
    """Return the time that a call on 32x32 pixels spends in Python."""
    x = common.image(32, 32)
    kernel = np.outer(BINOMIAL, BINOMIAL)
    plan = numbasep.plan(kernel, x.shape, x.dtype)
    out = np.empty_like(x)
    plan(x, out)
    (launch,) = plan.kernel.launches.values()
    step = launch.steps[0].run
    calls: Calls = {
        "convolve": lambda: numbasep.convolve(x, kernel),
        "convolve, output given": lambda: numbasep.convolve(x, kernel, output=out),
        "a plan, output given": lambda: plan(x, out),
        "the driver alone": lambda: step.run_small(x, out),
    }
    t = medians(calls, repeat, 300)
    rows = [(name, 1e6 * v, 1e6 * (v - t["the driver alone"])) for name, v in t.items()]
    return table(("call", "us", "of these before the driver"), rows)


def beside_opencv(repeat: int) -> str:
    """Return times for 256x256 images, compared with OpenCV, with new outputs."""
    cv2 = libraries.installed("cv2")
    if cv2 is None:
        return "OpenCV is not installed."
    border = cv2.BORDER_REFLECT
    rows = []
    for dtype in ("float32", "uint8"):
        x = common.image(256, 256, dtype=dtype)
        for taps in (3, 5, 9, 17, 31):
            line, kernel, dense = (
                common.gaussian_taps(taps),
                common.gaussian(taps),
                common.random_kernel(taps),
            )
            single, sigma = line.astype(np.float32), (taps + 1) / 8
            calls: Calls = {
                "separable": lambda k=kernel, x=x: numbasep.convolve(x, k),
                "sepFilter2D": lambda w=single, x=x: cv2.sepFilter2D(x, -1, w, w, borderType=border),
                "GaussianBlur": lambda n=taps, s=sigma, x=x: cv2.GaussianBlur(
                    x, (n, n), s, borderType=border
                ),
            }
            t = medians(calls, repeat, 10)
            other = min(t["sepFilter2D"], t["GaussianBlur"])
            rows.append(
                (dtype, f"{taps}x{taps} Gaussian", 1e6 * t["separable"], 1e6 * other, other / t["separable"])
            )
            calls = {
                "n": lambda k=dense, x=x: numbasep.correlate(x, k),
                "o": lambda k=dense, x=x: cv2.filter2D(x, -1, k, borderType=border),
            }
            t = medians(calls, repeat, 5) if taps <= 17 else {}
            if t:
                rows.append((dtype, f"{taps}x{taps} dense", 1e6 * t["n"], 1e6 * t["o"], t["o"] / t["n"]))
    return table(("type", "kernel", "numbasep, us", "OpenCV, us", "OpenCV / numbasep"), rows)


def threads_pay(repeat: int) -> str:
    """Return times of one thread and all threads, for work around the threshold from which threads share a pass."""
    from numbasep.lowering import counts

    usual = counts.PARALLEL_WORK
    rows = []
    for taps, sides in ((3, (256, 512, 768, 1024)), (9, (256, 384, 512, 768)), (31, (192, 256, 384))):
        for side in sides:
            x = common.image(side, side)
            out = np.empty_like(x)
            calls: Calls = {}
            counts.PARALLEL_WORK = 0
            for name, workers in (("one", 1), ("all", None)):
                plan = numbasep.plan(common.gaussian(taps), x.shape, x.dtype, workers=workers)
                plan(x, out)
                calls[name] = lambda p=plan, x=x, out=out: p(x, out)
            counts.PARALLEL_WORK = usual
            (launch,) = plan.kernel.launches.values()
            work = x.size * (launch.steps[0].run.program.operations + 4)
            t = medians(calls, repeat, 10)
            rows.append(
                (f"{taps}x{taps}", side, work / 1e6, 1e6 * t["one"], 1e6 * t["all"], t["one"] / t["all"])
            )
    heads = ("kernel", "side", "million operations", "one thread, us", "all, us", "one / all")
    return f"{table(heads, rows)}\n\nShared from {usual / 1e6:.0f} million operations on."


def new_outputs(side: int, repeat: int) -> str:
    """Return times of ``y = f(x)`` and of ``f(x, output=y)``."""
    from scipy import ndimage

    x = common.image(side, side)
    kernel, line = common.gaussian(3), common.gaussian_taps(3)
    kept = np.zeros_like(x)
    calls: Calls = {
        "numbasep.convolve 3x3, new": lambda: numbasep.convolve(x, kernel),
        "numbasep.convolve 3x3, output given": lambda: numbasep.convolve(x, kernel, output=kept),
        "scipy.ndimage.correlate1d, 3 taps, new": lambda: ndimage.correlate1d(x, line),
        "scipy.ndimage.correlate1d, 3 taps, output given": lambda: ndimage.correlate1d(x, line, output=kept),
        "filling a new array": lambda: np.empty_like(x).fill(1),
        "filling an array": lambda: kept.fill(1),
    }
    cv2 = libraries.installed("cv2")
    if cv2 is not None:
        taps = line.astype(np.float32)
        calls["cv2.sepFilter2D 3x3, new"] = lambda: cv2.sepFilter2D(x, -1, taps, taps)
        calls["cv2.sepFilter2D 3x3, output given"] = lambda: cv2.sepFilter2D(x, -1, taps, taps, dst=kept)
    return table(("call", "ms"), [(name, 1e3 * t) for name, t in medians(calls, repeat).items()])


def starts() -> str:
    """Return times of the import and of first calls, in new processes."""
    rows = []
    for name, call in FIRST_CALLS.items():
        with tempfile.TemporaryDirectory() as cache:
            runs = [_started(call, cache) for _ in range(4)]
        rows.append((name, runs[0][1], min(run[1] for run in runs[1:]), min(run[0] for run in runs)))
    heads = (
        "first call of a process",
        "nothing compiled, s",
        "compiled before, s",
        "import, s beyond NumPy and Numba",
    )
    return table(heads, rows)


def _started(call: str, cache: str) -> tuple[float, float]:
    """Return the seconds of the import and of a call, in a new process."""
    environment = {**os.environ, "NUMBASEP_CACHE_DIR": cache}
    script = START.format(call=call)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    imported, called = map(float, done.stdout.split())
    return imported, called


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=4096, help="rows and columns of the large images")
    parser.add_argument("--cube", type=int, default=256, help="edge of the volumes")
    parser.add_argument("--repeat", type=int, default=7, help="rounds, of which the median counts")
    parser.add_argument("--only", help="sections whose title holds this")
    parser.add_argument("--write", type=Path, help="a Markdown file to write the tables to, too")
    options = parser.parse_args(arguments)
    sections: dict[str, Callable[[], str]] = {
        "Memory layouts": lambda: layouts(options.side, options.repeat),
        "Widths at powers of two": lambda: widths(options.side, options.repeat),
        "Volumes along one axis": lambda: single_axes(options.cube, options.repeat),
        "Small images beside scipy.ndimage": lambda: small(options.repeat),
        "What a call costs": lambda: overhead(options.repeat),
        "256x256 beside OpenCV": lambda: beside_opencv(options.repeat),
        "Where threads pay": lambda: threads_pay(options.repeat),
        "New outputs": lambda: new_outputs(options.side, options.repeat),
        "Start of a process": starts,
    }
    kept = _sections_of(options.write) if options.write and options.only else {}
    measured = {}
    for title, section in sections.items():
        if options.only and options.only.lower() not in title.lower():
            continue
        measured[title] = section()
        sys.stdout.write(f"## {title}\n\n{measured[title]}\n\n")
        sys.stdout.flush()
    if options.write:
        merged = {title: (kept | measured)[title] for title in sections if title in kept | measured}
        body = [f"## {title}\n\n{text}" for title, text in merged.items()]
        options.write.write_text("\n\n".join([_preface(options), *body]) + "\n", encoding="utf-8")


def _preface(options: argparse.Namespace) -> str:
    where, versions = peers.machine(), libraries.versions()
    return "\n\n".join([
        "# What surrounds the kernels",
        f"{where['cpu']}, {where['cores']} cores, {where['system']}, Python {where['python']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        f"`python -m benchmarks.calls --write {options.write}`, or a section at a time with `--only TITLE`; medians of "
        f"{options.repeat} calls in turns, images {options.side}x{options.side}, volumes {options.cube}^3, float32 "
        "unless stated.",
    ])  # fmt: skip


def _sections_of(path: Path) -> dict[str, str]:
    """Return the sections of an existing file."""
    if not path.exists():
        return {}
    parts = path.read_text(encoding="utf-8").split("\n## ")[1:]
    return {part.split("\n", 1)[0]: part.split("\n", 1)[1].strip() for part in parts}


if __name__ == "__main__":
    main()
