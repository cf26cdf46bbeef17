"""Measures the constants that are shipped with the package: ``python -m benchmarks.reference``.

It calibrates several times, with undisturbed measurements only, takes the median of every constant, and writes the
entry for this target's vector width in ``numbasep/planning/reference.py``; other entries are kept.  ``--show`` only
prints how much the constants of the runs differ.

Steps, memory and threads can be fitted to a larger sample of passes that `benchmarks.prices` measured:

    python -m benchmarks.prices --sample fitted --records fitted.jsonl --budget 300
    python -m benchmarks.reference --runs 0 --passes fitted.jsonl
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from llvmlite import binding

import numbasep
from numbasep.calibration import fitting, trials
from numbasep.lowering.target import Target, host_target
from numbasep.planning import machine, reference
from numbasep.planning.cost import Work
from numbasep.planning.machine import Machine

from . import calm, prices

MODULE = Path(numbasep.__file__).parent / "planning" / "reference.py"
SAMPLES = 7  # undisturbed samples of each call, or fewer ...
PATIENCE = 0.5  # ... after this many seconds
NAME = "reference ({kind}, {threads} cores)"
HEAD = '''"""Shipped constants of machines, written by ``python -m benchmarks.reference``.

The fields are those of `numbasep.planning.machine.Machine`; each has an entry for each vector width.
"""

from typing import Any

'''
TAIL = '''
CONSTANTS: dict[int, tuple[tuple[dict[str, float], ...], dict[str, Any]]] = {
    width: (
        tuple({name: entries[n][double] for name, entries in STEPS.items()} for double in range(2)),
        {name: entries[n] for name, entries in FIELDS.items()},
    )
    for n, width in enumerate(WIDTHS)
}
"""Vector width in bytes -> (seconds per step in float32 and in float64, other fields)."""
'''


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reference", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--runs", type=int, default=7, help="calibrations, of which the median counts")
    parser.add_argument(
        "--patience", type=float, default=600.0, help="seconds after which no further one begins"
    )
    parser.add_argument(
        "--only", nargs="*", help="write these constants, leave the others as they are: steps, for example"
    )
    parser.add_argument("--show", action="store_true", help="only print how far the runs lie apart")
    parser.add_argument(
        "--passes", type=Path, help="measurements that steps, memory and threads are fitted to"
    )
    arguments = parser.parse_args(argv)
    if arguments.passes and not arguments.runs:
        write(fit(arguments.passes, machine.REFERENCE))
        return
    runs = calm_runs(arguments.runs, arguments.patience)
    if not runs:
        raise SystemExit("no run: nothing is written")
    print(f"{len(runs)} runs")
    fields = {field.name: [getattr(run, field.name) for run in runs] for field in dataclasses.fields(Machine)}
    for name, values in fields.items():
        print(f"{name:24s} {spread(values)}")
    if not arguments.show:
        found = middle(runs)
        if arguments.only:
            named = {name: getattr(found, name) for name in arguments.only}
            found = dataclasses.replace(machine.REFERENCE, **named)
        write(fit(arguments.passes, found) if arguments.passes else found)


def write(found: Machine) -> None:
    """Write these constants to the package, for this target."""
    MODULE.write_text(source(found, host_target().vector_bytes), encoding="utf-8")


def fit(records: Path, known: Machine) -> Machine:
    """Return `known` with steps, memory and threads fitted to undisturbed passes that `benchmarks.prices` measured."""
    alone: list[tuple[tuple[bool, tuple[Work, ...]], float]] = []
    shared: list[tuple[tuple[bool, tuple[Work, ...]], float]] = []
    for record in prices.load(records):
        for method, route in record["routes"].items():
            for one, double, work in works(prices.case_of(record), method, route["passes"]):
                seconds = min(one[3:])
                if seconds >= prices.SMALLEST:
                    many = work.shared and record["case"][-1] is None
                    (shared if many else alone).append(((double, (work,)), seconds))
    found = fitting.fit_alone(*zip(*alone, strict=True), 0.0, known)
    found = fitting.fit_shared(*zip(*shared, strict=True), 0.0, found) if shared else found
    name = NAME.format(kind=kind_of(host_target()), threads=found.threads)
    return dataclasses.replace(found, name=name)


def works(case: prices.Case, method: str, timed: Sequence[Any]) -> Iterator[tuple[Any, bool, Work]]:
    """Yield the measured passes of a route with their work in steps; none if other passes would run now."""
    plan = prices.planned(case, method)
    passes = plan.choice.chosen.passes
    if [(one.kernel, one.operations) for one in passes] == [(one[0], one[1]) for one in timed]:
        double = plan.problem.real_dtype.itemsize == 8
        yield from (
            (one, double, planned.work) for one, planned in zip(timed, passes, strict=True) if planned.work
        )


def calm_runs(count: int, patience: float) -> list[Machine]:
    """Return calibrations from undisturbed measurements, by `calm`."""
    warnings.simplefilter("ignore", RuntimeWarning)  # of a busy machine: the probe is more precise
    numbasep.calibrate(store=False)  # compiles
    probe = calm.Probe(1)
    probe.clock = time.perf_counter  # calls on all threads are timed, too
    usual, trials.seconds = trials.seconds, functools.partial(undisturbed, probe)
    runs: list[Machine] = []
    stop = time.perf_counter() + patience
    try:
        while len(runs) < count and time.perf_counter() < stop:
            measured = numbasep.calibrate(store=False)
            assert isinstance(measured, Machine)
            runs.append(measured)
    finally:
        trials.seconds = usual
    return runs


def undisturbed(probe: calm.Probe, call: Callable[[], Any]) -> float:
    """Return the median seconds of `call` over undisturbed samples, corrected for the slowness of the probe."""
    call()  # compiles
    stop = time.perf_counter() + PATIENCE
    samples: list[float] = []
    while len(samples) < SAMPLES and (time.perf_counter() < stop or not samples):
        taken = probe.time(call, warm=True)
        if taken is not None:
            samples.append(taken[0])
    return statistics.median(samples)


def middle(runs: Sequence[Machine]) -> Machine:
    """Return the median of every constant."""
    fields = {
        field.name: median([getattr(run, field.name) for run in runs])
        for field in dataclasses.fields(Machine)
    }
    threads = runs[0].threads
    plain = {
        "name": NAME.format(kind=kind_of(host_target()), threads=threads), "threads": threads,
        "registers": runs[0].registers,
    }  # fmt: skip
    return Machine(**(fields | plain))


def kind_of(target: Target) -> str:
    """Return the name of a target."""
    if not binding.get_default_triple().startswith("x86_64"):
        return f"{platform.machine()}, vectors of {target.vector_bytes} bytes"
    return f"x86-64 with {({64: 'AVX-512', 32: 'AVX2'}).get(target.vector_bytes, 'SSE')}"


def median(values: Sequence[Any]) -> Any:
    """Return the median of numbers, or of tuples entry by entry."""
    if isinstance(values[0], tuple):
        made = [median(entries) for entries in zip(*values, strict=True)]
        return machine.Steps(*made) if isinstance(values[0], machine.Steps) else tuple(made)
    return values[0] if isinstance(values[0], str | bool) else statistics.median(values)


def spread(values: Sequence[Any]) -> str:
    """Return the ratio of the largest to the smallest of each number."""
    if isinstance(values[0], tuple):
        return "(" + " ".join(spread(entries) for entries in zip(*values, strict=True)) + ")"
    if isinstance(values[0], str | bool):
        return "-"
    return f"{max(values) / min(values):.2f}"


def source(found: Machine, vector_bytes: int) -> str:
    """Return the source of the module with these constants for a vector width, and the stored ones for others."""
    fields = {
        field.name: _rounded(getattr(found, field.name))
        for field in dataclasses.fields(Machine)
        if field.name != "steps"
    }
    entry = (tuple(units._asdict() for units in _rounded(found.steps)), fields)
    entries = dict(sorted({**reference.CONSTANTS, vector_bytes: entry}.items(), reverse=True))
    steps = {
        name: tuple(tuple(units[name] for units in both) for both, _ in entries.values())
        for name in machine.Steps._fields
    }
    others = {name: tuple(made[name] for _, made in entries.values()) for name in fields}
    tables = {
        "STEPS": f"dict[str, tuple[tuple[float, float], ...]] = {steps}",
        "FIELDS": f"dict[str, Any] = {others}",
    }
    described = "".join(f"{name}: {table}\n" for name, table in tables.items())
    return _formatted(
        f"{HEAD}WIDTHS = {tuple(entries)}  # bytes of a vector, in the order of all entries\n{described}{TAIL}"
    )


def _formatted(text: str) -> str:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--config", "line-length = 110", "-"],
        input=text, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        made = [_rounded(entry) for entry in value]
        return machine.Steps(*made) if isinstance(value, machine.Steps) else tuple(made)
    return float(f"{value:.3g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
