"""Accuracy of predicted times: ``python -m benchmarks.prices``.

Kernels and array shapes found in practice are combined, in both memory orders, on one thread and on all.  Each feasible
route is run pass by pass (`Plan.analyze`), twice, between two runs of a probe that detects whether the machine was
disturbed (`calm`).  This gives two tables in ``benchmarks/results/prices*.md``: predicted over measured times of all
passes, and the regret, the time of the chosen route over that of the fastest one.

Half of the kernels, on their own shapes, are the sample to which constants are fitted (`benchmarks.reference`); the
other half, on other shapes, is the sample that is judged.

    python -m benchmarks.prices --budget 120                     # seconds
    python -m benchmarks.prices --budget 120 --resume --seed 1   # more measurements
    python -m benchmarks.prices --budget 0 --resume              # stored times, predicted by the current constants ...
    python -m benchmarks.prices --budget 0 --resume --calibrate  # ... or by those of this machine
    python -m benchmarks.prices --sample fitted --records fitted.jsonl
    python -m benchmarks.prices --examples                       # five kernels, three layouts, pass by pass
    python -m benchmarks.prices --target haswell                 # compiled for another processor
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import random
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import numbasep
from numbasep.planning import machine
from numbasep.planning.memory_order import reordered
from numbasep.planning.planner import PlannedFilter
from numbasep.plans.plan import Plan

from . import calm, common

RESULTS = Path(__file__).parent / "results"
NEAR = 1.25  # a prediction that is off by less than this factor counts as good
LONGEST = 0.1  # predicted seconds beyond which a route is not timed
PROMISING = 6.0  # largest ratio to the least predicted time for which a route is timed
SMALLEST = 3e-5  # least seconds of judged passes; in shorter ones, the clock and the call dominate
STEADY = 1.15  # largest slowness of the probe with which the machine counts as undisturbed
BUSY = 9.0  # slowness that is recorded while other processes work
ROUNDS = 5  # number of measurements of examples, of which the least is shown
TRIES = 2  # most measurements of a case until one is undisturbed
Shapes = tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
SHAPES: dict[str, Shapes] = {
    "fitted": (
        ((2048, 2048), (0, 1)), ((256, 256), (0, 1)), ((64, 16384), (0, 1)), ((16384, 64), (0, 1)),
        ((1024, 1024, 3), (0, 1)), ((3, 1024, 1024), (1, 2)), ((512, 512, 16), (0, 1)), ((40, 256, 256), (1, 2)),
        ((128, 128, 128), (0, 1)), ((3000, 2000), (0, 1)), ((500, 700), (0, 1)), ((5000, 120), (0, 1)),
        ((900, 800, 4), (0, 1)), ((300, 500, 9), (0, 1)), ((50, 1000, 100), (0, 1)),
    ),
    "judged": (
        ((1500, 1700), (0, 1)), ((4000, 3000), (0, 1)), ((350, 300), (0, 1)), ((100, 9000), (0, 1)),
        ((9000, 100), (0, 1)), ((700, 900, 3), (0, 1)), ((5, 600, 800), (1, 2)), ((600, 400, 12), (0, 1)),
        ((30, 300, 200), (1, 2)), ((100, 150, 120), (0, 1)),
    ),
}  # fmt: skip
"""Shapes, and the axes along which images are filtered."""
VOLUMES: dict[str, tuple[tuple[int, ...], ...]] = {
    "fitted": (
        (128, 128, 128), (40, 256, 256), (256, 256, 40), (20, 60, 60, 30), (64, 200, 150), (200, 180, 24),
    ),
    "judged": ((100, 150, 120), (30, 300, 200), (200, 300, 30), (15, 50, 70, 40)),
}  # fmt: skip
DTYPES = ("float32", "float64", "uint8", "uint16")
EXAMPLES = ("sobel3", "gauss s=3", "random 15x15", "disk r=7", "LoG s=1.4")
LAYOUTS = (((2048, 2048), (0, 1), "C"), ((1024, 1024, 3), (0, 1), "C"), ((40, 256, 256), (1, 2), "F"))
Record = dict[str, Any]


class Case(NamedTuple):
    """A kernel on an array."""

    kernel: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    order: str
    dtype: str
    workers: int | None


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prices", description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=120.0, help="seconds")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--target", default="", choices=sorted(common.TARGETS), help="compile for it")
    parser.add_argument("--sample", choices=tuple(SHAPES), default="judged")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--records", type=Path, help="file of measurements, by default in the results")
    parser.add_argument("--resume", action="store_true", help="add to these")
    parser.add_argument("--examples", action="store_true", help="write the passes of a few plans instead")
    parser.add_argument("--threads", choices=("one", "all"), help="only calls on so many; by default both")
    parser.add_argument(
        "--calibrate", action="store_true", help="predict by constants that are measured first"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    common.compile_for(arguments.target, "benchmarks.prices", argv)
    ending = f"_{arguments.target}" if arguments.target else ""
    if arguments.calibrate:
        found = numbasep.calibrate(store=False)
        assert isinstance(found, machine.Machine)
        machine.use(found)
    arguments.results.mkdir(parents=True, exist_ok=True)
    if arguments.examples:
        text = examples(arguments.repeats)
        (arguments.results / f"passes{ending}.md").write_text(text, encoding="utf-8")
        print(text)
        return
    records = arguments.records or arguments.results / f"prices{ending}.jsonl"
    with records.open("a" if arguments.resume else "w", encoding="utf-8") as file:
        drawn = cases(arguments.sample, arguments.seed)
        kept = [case for case in drawn if arguments.threads in (None, "one" if case.workers else "all")]
        for record in measured(kept, arguments.budget, arguments.repeats):
            file.write(json.dumps(record) + "\n")
    if arguments.sample == "judged":
        text = report(list(filter(None, map(repriced, load(records)))))
        ending += "_calibrated" if arguments.calibrate else ""
        (arguments.results / f"prices{ending}.md").write_text(text, encoding="utf-8")
        print(text)


def load(path: Path) -> list[Record]:
    """Return the stored measurements that were undisturbed."""
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [record for record in found if record["slowness"] <= STEADY]


@functools.cache
def _zoo() -> dict[str, common.Array]:
    return common.zoo() | common.zoo("kernel_unseen")


def cases(sample: str, seed: int) -> list[Case]:
    """Return all combinations of kernels, shapes, orders, dtypes and threads, in random order."""
    found = []
    for name, kernel in _zoo().items():
        if zlib.crc32(name.encode()) % 2 != (sample == "judged"):
            continue
        if kernel.ndim == 2:
            pairs: list[tuple[tuple[int, ...], tuple[int, ...]]] = list(SHAPES[sample])
        else:
            pairs = [(shape, tuple(range(len(shape) - 3, len(shape)))) for shape in VOLUMES[sample]]
        found += [
            Case(name, *pair, order, dtype, workers)
            for pair in pairs for order in "CF" for dtype in DTYPES for workers in (1, None)
            if kernel.size <= math.prod(pair[0])
        ]  # fmt: skip
    random.Random(seed).shuffle(found)
    return found


def plan_of(case: Case, method: str = "auto") -> Plan:
    """Return the plan of a case."""
    return numbasep.plan(
        _zoo()[case.kernel], case.shape, np.dtype(case.dtype), method=method, axes=case.axes, order=case.order,
        workers=case.workers,
    )  # fmt: skip


def measured(drawn: Sequence[Case], budget: float, repeats: int) -> Iterator[Record]:
    """Measure the routes of one case after the other, until the budget is spent."""
    probe = calm.Probe(1)
    probe.clock = time.perf_counter  # include the time of waiting for a processor
    stop = time.perf_counter() + budget
    for case in drawn:
        if time.perf_counter() > stop:
            return
        plan = plan_of(case)
        usable = [c for c in plan.candidates if c.feasible and c.seconds <= LONGEST]
        least = min((c.seconds for c in usable), default=0.0)
        names = [c.method for c in usable if c.seconds <= PROMISING * least]
        if plan.method not in names:
            continue
        x = np.asarray(common.image(*case.shape, dtype=case.dtype), order=case.order)  # type: ignore[call-overload]
        plans = {name: plan_of(case, name) for name in names}
        for _ in range(TRIES):
            before, foreign, began = _slowness(probe), calm.foreign_seconds(), time.perf_counter()
            rounds = [{name: one.analyze(x, repeats) for name, one in plans.items()} for _ in range(2)]
            foreign, elapsed = calm.foreign_seconds() - foreign, time.perf_counter() - began
            slowness = max(before, _slowness(probe))
            if case.workers is None and foreign > 0.02 + calm.FOREIGN * elapsed:  # ticks of 0.01 s
                slowness = BUSY
            if slowness <= STEADY:
                break
        routes = {
            name: {
                "passes": [
                    [
                        one.kernel,
                        one.operations,
                        one.predicted,
                        *(analyses[name].passes[i].measured for analyses in rounds),
                    ]
                    for i, one in enumerate(rounds[0][name].passes)
                ],
                "predicted": rounds[0][name].predicted,
                "measured": min(analyses[name].measured for analyses in rounds),
            }
            for name in names
        }
        yield {"case": list(case), "chosen": plan.method, "slowness": slowness, "routes": routes}


def repriced(record: Record) -> Record | None:
    """Return a measurement with current predictions and choice; None if the current choice was not measured."""
    case = case_of(record)
    routes = {}
    for method, route in record["routes"].items():
        plan = planned(case, method)
        passes = plan.choice.chosen.passes
        if [(one.kernel, one.operations) for one in passes] == [(one[0], one[1]) for one in route["passes"]]:
            now = [
                [one[0], one[1], pass_.seconds, *one[3:]]
                for one, pass_ in zip(route["passes"], passes, strict=True)
            ]
            routes[method] = route | {"passes": now, "predicted": plan.choice.chosen.seconds}
    chosen = planned(case, "auto").choice.chosen.method
    return record | {"routes": routes, "chosen": chosen} if chosen in routes else None


def case_of(record: Record) -> Case:
    """Return the case of a stored record."""
    case = Case(*record["case"])
    return case._replace(shape=tuple(case.shape), axes=tuple(case.axes))


def planned(case: Case, method: str) -> PlannedFilter:
    """Return the plan that runs on the arrays of a case, in their memory order."""
    plan = plan_of(case, method)
    inwards = tuple(reversed(range(len(case.shape))))
    return reordered(plan, inwards) if case.order == "F" else plan


def _slowness(probe: calm.Probe) -> float:
    """Return how many times slower than usual the machine is: the least of three, as probes may be disturbed."""
    return min(probe.slowness() for _ in range(3))


# ---------------------------------------------------------------------------------------- tables


def report(found: Sequence[Record]) -> str:
    """Return both tables."""
    passes = [
        (one[0], one[2] / min(one[3:]), one[3] / one[4])
        for record in found
        for route in record["routes"].values()
        for one in route["passes"]
        if min(one[3:]) >= SMALLEST
    ]
    lines = [
        f"# Predicted and measured times of {len(passes)} passes", "",
        f"{len(found)} kernels on arrays; {machine.cpu_name()}, {machine.available_processors()} cores, constants: "
        f"{machine.current().name}. None of the kernels and shapes was used to fit these. *Repeated*: times that fall "
        "within 25 % of those of the same pass a moment later. Written by `python -m benchmarks.prices`; `--seed`, "
        "`--budget` and `--target` choose the sample.", "",
        "| passes | number | within 25 % | 5 % | median | 95 % | repeated |", "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in ["all", *sorted({kernel for kernel, _, _ in passes})]:
        chosen = [(ratio, again) for kernel, ratio, again in passes if name in ("all", kernel)]
        values, repeated = np.array(chosen).T
        low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
        cells = (
            f"{_near(values):.0%}",
            f"{low:.2f}",
            f"{middle:.2f}",
            f"{high:.2f}",
            f"{_near(repeated):.0%}",
        )
        lines.append(f"| {name} | {len(values)} | {' | '.join(cells)} |")
    return "\n".join(lines + _regrets(found)) + "\n"


def _near(ratios: np.ndarray) -> float:
    return float(np.mean((ratios < NEAR) & (ratios > 1 / NEAR)))


def _regrets(found: Sequence[Record]) -> list[str]:
    regrets = [
        (routes[record["chosen"]]["measured"] / min(one["measured"] for one in routes.values()), record)
        for record in found
        if len(routes := record["routes"]) > 1
    ]
    if not regrets:
        return []
    values = np.array([regret for regret, _ in regrets])
    lines = [
        "", f"Regret of {len(values)} choices: mean {values.mean():.3f}, at 95 % {np.quantile(values, 0.95):.2f}, "
        f"worst {values.max():.2f}.", "",
        "| regret | kernel | shape | axes | order | type | threads | chosen | predicted (ms) | measured |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for regret, record in sorted(regrets, key=lambda pair: -pair[0])[:15]:
        name, shape, axes, order, dtype, workers = record["case"]
        predicted, actual = (
            ", ".join(f"{route} {one[key] * 1e3:.3g}" for route, one in record["routes"].items())
            for key in ("predicted", "measured")
        )
        cells = (
            f"{regret:.2f}", name, "x".join(map(str, shape)), ",".join(map(str, axes)), order, dtype,
            str(workers or "all"), record["chosen"], predicted, actual,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def examples(repeats: int) -> str:
    """Return predicted and measured times of the passes of a few kernels on a few layouts."""
    lines = [
        "# Passes of a few plans, predicted beside measured", "",
        f"`python -m benchmarks.prices --examples`: float32, {machine.cpu_name()}, "
        f"{machine.available_processors()} cores, constants: {machine.current().name}.", "",
        "| kernel | shape | axes | order | route | pass | on axes | predicted (ms) | measured | ratio |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    drawn = [Case(name, *layout, "float32", None) for name in EXAMPLES for layout in LAYOUTS]
    plans = {case: plan_of(case) for case in drawn}
    arrays = {case: np.asarray(common.image(*case.shape), order=case.order) for case in drawn}  # type: ignore[call-overload]
    rounds = [
        {case: plans[case].analyze(arrays[case], repeats).passes for case in drawn} for _ in range(ROUNDS)
    ]
    for case in drawn:
        for passes in zip(*(found[case] for found in rounds), strict=True):
            one, taken = passes[0], min(again.measured for again in passes)
            numbers = (one.predicted * 1e3, taken * 1e3, one.predicted / taken)
            cells = (
                case.kernel, "x".join(map(str, case.shape)), ",".join(map(str, case.axes)), case.order,
                plans[case].method, one.kernel, ",".join(map(str, one.axes)),
                *(f"{number:.3g}" for number in numbers),
            )  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
