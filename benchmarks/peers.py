"""Compare with other libraries in one run: ``python -m benchmarks.peers``.

All libraries get the same arrays, take turns call by call, and are checked against a float64 sum.  A copy of the array
is timed, too, since no filter can be faster.  Results are written to ``benchmarks/results``: ``peers.json`` with the
machine and the versions, ``peers.md``, and plots (`benchmarks.plots`).  ``--readme`` writes stored results to
README.md, between its markers.

``--target haswell`` compiles numbasep for that processor, in a separate process; results are written to
``peers_haswell.json`` and ``peers_haswell.md``.  The other libraries use all features of this machine.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import numbasep
from numbasep.demo.measure import take_turns
from numbasep.lowering.target import host_target
from numbasep.planning.machine import cpu_name

from . import common, libraries, plots, tables
from .common import TARGETS, Array
from .libraries import Task

RESULTS = Path(__file__).parent / "results"
Record = dict[str, Any]

TYPES = ("float32", "uint8", "uint16", "float64")
GROUPS = (
    *(f"separable {dtype}" for dtype in TYPES),
    "dense float32",
    "volume float32",
)  # as tables list them
SEPARABLE_TAPS = (3, 5, 9, 17, 31, 65)
DENSE_TAPS = (3, 5, 7, 9, 11, 15)
VOLUME_TAPS = (5, 9, 17)
PAUSE = 0.02  # seconds before each call
CORNER = 192  # the result is compared with a float64 sum in this many rows and columns of a corner


def main(argv: Sequence[str] | None = None) -> None:
    """Run the comparison, or only write stored results to the README."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=4096, help="rows and columns of the images")
    parser.add_argument("--cube", type=int, default=256, help="edge of the volumes")
    parser.add_argument("--repeat", type=int, default=9, help="rounds, of which the median counts")
    parser.add_argument("--groups", nargs="*", help="only the groups whose names contain one of these words")
    parser.add_argument("--taps", type=int, nargs="*", help="only these numbers of taps")
    parser.add_argument(
        "--append", action="store_true", help="keep what is stored and not measured again by this run"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    parser.add_argument(
        "--readme", action="store_true", help="write the stored results into README.md; run nothing"
    )
    parser.add_argument(
        "--target", default="", choices=sorted(TARGETS), help="compile numbasep as for this processor"
    )
    arguments = parser.parse_args(argv)
    if arguments.readme:
        tables.update_readme(stored(arguments.results), targets=stored_for_targets(arguments.results))
        return
    common.compile_for(arguments.target, "benchmarks.peers", argv)
    stem = f"peers_{arguments.target}" if arguments.target else "peers"
    measured = run(arguments.side, arguments.cube, arguments.repeat, arguments.groups, arguments.taps)
    if arguments.append:
        measured = merged(stored(arguments.results, stem), measured)
    write(arguments.results, measured, stem)


def stored(folder: Path, stem: str = "peers") -> dict[str, Any]:
    """Return the results of an earlier run."""
    measured: dict[str, Any] = json.loads((folder / f"{stem}.json").read_text(encoding="utf-8"))
    return measured


def stored_for_targets(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results of earlier runs for other processors, by name."""
    found = [name for name in TARGETS if (folder / f"peers_{name}.json").is_file()]
    return {name: stored(folder, f"peers_{name}") for name in found}


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the new records, and the old ones whose group, threads and taps were not measured again.

    Raises
    ------
    ValueError
        If machine, versions or sizes differ, so that the figures cannot be compared.
    """
    for what in ("machine", "versions", "side", "cube"):
        if old[what] != new[what]:
            raise ValueError(f"stored results have another {what}: {old[what]}, now {new[what]}")

    def problem(record: Record) -> tuple[str, int, int]:
        return record["group"], record["threads"], record["taps"]

    def place(record: Record) -> tuple[int, int, int]:
        group, threads, taps = problem(record)
        return GROUPS.index(group), -threads, taps

    again = {problem(record) for record in new["records"]}
    kept = [record for record in old["records"] if problem(record) not in again]
    peak = max(old["gigaflops"], new["gigaflops"])  # a ceiling: what disturbs can only lower it
    records = sorted(kept + new["records"], key=place)
    return {**old, **new, "gigaflops": peak, "records": records}


def run(
    side: int, cube: int, repeat: int, groups: Sequence[str] | None = None, taps: Sequence[int] | None = None
) -> dict[str, Any]:
    """Measure every task on all threads, and the separable float32 and uint8 ones on one thread too."""
    records: list[Record] = []
    for task in tasks(side, cube):
        if (groups and not any(word in task.group for word in groups)) or (taps and task.size not in taps):
            continue
        for count in (None, 1) if task.group in ("separable float32", "separable uint8") else (None,):
            found = measure(task, count, repeat)
            records.extend(found)
            fastest = ", ".join(f"{r['call']} {r['milliseconds']:.2f} ms" for r in found)
            print(f"{task.group}, {task.size} taps, {count or 'all'} threads: {fastest}", flush=True)
    return {
        "machine": machine(),
        "versions": libraries.versions(),
        "side": side,
        "cube": cube,
        "gigaflops": gigaflops(),
        "records": records,
    }


def tasks(side: int, cube: int) -> Iterator[Task]:
    """Yield the convolutions, group by group."""
    for dtype in TYPES:
        array = common.image(side, side, dtype=dtype)
        for taps in SEPARABLE_TAPS:
            yield Task(f"separable {dtype}", array, common.gaussian(taps), common.gaussian_taps(taps))
    array = common.image(side, side)
    for taps in DENSE_TAPS:
        yield Task("dense float32", array, common.random_kernel(taps), None)
    volume = common.image(cube, cube, cube)
    for taps in VOLUME_TAPS:
        yield Task("volume float32", volume, common.gaussian(taps, ndim=3), common.gaussian_taps(taps))


def measure(task: Task, count: int | None, repeat: int) -> list[Record]:
    """Return one record for each library's call, and one for the copy."""
    workers = count or os.cpu_count() or 1
    with libraries.threads(count), copying(task.array, workers) as copy:
        calls = libraries.all_calls(task, count)
        differences = {name: difference(call(), task) for name, call in calls.items()}
        seconds = take_turns({**calls, tables.COPY: copy}, repeat, PAUSE)
    records: list[Record] = [
        {
            "group": task.group,
            "taps": task.size,
            "threads": workers,
            "call": name,
            "milliseconds": 1e3 * seconds[name],
            "difference": differences.get(name, 0.0),
        }
        for name in seconds
    ]
    chosen = numbasep.plan(task.kernel, task.array.shape, task.array.dtype, workers=count).choice.chosen
    ours = next(record for record in records if tables.column(record) == "numbasep")
    ours |= {
        "elements": task.array.size,
        "operations": chosen.operations,
        "bytes": 2 * task.array.itemsize,
        "error bound": chosen.error_bound,
    }
    return records


def difference(result: Array, task: Task) -> float:
    """Return the largest difference to a float64 sum, relative to ``||K||_1 max|x|``.

    It is computed in a corner, without the border, where boundary modes of the libraries may differ.
    """
    from scipy import ndimage

    reach = task.size // 2
    most = CORNER if task.array.ndim == 2 else 24
    corner = tuple(slice(reach, min(most, length - reach)) for length in task.array.shape)
    wide = tuple(slice(0, c.stop + reach) for c in corner)
    expected = task.array[wide].astype(np.float64)
    if task.taps is not None:
        for axis in range(task.array.ndim):
            expected = ndimage.correlate1d(expected, task.taps, axis)
    else:
        expected = ndimage.convolve(expected, task.kernel.astype(np.float64))
    scale = np.abs(task.kernel).sum(dtype=np.float64) * np.abs(task.array[wide].astype(np.float64)).max()
    return float(np.abs(result[corner] - expected[corner]).max() / scale)


@contextlib.contextmanager
def copying(source: Array, count: int) -> Iterator[Callable[[], Array]]:
    """Yield a call that copies an array on `count` threads: no filter can be faster."""
    target = np.empty_like(source)
    rows = len(source)
    strips = [slice(rows * i // count, rows * (i + 1) // count) for i in range(count)]

    with concurrent.futures.ThreadPoolExecutor(count) as pool:

        def copy() -> Array:
            list(pool.map(lambda strip: np.copyto(target[strip], source[strip]), strips))
            return target

        yield copy


def gigaflops(size: int = 1536) -> float:
    """Return the float32 rate of NumPy's matrix product on all cores, in 1e9 operations per second.

    This is the ceiling of the roofline, as few programs are closer to a processor's peak.
    """
    a = common.image(size, size)
    seconds = take_turns({"product": lambda: a @ a}, 5)["product"]
    return 2 * size**3 / seconds / 1e9


def machine() -> dict[str, Any]:
    """Return a description of the machine."""
    target = host_target()
    return {
        "cpu": cpu_name(),
        "target": f"numbasep compiled for {os.environ.get('NUMBA_CPU_NAME', 'this processor')}, "
        f"vectors of {target.vector_bytes} bytes",
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def write(folder: Path, measured: dict[str, Any], stem: str = "peers") -> None:
    """Write the JSON, the Markdown and, for this processor and if Matplotlib is installed, the plots."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    (folder / f"{stem}.md").write_text(tables.full_report(measured), encoding="utf-8")
    if stem == "peers" and libraries.installed("matplotlib"):
        plots.write_peers(measured, folder)


if __name__ == "__main__":
    main()
