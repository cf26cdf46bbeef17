"""Options, markers and hypothesis profiles of the whole suite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from numbasep import storage

# "ci" repeats: the same examples in every run, and no deadline, since the first call of a kernel compiles it.
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
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

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
NEEDS_SPEED = "test_no_copy_of_the_whole_array"  # large arrays

if os.environ.get("NUMBA_DISABLE_JIT") == "1":
    np.seterr(all="ignore")  # lanes beyond a tile hold anything and are thrown away; hardware does not warn


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gpu", action="store_true", help="run the tests that need a CUDA device")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in WITHOUT_JIT and not item.name.startswith(NEEDS_SPEED):
            item.add_marker(pytest.mark.jitoff)
    if config.getoption("--gpu"):
        return
    skip = pytest.mark.skip(reason="needs a CUDA device: run with --gpu")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


# ------------------------------------------------------------------------------ compiling ahead
# Most of a first run is compiling, on one core. A process on another compiles what many tests need, and they find it
# in the cache on disk; whatever it has not done yet, tests compile as ever.
MANY = 3000  # tests from which that pays
TYPES = [
    "complex128", "complex64", "uint64", "int64", "uint32", "int32", "int8", "int16", "float16", "uint16", "float64",
    "uint8", "float32",
]  # fmt: skip
_ahead: list[subprocess.Popen[bytes]] = []


def pytest_collection_finish(session: pytest.Session) -> None:
    compiles = os.environ.get("NUMBA_DISABLE_JIT") != "1" and not SIMULATED
    compiles &= "PYTEST_XDIST_WORKER" not in os.environ  # several processes compile as they are
    if compiles and len(session.items) >= MANY and (os.cpu_count() or 1) > 1:
        program = f"import os, numbasep; os.nice(5); numbasep.warmup({TYPES}, processes=1)"
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        _ahead.append(subprocess.Popen([sys.executable, "-c", program], **quiet))


def pytest_unconfigure() -> None:
    for process in _ahead:
        process.kill()
        process.wait()
    _ahead.clear()
    for folder in _temporary:
        folder.cleanup()
    _temporary.clear()


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


def _simulate(session: pytest.Session) -> None:
    tests = [item.nodeid for item in session.items if "cudasim" in item.keywords]
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
    if path and (report.when == "call" or report.outcome != "passed"):
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
    if not _outcomes:
        _simulate(pyfuncitem.session)
    outcome, text = _outcomes[pyfuncitem.nodeid]
    if outcome == "failed":
        pytest.fail(f"in the simulator's process:\n{text}", pytrace=False)
    if outcome == "skipped":
        pytest.skip(text)
    return True
