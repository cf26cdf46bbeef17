"""Array shapes found in practice, compared with SciPy: ``python -m benchmarks.shapes``.

This runs `gaussian_filter` with sigma 1 (9 taps) on float32 arrays of four million samples, along all axes, the first,
the last, the last two and the first two, with preallocated outputs.  The table shows nanoseconds per sample and the
ratio to SciPy's time in the same process; it is written to ``benchmarks/results/shapes.md``, or ``shapes_TARGET.md``.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import scipy.ndimage

import numbasep
from numbasep.planning import machine

from . import common

RESULTS = Path(__file__).parent / "results"
SHAPES: tuple[tuple[tuple[int, ...], str], ...] = (
    ((2048, 2048), "C"), ((4_000_000,), "C"), ((1, 4_000_000), "C"), ((3, 1_333_333), "C"), ((8, 500_000), "C"),
    ((65536, 64), "C"), ((500_000, 8), "C"), ((1_333_333, 3), "C"), ((2_000_000, 2), "C"),
    ((1024, 1365, 3), "C"), ((1024, 1365, 3), "F"), ((1024, 1024, 4), "C"), ((512, 512, 16), "C"),
    ((512, 512, 16), "F"), ((3, 1182, 1182), "C"), ((3, 1182, 1182), "F"), ((160, 160, 160), "C"),
    ((160, 160, 160), "F"), ((60, 256, 256), "C"), ((60, 256, 256), "F"), ((256, 256, 60), "C"),
    ((45, 45, 45, 45), "C"), ((45, 45, 45, 45), "F"), ((64, 64, 36, 27), "C"), ((64, 64, 36, 27), "F"),
    ((12,) * 6, "C"), ((12,) * 6, "F"), ((4, 3, 35, 100, 100), "C"), ((4, 3, 35, 100, 100), "F"),
)  # fmt: skip
COLUMNS = ("all", "first", "last", "last 2", "first 2")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shapes", description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="", choices=sorted(common.TARGETS), help="compile for it")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    common.compile_for(arguments.target, "benchmarks.shapes", argv)
    lines = [
        f"# Shapes and memory orders: {machine.cpu_name()}, {machine.available_processors()} cores", "",
        "Nanoseconds a sample; in brackets, how many times as long SciPy takes.", "",
        f"| shape, order | {' | '.join(COLUMNS)} |", "|---" * (1 + len(COLUMNS)) + "|",
    ]  # fmt: skip
    ratios, slowest = [], 0.0
    for shape, order in SHAPES:
        x = np.asarray(common.image(*shape), order=order)
        out, cells = np.empty_like(x), []
        for axes in wanted(len(shape)):
            if axes is None:
                cells.append("")
                continue
            ours, theirs = compared(x, out, axes, arguments.repeats)
            cells.append(f"{ours / x.size * 1e9:.2f} ({theirs / ours:.1f})")
            ratios.append(theirs / ours)
            slowest = max(slowest, ours / x.size * 1e9)
        lines.append(f"| {'x'.join(map(str, shape))} {order} | {' | '.join(cells)} |")
    mean = math.exp(np.mean(np.log(ratios)))
    lines += [
        "",
        f"Geometric mean {mean:.1f}, least {min(ratios):.1f}; slowest {slowest:.2f} ns a sample.",
        "",
    ]
    text = "\n".join(lines)
    stem = f"shapes_{arguments.target}" if arguments.target else "shapes"
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / f"{stem}.md").write_text(text, encoding="utf-8")
    print(text)


def wanted(ndim: int) -> list[tuple[int, ...] | None]:
    """Return the filtered axes for each of the columns."""
    every = tuple(range(ndim))
    if ndim == 1:
        return [every, None, None, None, None]
    few = ndim > 2
    return [every, (0,), (ndim - 1,), every[-2:] if few else None, every[:2] if few else None]


def compared(x: common.Array, out: common.Array, axes: tuple[int, ...], repeats: int) -> tuple[float, float]:
    """Return the shortest seconds of numbasep and of SciPy, measured in turns."""
    ours = shortest(lambda: numbasep.gaussian_filter(x, 1.0, axes=axes, output=out), repeats)
    theirs = shortest(lambda: scipy.ndimage.gaussian_filter(x, 1.0, axes=axes, output=out), 1)
    return min(ours, shortest(lambda: numbasep.gaussian_filter(x, 1.0, axes=axes, output=out), 2)), theirs


def shortest(call: Callable[[], object], repeats: int) -> float:
    """Return the shortest time of a call, after a first one."""
    call()
    found = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found = min(found, time.perf_counter() - start)
    return found


if __name__ == "__main__":
    main()
