"""How good the automatic choice is: ``python -m benchmarks.regret``.

Every kernel of the zoo meets every image; each route that keeps the contract is timed, in turns.  The regret
is the time of the chosen route over that of the fastest one.  Results: ``benchmarks/results/regret.*``.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import numbasep
from numbasep import machine

from . import common

RESULTS = Path(__file__).parent / "results"
DOUBTFUL = 1.1  # a regret above this is measured again, more often: most are disturbances
LEAST_SECONDS = 0.05  # short calls are repeated for so long: a disturbance lasts milliseconds
DISTURBED = 0.08  # part of the time that other processes may take of a processor
VOLUME = 2  # a volume has as many elements as an image: side ** (2 / 3) along each axis
Record = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> None:
    """Run and store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regret", description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 256, 1024, 4096], help="of the images")
    parser.add_argument("--dtypes", nargs="+", default=["uint8", "float32", "float64"])
    parser.add_argument("--kernels", nargs="*", help="only kernels whose names contain one of these words")
    parser.add_argument("--repeat", type=int, default=5, help="rounds, of which the fastest counts")
    parser.add_argument("--workers", type=int, help="threads (default: all)")
    parser.add_argument("--limit", type=float, default=2.0, help="skip routes predicted to take more seconds")
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds; a random sample is measured")
    parser.add_argument(
        "--shipped", action="store_true", help="predict by the shipped constants: no calibration"
    )
    parser.add_argument("--append", action="store_true", help="add to the stored records")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    arguments = parser.parse_args(argv)
    stored = arguments.results / "regret.json"
    records: list[Record] = []
    if arguments.append and stored.is_file():
        records = json.loads(stored.read_text(encoding="utf-8"))["records"]
    if not arguments.shipped:
        machine.use(numbasep.calibrate(store=False))
    problems = [
        (name, weights, side, dtype)
        for side in arguments.sides
        for dtype in arguments.dtypes
        for name, weights in common.zoo().items()
        if not arguments.kernels or any(word in name for word in arguments.kernels)
    ]
    random.shuffle(problems)
    stop = time.perf_counter() + arguments.budget
    for name, weights, side, dtype in problems:
        if time.perf_counter() > stop:
            break
        record = measure(name, weights, side, dtype, arguments)
        if record is not None:
            records.append(record)
    text = table(records)
    arguments.results.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine.current().name, "workers": arguments.workers, "records": records}
    stored.write_text(json.dumps(content, indent=1), encoding="utf-8")
    (arguments.results / "regret.md").write_text(text, encoding="utf-8")
    print(text)


def measure(name: str, weights: common.Array, side: int, dtype: str, options: Any) -> Record | None:
    """Seconds of every route for one problem; None where there is nothing to choose from, or others disturbed."""
    length = side if weights.ndim == 2 else round(side ** (VOLUME / weights.ndim))
    x = common.image(*(length,) * weights.ndim, dtype=dtype)
    plan = numbasep.plan(weights, x.shape, x.dtype, workers=options.workers)
    routes = {c.method: c for c in plan.candidates if c.feasible and c.seconds <= options.limit}
    if len(routes) < 2 or plan.method not in routes:
        return None
    output = np.empty_like(x)
    calls = {
        m: functools.partial(replace(plan, choice=replace(plan.choice, chosen=c)), x, output)
        for m, c in routes.items()
    }
    for call in calls.values():
        call()  # compiles
    before = foreign_seconds(), time.perf_counter()
    seconds = fastest_of(calls, options.repeat, cpu=options.workers == 1)
    if seconds[plan.method] > DOUBTFUL * min(seconds.values()):
        again = fastest_of(calls, 3 * options.repeat, cpu=options.workers == 1)
        seconds = {m: min(seconds[m], again[m]) for m in calls}
    if options.workers != 1 and foreign_seconds() - before[0] > 0.03 + DISTURBED * (
        time.perf_counter() - before[1]
    ):
        return None
    return {
        "kernel": name,
        "shape": list(x.shape),
        "dtype": dtype,
        "chosen": plan.method,
        "regret": seconds[plan.method] / min(seconds.values()),
        "measured": seconds,
        "predicted": {m: c.seconds for m, c in routes.items()},
    }


def foreign_seconds() -> float:
    """Processor seconds of all other processes so far; 0 where the system does not tell."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(word) for word in file.readline().split()[1:]]
    except (OSError, ValueError):
        return 0.0
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK") - time.process_time()


def fastest_of(calls: dict[str, Callable[[], Any]], repeat: int, *, cpu: bool) -> dict[str, float]:
    """Least time of each call, in turns; the thread's own if `cpu`, which other processes disturb less."""
    clock = time.thread_time if cpu else time.perf_counter
    best = dict.fromkeys(calls, math.inf)
    began, rounds = time.perf_counter(), 0
    while rounds < repeat or time.perf_counter() - began < LEAST_SECONDS:
        rounds += 1
        for name, call in calls.items():
            call()  # leaves the caches as it finds them in a series of equal calls
            start = clock()
            call()
            best[name] = min(best[name], clock() - start)
    return best


def table(records: Sequence[Record]) -> str:
    """Markdown: regret and the quality of predictions by dtype and size, then the worst choices.

    The last column leaves out what all predictions of a group are off by: the speed of a virtual machine is not its
    own, and the choice does not depend on it.
    """
    lines = [
        "| images | problems | regret: mean | 95 % | worst | predictions within 25 % | beside a common factor |",
        "|" + "---|" * 7,
    ]
    groups: dict[str, list[Record]] = {"all": list(records)}
    for record in records:
        for group in (record["dtype"], f"{math.prod(record['shape']):.0e} elements"):
            groups.setdefault(group, []).append(record)
    for group, members in groups.items():
        regrets = np.array([record["regret"] for record in members])
        ratios = np.array([r["predicted"][m] / t for r in members for m, t in r["measured"].items()])
        close = np.mean((ratios > 0.75) & (ratios < 1.25))
        mean, high, worst = np.exp(np.log(regrets).mean()), np.quantile(regrets, 0.95), regrets.max()
        alike = np.mean(np.abs(np.log(ratios / np.median(ratios))) < math.log(1.25))
        lines.append(
            f"| {group} | {len(members)} | {mean:.3f} | {high:.2f} | {worst:.2f} | {close:.0%} | {alike:.0%} |"
        )
    lines += ["", "| worst choices | shape | dtype | regret | chosen | milliseconds |", "|" + "---|" * 6]
    for record in sorted(records, key=lambda record: -record["regret"])[:20]:
        shape = "x".join(map(str, record["shape"]))
        times = ", ".join(f"{m} {1e3 * t:.3g}" for m, t in record["measured"].items())
        lines.append(
            f"| {record['kernel']} | {shape} | {record['dtype']} | {record['regret']:.2f} "
            f"| {record['chosen']} | {times} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
