"""Quality of the automatic choice: ``python -m benchmarks.regret``.

For every kernel of the zoo and every image, all feasible routes are timed, in turns and undisturbed
(`benchmarks.calm`).  The regret is the time of the chosen route over that of the fastest one.  Results are written to
``benchmarks/results/regret.*``.  The grid takes an hour; it can be measured in pieces:

    python -m benchmarks.regret --budget 100 --resume      # as often as needed
    python -m benchmarks.regret --budget 100 --again       # some problems a second time, for repeatability
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import numbasep
from numbasep.planning import machine

from . import calm, common

RESULTS = Path(__file__).parent / "results"
ZOOS = {"practice": "kernel_zoo", "unseen": "kernel_unseen"}
SIDES = (64, 256, 1024, 4096)
DTYPES = ("uint8", "float32", "float64")
VOLUME = 2  # a volume has as many elements as an image: side ** (2 / 3) along each axis
DOUBTFUL = 1.05  # a larger regret is measured again with more samples, as most are disturbances
CALM = 1.1  # largest slowness of the machine with which times are compared with predictions
NEAR = 0.25  # largest relative error of a good prediction
WORST = 15  # number of rows in the table of worst choices
Record = dict[str, Any]
Problem = tuple[str, int, str]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and write the results."""
    arguments = _arguments(argv)
    zoo = common.zoo(ZOOS[arguments.zoo])
    stored = arguments.results / f"regret{'' if arguments.zoo == 'practice' else '_' + arguments.zoo}.json"
    content = json.loads(stored.read_text(encoding="utf-8")) if stored.is_file() else {}
    kept = arguments.resume or arguments.again or not arguments.budget
    known = [*content.get("records", []), *content.get("alone", [])] if kept else []
    found = {identity(record): record for record in known}
    if arguments.budget:
        for workers in arguments.workers:
            run(zoo, workers, found, arguments)
        content = {
            "machine": machine.fingerprint(machine.available_processors())["cpu"],
            "constants": machine.current().name,
            "versions": _versions(),
            "grid": len(zoo) * len(SIDES) * len(DTYPES),
            "records": [record for record in found.values() if "measured" in record],
            "alone": [record for record in found.values() if "measured" not in record],
        }
    text = report(content, arguments.zoo)
    arguments.results.mkdir(parents=True, exist_ok=True)
    if arguments.budget:
        stored.write_text(_json(content), encoding="utf-8")
    stored.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regret", description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", choices=ZOOS, default="practice", help="the kernels, from tests/")
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="of the images")
    parser.add_argument("--dtypes", nargs="+", default=DTYPES)
    parser.add_argument("--kernels", nargs="*", help="only kernels whose names contain one of these words")
    parser.add_argument(
        "--workers", type=_workers, nargs="+", default=(1, None), metavar="N", help="threads, or all"
    )
    parser.add_argument("--limit", type=float, default=1.0, help="skip routes predicted to take more seconds")
    parser.add_argument(
        "--budget", type=float, default=3600.0, help="seconds for each number of threads; 0: only the table"
    )
    parser.add_argument(
        "--resume", action="store_true", help="keep the stored records, measure what is missing"
    )
    parser.add_argument("--again", action="store_true", help="measure some stored problems a second time")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    return parser.parse_args(argv)


def _workers(word: str) -> int | None:
    return None if word == "all" else int(word)


def identity(record: Record) -> str:
    """Return the key of a problem."""
    return f"{record['kernel']}|{record['side']}|{record['dtype']}|{record['threads']}"


# ------------------------------------------------------------------------------------- measuring


def run(
    zoo: Mapping[str, common.Array],
    workers: int | None,
    found: dict[str, Record],
    options: argparse.Namespace,
) -> None:
    """Measure problems in random order until the budget is spent; add them to `found`."""
    problems: list[Problem] = [
        (name, side, dtype)
        for side in options.sides
        for dtype in options.dtypes
        for name in zoo
        if not options.kernels or any(word in name for word in options.kernels)
    ]
    random.shuffle(problems)
    probe, threads = calm.Probe(workers), workers or machine.available_processors()
    stop = time.perf_counter() + options.budget
    for name, side, dtype in problems:
        if time.perf_counter() > stop:
            break
        key = f"{name}|{side}|{dtype}|{threads}"
        if options.again:
            if "measured" not in found.get(key, {}):
                continue
        elif key in found:
            continue
        record = measure(name, zoo[name], side, dtype, workers=workers, probe=probe, limit=options.limit)
        if record is None:
            continue
        if options.again:
            found[key]["again"] = record.get("measured", {}) if record.get("slowness", 9.0) <= CALM else {}
        else:
            found[key] = record


@contextlib.contextmanager
def processors(count: int | None) -> Iterator[None]:
    """Restrict this process to `count` processors, if the system supports it."""
    if count is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(usual)[:count]))
    machine.forget()
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)
        machine.forget()


def measure(
    name: str,
    weights: common.Array,
    side: int,
    dtype: str,
    *,
    workers: int | None,
    probe: calm.Probe,
    limit: float = 1.0,
) -> Record | None:
    """Return the seconds of every route for one problem, or the choice if it is the only route; None if disturbed."""
    length = side if weights.ndim == 2 else round(side ** (VOLUME / weights.ndim))
    x = common.image(*(length,) * weights.ndim, dtype=dtype)
    with processors(workers):  # as the choice is for all processors, whatever `workers` is
        plan = numbasep.plan(weights, x.shape, x.dtype, workers=workers)
    routes = {c.method: c for c in plan.candidates if c.feasible and c.seconds <= limit}
    threads = workers or machine.available_processors()
    record = {
        "kernel": name, "side": side, "shape": list(x.shape), "dtype": dtype, "threads": threads,
        "chosen": plan.method,
    }  # fmt: skip
    if len(routes) < 2 or plan.method not in routes:
        return record
    output = np.empty_like(x)
    calls = {
        m: functools.partial(replace(plan, choice=replace(plan.choice, chosen=c)), x, output)
        for m, c in routes.items()
    }
    for call in calls.values():
        call()  # compiles
    seconds, slowness = calm.take_turns(calls, probe)
    if plan.method in seconds and seconds[plan.method] > DOUBTFUL * min(seconds.values()):
        again, slowness = calm.take_turns(calls, probe, rounds=15, seconds=0.2, patience=8.0)
        seconds |= again
    if set(seconds) != set(calls):
        return None
    return record | {
        "regret": seconds[plan.method] / min(seconds.values()),
        "measured": seconds,
        "predicted": {m: c.seconds for m, c in routes.items()},
        "slowness": slowness,
    }


def _versions() -> dict[str, str]:
    import numba
    import scipy

    named = {"numbasep": numbasep, "numba": numba, "numpy": np, "scipy": scipy}
    return {name: module.__version__ for name, module in named.items()}


def _json(content: Any) -> str:
    """Return JSON with one record per line, times to four digits."""

    def short(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.4g}")
        if isinstance(value, dict):
            return {key: short(item) for key, item in value.items()}
        return [short(item) for item in value] if isinstance(value, list) else value

    lists = ("records", "alone")
    head = json.dumps({k: v for k, v in content.items() if k not in lists}, indent=1)[:-2]
    for key in lists:
        lines = ",\n".join("  " + json.dumps(short(record)) for record in content[key])
        head += f',\n "{key}": [\n{lines}\n ]'
    return head + "\n}\n"


# ---------------------------------------------------------------------------------------- tables


def report(content: Mapping[str, Any], zoo: str) -> str:
    """Return a report in Markdown: the setup, then regret, predictions and worst choices by number of threads."""
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    lines = [
        f"`python -m benchmarks.regret{'' if zoo == 'practice' else ' --zoo ' + zoo}`: {content['machine']}; "
        f"{versions}.",
        f"Predictions by the constants of: {content['constants']}. Regret: time of the choice over that of the "
        "fastest route, medians of undisturbed rounds in turns, beside those of a probe.",
        f"Predictions are judged where the machine was at most {CALM:.2g} times slower than usual. One counts as good "
        f"within {NEAR:.0%}; *repeated* is how many times measured a second time, "
        "minutes later, fell within that of the first: what a perfect predictor would reach.",
    ]
    for threads in sorted({record["threads"] for record in content["records"]}):
        timed = [record for record in content["records"] if record["threads"] == threads]
        alone = sum(record["threads"] == threads for record in content["alone"])
        lines += ["", f"## {threads} thread{'s' * (threads > 1)}", ""]
        lines.append(
            f"{len(timed) + alone} of {content['grid']} problems of the grid measured; {alone} of "
            "them leave nothing to choose."
        )
        quiet = [record for record in timed if record["slowness"] <= CALM]
        lines += ["", *summary(timed), ""]
        if quiet:
            lines += [*predictions(quiet), ""]
        lines += worst(timed)
    return "\n".join(lines) + "\n"


def _groups(records: Sequence[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {"all": list(records)}
    for dtype in DTYPES:
        groups[dtype] = [r for r in records if r["dtype"] == dtype]
    for side in sorted({r["side"] for r in records}):
        groups[f"{side}x{side}, or as many in 3-D"] = [r for r in records if r["side"] == side]
    groups["3-D"] = [r for r in records if len(r["shape"]) > 2]
    return {name: members for name, members in groups.items() if members}


def summary(records: Sequence[Record]) -> list[str]:
    """Return the table of regret by dtype and size."""
    lines = ["| images | problems | regret: mean | 95 % | worst |", "|" + "---|" * 5]
    for group, members in _groups(records).items():
        regrets = np.array([record["regret"] for record in members])
        mean, high = np.exp(np.log(regrets).mean()), np.quantile(regrets, 0.95)
        lines.append(f"| {group} | {len(members)} | {mean:.3f} | {high:.2f} | {regrets.max():.2f} |")
    return lines


def ratios(records: Sequence[Record], method: str | None = None) -> np.ndarray:
    """Return predicted over measured times, of one route or of all."""
    return np.array(
        [r["predicted"][m] / t for r in records for m, t in r["measured"].items() if method in (None, m)]
    )


def predictions(records: Sequence[Record]) -> list[str]:
    """Return the table of the quality of predictions: for the choices, each route, and by dtype and size."""
    lines = ["| predictions | times | good | 10 % | median | 90 % | repeated |", "|" + "---|" * 7]

    def row(name: str, values: np.ndarray, repeated: np.ndarray) -> None:
        low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
        same = f"{_good(repeated):.0%} of {repeated.size}" if repeated.size else ""
        lines.append(
            f"| {name} | {values.size} | {_good(values):.0%} | {low:.2f} | {middle:.2f} | {high:.2f} | {same} |"
        )

    chosen = np.array([r["predicted"][r["chosen"]] / r["measured"][r["chosen"]] for r in records])
    row("of the choice", chosen, _repeated(records, chosen=True))
    for method in sorted({m for r in records for m in r["measured"]}):
        row(method, ratios(records, method), _repeated(records, method))
    for group, members in _groups(records).items():
        row(group, ratios(members), _repeated(members))
    return lines


def _repeated(records: Sequence[Record], method: str | None = None, *, chosen: bool = False) -> np.ndarray:
    return np.array(
        [
            t / r["measured"][m]
            for r in records
            for m, t in r.get("again", {}).items()
            if m in r["measured"] and method in (None, m) and (m == r["chosen"] or not chosen)
        ]
    )


def _good(values: np.ndarray) -> float:
    return float(np.mean((values > 1 - NEAR) & (values < 1 + NEAR)))


def worst(records: Sequence[Record]) -> list[str]:
    """Return the table of the worst choices."""
    lines = ["| worst choices | shape | dtype | regret | chosen | milliseconds |", "|" + "---|" * 6]
    for record in sorted(records, key=lambda record: -record["regret"])[:WORST]:
        shape = "x".join(map(str, record["shape"]))
        times = ", ".join(f"{m} {1e3 * t:.3g}" for m, t in record["measured"].items())
        lines.append(
            f"| {record['kernel']} | {shape} | {record['dtype']} | {record['regret']:.2f} "
            f"| {record['chosen']} | {times} |"
        )
    return lines


if __name__ == "__main__":
    main()
