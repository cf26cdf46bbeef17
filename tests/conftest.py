"""Options, markers and hypothesis profiles of the whole suite."""

import collections
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from numbasep.system import storage
from tests.support.cuda_emulated import gpu as gpu  # a fixture

# "ci" repeats: the same examples in every run, and no deadline, since the first call of a kernel compiles it. "few" is
# that of a run without the slow tests.
hypothesis.settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.register_profile(
    "explore", parent=hypothesis.settings.get_profile("ci"), derandomize=False, max_examples=2000
)
hypothesis.settings.register_profile(
    "long", parent=hypothesis.settings.get_profile("explore"), max_examples=10_000
)
hypothesis.settings.register_profile("few", parent=hypothesis.settings.get_profile("ci"), max_examples=15)


def pytest_configure(config: pytest.Config) -> None:
    if config.option.markexpr == NOT_SLOW and any("::" in name for name in config.args):
        config.option.markexpr = ""  # whoever names a test means it
    profile = "few" if NOT_SLOW in config.option.markexpr else "ci"
    hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", profile))


os.environ.setdefault("MPLBACKEND", "Agg")  # also for the subprocesses that tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # tests, and processes that inherit it, interrupt calls


# Where nothing can be kept, the first call warns, and warnings are errors here. Such a run gets a folder of its own, as
# the warning advises; `test_storage.py` is about the warning. Processes that the tests start inherit the folder.
_temporary: list[tempfile.TemporaryDirectory[str]] = []
try:
    probe = storage.folder() / f"probe-{os.getpid()}"
    storage.write(probe, b"")
    probe.unlink()
except OSError:
    _temporary.append(tempfile.TemporaryDirectory(prefix="numbasep-tests-", ignore_cleanup_errors=True))
    os.environ[storage.DIRECTORY_VARIABLE] = _temporary[0].name

# With NUMBA_DISABLE_JIT=1 each word of the kernels is a NumPy slice: slow, but an index out of bounds is an
# error there. This file puts the kernels through every memory layout; others join by the marker.
WITHOUT_JIT = {"test_layouts.py"}
# Large arrays; of byte-swapped outputs, small ones run.
NEEDS_SPEED = ("test_no_copy_of_the_whole_array", "test_byte_swapped_outputs")

if os.environ.get("NUMBA_DISABLE_JIT") == "1":
    np.seterr(all="ignore")  # lanes beyond a tile hold anything and are thrown away; hardware does not warn


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gpu", action="store_true", help="run the tests that need a CUDA device")


NOT_SLOW = "not slow"  # the expression of a run that names none: pyproject.toml


def _enough(combinations: Sequence[dict[str, Any]]) -> set[int]:
    """Places of combinations in which every parameter takes each of its values, few of them and mixed."""
    singles = [[(name, id(value)) for name, value in found.items()] for found in combinations]
    pairs = [list(itertools.combinations(values, 2)) for values in singles]
    used: collections.Counter[Any] = collections.Counter()
    missing = {value for values in singles for value in values}
    taken: set[int] = set()
    while missing:
        best = max(
            range(len(singles)),
            key=lambda i: (
                len(missing.intersection(singles[i])),
                -sum(used[value] for value in singles[i]),
                -sum(used[pair] for pair in pairs[i]),
            ),
        )
        taken.add(best)
        missing.difference_update(singles[best])
        used.update([*singles[best], *pairs[best]])
    return taken


def _mark_slow(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """What is left of thinned tests is slow; tests that draw examples are, where they draw more than few of them."""
    thinned: dict[str, list[Any]] = {}
    for item in items:
        if "hypothesis" in item.keywords and NOT_SLOW not in config.option.markexpr:
            item.add_marker(pytest.mark.slow)
        if (
            "cudasim" in item.keywords and not SIMULATED
        ):  # CI runs them in the simulator's own process, before
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("thinned") and not item.get_closest_marker("slow"):
            thinned.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for combinations in thinned.values():
        enough = _enough([item.callspec.params for item in combinations])
        for place, item in enumerate(combinations):
            if place not in enough:
                item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _mark_slow(config, items)
    for item in items:
        if item.path.name in WITHOUT_JIT and not item.name.startswith(NEEDS_SPEED):
            item.add_marker(pytest.mark.jitoff)
    if config.getoption("--gpu"):
        return
    skip = pytest.mark.skip(reason="needs a CUDA device: run with --gpu")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


# ------------------------------------------------------------------------------ on all cores
# Most of a first run is compiling, so a run of whole folders is shared between as many processes as there are cores;
# what one of them compiles, the others find in the cache on disk. Named files and tests run in this process.
WORKER = "PYTEST_XDIST_WORKER" in os.environ

if WORKER:
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # threads that wait leave the cores to the other processes


def pytest_unconfigure() -> None:
    for folder in _temporary:
        folder.cleanup()
    _temporary.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    if WORKER or not config.pluginmanager.hasplugin("xdist") or config.option.numprocesses is not None:
        return
    folders = all(Path(config.invocation_params.dir, str(name)).is_dir() for name in config.args)
    if folders and not config.option.tx and not config.getoption("--gpu"):  # there is one device
        config.option.numprocesses = "logical"  # "auto" counts physical cores: of two hardware threads, one
        if config.option.dist == "no":
            config.option.dist = "loadfile"


# ------------------------------------------------------------------------------ the CUDA simulator
# Numba decides at import whether it simulates, so tests marked `cudasim` run in a process of their own: it is started
# for the first of them, runs all that were selected, and each test here takes its outcome from there.
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
OUTCOMES = "NUMBASEP_SIMULATED_OUTCOMES"  # where the simulator's process writes them
SIMULATED_BEFORE = os.environ.get(
    "NUMBASEP_SIMULATED_BEFORE"
)  # where a run before this one did, of the same tests
_outcomes: dict[str, tuple[str, str]] = {}


def _read_outcomes(report: Path) -> None:
    for line in report.read_text().splitlines() if report.exists() else ():
        nodeid, outcome, text = json.loads(line)
        if outcome != "passed" or nodeid not in _outcomes:
            _outcomes[nodeid] = (outcome, text)


def _simulate(session: pytest.Session, path: Path) -> None:
    """Run the tests of one file: files are what processes of a test run share out."""
    tests = [item.nodeid for item in session.items if "cudasim" in item.keywords and item.path == path]
    ended = ""
    if SIMULATED_BEFORE:
        _read_outcomes(Path(SIMULATED_BEFORE))
    else:
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "outcomes")
            environment = {
                **os.environ,
                "NUMBA_ENABLE_CUDASIM": "1",
                OUTCOMES: str(report),
                "PYTEST_ADDOPTS": "",
            }
            environment.pop("PYTEST_XDIST_WORKER", None)
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                "-m",
                "cudasim",
                *tests,
            ]
            done = subprocess.run(
                command,
                cwd=session.config.rootpath,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            ended = f"{done.stdout}{done.stderr}"
            _read_outcomes(report)
    for nodeid in tests:
        _outcomes.setdefault(nodeid, ("failed", f"the simulator's process ended early\n{ended}"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    path = os.environ.get(OUTCOMES)
    if path and not WORKER and (report.when == "call" or report.outcome != "passed"):
        text = (
            report.longrepr[2]
            if report.skipped and isinstance(report.longrepr, tuple)
            else report.longreprtext
        )
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps([report.nodeid, report.outcome, text]) + "\n")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if SIMULATED or "cudasim" not in pyfuncitem.keywords:
        return None
    if pyfuncitem.nodeid not in _outcomes:
        _simulate(pyfuncitem.session, pyfuncitem.path)
    outcome, text = _outcomes[pyfuncitem.nodeid]
    if outcome == "failed":
        pytest.fail(f"in the simulator's process:\n{text}", pytrace=False)
    if outcome == "skipped":
        pytest.skip(text)
    return True
