"""The filter family of scipy.ndimage; `python -m benchmarks.bench_filters` prints the table beside SciPy."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import numbasep

from . import common

FILTERS: dict[str, Callable[[Any, Any], Any]] = {
    "gaussian_filter sigma=1": lambda module, x: module.gaussian_filter(x, 1),
    "gaussian_filter sigma=3": lambda module, x: module.gaussian_filter(x, 3),
    "sobel": lambda module, x: module.sobel(x),
    "laplace": lambda module, x: module.laplace(x),
    "uniform_filter size=5": lambda module, x: module.uniform_filter(x, 5),
    "uniform_filter size=51": lambda module, x: module.uniform_filter(x, 51),
    "gaussian_gradient_magnitude sigma=2": lambda module, x: module.gaussian_gradient_magnitude(x, 2),
}
DTYPES = ["uint8", "uint16", "float32", "float64"]


class Filters:
    """Each filter on an image, by dtype, with the full cost of a call."""

    params = (list(FILTERS), DTYPES)
    param_names = ("filter", "dtype")

    def setup(self, name, dtype):
        self.array = common.image(common.SIDE, common.SIDE, dtype=dtype)
        self.filter = FILTERS[name]
        self.filter(numbasep, self.array)

    def time_filter(self, name, dtype):
        self.filter(numbasep, self.array)


class SmallImages:
    """A 64x64 image, where the fixed cost of a call dominates."""

    params = list(FILTERS)
    param_names = ("filter",)

    def setup(self, name):
        self.array = common.image(64, 64)
        self.filter = FILTERS[name]
        self.filter(numbasep, self.array)

    def time_filter(self, name):
        self.filter(numbasep, self.array)


class UniformSizes:
    """Averages over boxes, by size."""

    params = [3, 11, 51, 201]
    param_names = ("size",)

    def setup(self, size):
        self.array = common.image(common.SIDE, common.SIDE)
        numbasep.uniform_filter(self.array, size)

    def time_filter(self, size):
        numbasep.uniform_filter(self.array, size)


class Missing:
    """A Gaussian on an image with a tenth of its samples missing."""

    params = [1, 3, 6]
    param_names = ("sigma",)

    def setup(self, sigma):
        self.array = common.image(common.SIDE, common.SIDE)
        self.array[common.image(common.SIDE, common.SIDE, seed=1) < 0.1] = np.nan
        self.time_filter(sigma)

    def time_filter(self, sigma):
        numbasep.gaussian_filter(self.array, sigma, nan_policy="omit")


class Bank:
    """Eight dense kernels on one image."""

    def setup(self):
        self.array = common.image(common.SIDE, common.SIDE)
        self.kernels = [common.random_kernel(7, seed) for seed in range(8)]
        self.time_filter()

    def time_filter(self):
        numbasep.filter_bank(self.array, self.kernels)


# ------------------------------------------------------------------------------------------ beside SciPy
def seconds(calls: Sequence[Callable[[], Any]], repeat: int) -> list[float]:
    """Return the median time of each call, measured in turns; a first round is not counted."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(repeat + 1):
        for call, mine in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            if turn:
                mine.append(time.perf_counter() - start)
    return [statistics.median(mine) for mine in times]


def cases(side: int, cube: int) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Yield a name and a function of the module to use, for every filter and dtype."""
    for dtype in DTYPES:
        image, volume = common.image(side, side, dtype=dtype), common.image(cube, cube, cube, dtype=dtype)
        for name, function in FILTERS.items():
            yield f"{name}, {side}x{side} {dtype}", lambda module, f=function, x=image: f(module, x)
        yield f"gaussian_filter sigma=2, {cube}^3 {dtype}", lambda m, x=volume: m.gaussian_filter(x, 2)


def compare(side: int, cube: int, repeat: int) -> list[tuple[str, float, float]]:
    """Return name, seconds of numbasep and seconds of SciPy, measured in turns in this process."""
    from scipy import ndimage

    return [
        (name, *seconds([lambda call=call, m=m: call(m) for m in (numbasep, ndimage)], repeat))
        for name, call in cases(side, cube)
    ]


def compare_small(repeat: int) -> list[tuple[str, float, float]]:
    """Return the same for a 64x64 float32 image."""
    from scipy import ndimage

    x = common.image(64, 64)
    return [
        (f"{name}, 64x64 float32", *seconds([lambda m=m, f=f: f(m, x) for m in (numbasep, ndimage)], repeat))
        for name, f in FILTERS.items()
    ]


def table(rows: list[tuple[str, float, float]]) -> str:
    """Return rows as Markdown, with the geometric mean of SciPy's time over numbasep's."""
    lines = ["| filter | numbasep, ms | scipy.ndimage, ms | SciPy / numbasep |", "|---|---|---|---|"]
    lines += [f"| {name} | {1e3 * a:.3g} | {1e3 * b:.3g} | {b / a:.1f} |" for name, a, b in rows]
    ratios = [b / a for _, a, b in rows]
    mean = statistics.geometric_mean(ratios)
    return "\n".join([*lines, "", f"Geometric mean {mean:.1f}, least {min(ratios):.2f}."])


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=2048, help="rows and columns of the images")
    parser.add_argument("--cube", type=int, default=128, help="edge of the volumes")
    parser.add_argument("--repeat", type=int, default=5, help="rounds, of which the median counts")
    parser.add_argument("--write", type=Path, help="a Markdown file to write the tables to, too")
    options = parser.parse_args(arguments)
    tables = [
        table(compare(options.side, options.cube, options.repeat)), table(compare_small(50 * options.repeat))
    ]  # fmt: skip
    sys.stdout.write("\n\n".join(tables) + "\n")
    if options.write:
        from . import libraries, peers

        where, versions = peers.machine(), libraries.versions()
        used = ", ".join(f"{name} {version}" for name, version in versions.items())
        words = sys.argv[1:] if arguments is None else arguments
        parts = [
            "# The filter family beside scipy.ndimage",
            f"{where['cpu']}, {where['cores']} cores, {where['system']}, Python {where['python']}; {used}.",
            f"`{' '.join(['python -m benchmarks.bench_filters', *words])}`, new outputs, medians.",
        ]
        options.write.write_text("\n\n".join([*parts, *tables]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
