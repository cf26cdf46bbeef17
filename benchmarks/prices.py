"""How well plans predict: ``python -m benchmarks.prices``.

Kernels found in practice meet arrays as people have them, in both memory orders.  Each route that keeps the contract is
run pass by pass (`Plan.analyze`).  Two tables come of it, in ``benchmarks/results/prices*.md``: predicted over measured
seconds of every pass, and the regret, the time of the route that was chosen over that of the fastest one.

    python -m benchmarks.prices --budget 120                     # seconds; the sample is the same at every run
    NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=... python -m benchmarks.prices --target haswell
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import numbasep
from numbasep.planning import machine

from . import common

RESULTS = Path(__file__).parent / "results"
NEAR = 1.25  # a pass whose predicted time is off by less than this factor is priced well
LONGEST = 0.15  # predicted seconds from which a route is not timed
PROMISING = 6.0  # nor one that is predicted to take so many times as long as the fastest
SMALLEST = 3e-5  # seconds of passes that are judged: below, the clock and the call count most
SHAPES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((2048, 2048), (0, 1)), ((256, 256), (0, 1)), ((64, 16384), (0, 1)), ((16384, 64), (0, 1)),
    ((1024, 1024, 3), (0, 1)), ((3, 1024, 1024), (1, 2)), ((512, 512, 16), (0, 1)), ((40, 256, 256), (1, 2)),
    ((128, 128, 128), (0, 1)),
)  # fmt: skip
"""Shapes, and the axes that images are filtered along."""
VOLUMES = ((128, 128, 128), (40, 256, 256), (256, 256, 40), (20, 60, 60, 30))
DTYPES = ("float32", "float64", "uint8", "uint16")


class Case(NamedTuple):
    """A kernel on an array."""

    kernel: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    order: str
    dtype: str


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prices", description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=120.0, help="seconds")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--target", default="", help="name of the processor in the files of results")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    found = list(measured(arguments.budget, arguments.repeats, arguments.seed))
    text = report(found)
    stem = f"prices_{arguments.target}" if arguments.target else "prices"
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / f"{stem}.md").write_text(text, encoding="utf-8")
    print(text)


def cases(seed: int) -> list[Case]:
    """Kernels, shapes, orders and types, in random order."""
    zoo = common.zoo() | common.zoo("kernel_unseen")
    found = []
    for name, kernel in zoo.items():
        if kernel.ndim == 2:
            pairs: list[tuple[tuple[int, ...], tuple[int, ...]]] = list(SHAPES)
        else:
            pairs = [(shape, tuple(range(len(shape) - 3, len(shape)))) for shape in VOLUMES]
        found += [Case(name, *pair, order, dtype) for pair in pairs for order in "CF" for dtype in DTYPES]
    random.Random(seed).shuffle(found)
    return found


def measured(budget: float, repeats: int, seed: int) -> Iterator[dict[str, Any]]:
    """Routes of one case after the other, until the budget is spent."""
    zoo = common.zoo() | common.zoo("kernel_unseen")
    stop = time.perf_counter() + budget
    for case in cases(seed):
        if time.perf_counter() > stop:
            return
        weights = zoo[case.kernel]
        if weights.size > math.prod(case.shape):
            continue
        x = np.asarray(common.image(*case.shape, dtype=case.dtype), order=case.order)
        options = {"axes": case.axes, "order": case.order}
        plan = numbasep.plan(weights, case.shape, x.dtype, **options)
        usable = [c for c in plan.candidates if c.feasible and c.seconds <= LONGEST]
        least = min((c.seconds for c in usable), default=0.0)
        names = [c.method for c in usable if c.seconds <= PROMISING * least]
        if plan.method not in names:
            continue
        analyses = {}
        for name in names:
            route = (
                plan
                if name == plan.method
                else numbasep.plan(weights, case.shape, x.dtype, method=name, **options)
            )
            analyses[name] = route.analyze(x, repeats=repeats)
        yield {"case": case, "chosen": plan.method, "routes": analyses}


# ---------------------------------------------------------------------------------------- tables


def report(found: Sequence[dict[str, Any]]) -> str:
    """Both tables."""
    passes = [
        (one.kernel, one.predicted / one.measured)
        for record in found
        for analysis in record["routes"].values()
        for one in analysis.passes
        if one.measured >= SMALLEST
    ]
    lines = [
        f"# Predicted and measured times of {len(passes)} passes", "",
        f"{len(found)} kernels on arrays; {machine.cpu_name()}, {machine.available_processors()} cores, constants: "
        f"{machine.current().name}.", "",
        "| passes | number | within 25 % | 5 % | median | 95 % |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in ["all", *sorted({kernel for kernel, _ in passes})]:
        values = np.array([ratio for kernel, ratio in passes if name in ("all", kernel)])
        near = np.mean((values < NEAR) & (values > 1 / NEAR))
        low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
        lines.append(f"| {name} | {len(values)} | {near:.0%} | {low:.2f} | {middle:.2f} | {high:.2f} |")
    regrets = [
        (
            record["routes"][record["chosen"]].measured / min(a.measured for a in record["routes"].values()),
            record,
        )
        for record in found
        if len(record["routes"]) > 1
    ]
    values = np.array([regret for regret, _ in regrets])
    lines += [
        "", f"Regret of {len(values)} choices: mean {values.mean():.3f}, at 95 % {np.quantile(values, 0.95):.2f}, "
        f"worst {values.max():.2f}.", "",
        "| regret | kernel | shape | axes | order | type | chosen | predicted (ms) | measured |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for regret, record in sorted(regrets, key=lambda pair: -pair[0])[:15]:
        case, routes = record["case"], record["routes"]
        predicted = ", ".join(f"{name} {a.predicted * 1e3:.3g}" for name, a in routes.items())
        actual = ", ".join(f"{name} {a.measured * 1e3:.3g}" for name, a in routes.items())
        shape, axes = "x".join(map(str, case.shape)), ",".join(map(str, case.axes))
        cells = (
            f"{regret:.2f}", case.kernel, shape, axes, case.order, case.dtype, record["chosen"], predicted, actual,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
