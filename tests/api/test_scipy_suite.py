"""SciPy's test_filters.py, as installed, on numbasep's functions: the referee of "drop-in"."""

import collections
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import numbasep as nsp
from tests.api.scipy_suite.plugin import NAMES

TESTS = Path(__file__).parent

# Each deliberate deviation: a pattern of SciPy's test names, and the reason. Nothing else may fail, and a
# pattern that matches no failure is an error, too. Of the 1,830 tests of SciPy 1.17 these are 13.
DEVIATIONS = {
    r"test_correlate_mode_sequence": "1 test: a sequence of modes is allowed for dense kernels, too",
    r"test_(sobel|prewitt)0[123]\[numpy-uint64": (
        "6 tests: nothing is stored between the axes. In SciPy a negative difference wraps round there to almost "
        "2**64, and the sum of such numbers, in float64, is beyond uint64: what C makes of it is not defined"
    ),
    r"test_gaussian_laplace0[12]\[numpy-(float32|complex64)": (
        "4 tests: one pass with float32 sums instead of two filters whose results are stored in float32 and added. "
        "The test is for 1.5e-6 at values of 100, where the next float32 is 8e-6 away: for the same bits"
    ),
    r"test_multiple_modes_sequentially": "1 test: one pass instead of two, and the test is for equal last bits",
    r"test_gaussian_filter_float16": "1 test: float16 is supported, where SciPy raises",
}
MOST_DEVIATIONS = 13


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run of SciPy's tests in a process of its own."""
    pytest.importorskip("scipy.ndimage.tests", reason="this SciPy was installed without its tests")
    folder = tmp_path_factory.mktemp("scipy_suite")
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [
        sys.executable, "-m", "pytest", "-c", str(folder / "pytest.ini"), "-p", "scipy_suite.plugin", "-q",
        "-p", "no:cacheprovider", "--tb=short", "--pyargs", "scipy.ndimage.tests.test_filters",
    ]  # fmt: skip
    paths = [str(TESTS), str(TESTS.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in paths if p),
        "NUMBASEP_SCIPY_REPORT": str(folder / "report.json"),
    }
    for name in ("SCIPY_ARRAY_API", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (folder / "report.json").exists(), done.stdout[-3000:] + done.stderr[-3000:]
    result: dict[str, Any] = json.loads((folder / "report.json").read_text())
    assert result["outcomes"], done.stdout[-3000:] + done.stderr[-3000:]
    return result


@pytest.mark.slow
def test_scipys_tests_pass(report: dict[str, Any]) -> None:
    failed = [name for name, outcome in report["outcomes"].items() if outcome == "failed"]
    surprises = [name for name in failed if not any(re.search(pattern, name) for pattern in DEVIATIONS)]
    counts = collections.Counter(report["outcomes"].values())
    details = "\n\n".join(f"{name}\n{report['messages'][name]}" for name in surprises[:20])
    assert not surprises, (
        f"{dict(counts)}; {len(surprises)} not expected:\n" + "\n".join(surprises) + "\n" + details
    )


@pytest.mark.slow
def test_no_more_tests_fail_than_are_listed(report: dict[str, Any]) -> None:
    failed = [name for name, outcome in report["outcomes"].items() if outcome == "failed"]
    assert len(failed) <= MOST_DEVIATIONS, failed


@pytest.mark.slow
def test_no_deviation_is_listed_in_vain(report: dict[str, Any]) -> None:
    failed = [name for name, outcome in report["outcomes"].items() if outcome == "failed"]
    for pattern in DEVIATIONS:
        assert any(re.search(pattern, name) for name in failed), f"{pattern} matches no failing test"


@pytest.mark.slow
def test_the_run_was_a_real_one(report: dict[str, Any]) -> None:
    """Every function was swapped and called, in more than a thousand tests, and each test did call one."""
    assert not report["missing"]
    assert set(report["calls"]) == set(NAMES)
    passed = [name for name, outcome in report["outcomes"].items() if outcome == "passed"]
    assert len(passed) >= 1500
    assert "skipped" not in report["outcomes"].values()
    assert report["idle"] == []


@pytest.mark.slow
def test_no_scipy_c_filter_is_called(report: dict[str, Any]) -> None:
    assert report["c_calls"] == []


def test_the_guard_would_notice(tmp_path: Path) -> None:
    """The proof above must be able to fail: SciPy's own function, swapped in, is caught."""
    program = (
        "from scipy import ndimage; from scipy_suite import plugin; original = ndimage.correlate1d;"
        "plugin.install(); plugin.swapped('correlate1d', original)([1., 2, 3], [1., 1]);"
        "print(plugin.record.c_calls)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parents[1])])}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['correlate1d']"


@pytest.mark.parametrize("name", NAMES)
def test_signatures(name: str) -> None:
    """SciPy's parameters, in SciPy's order, with SciPy's defaults; anything new is keyword-only."""
    theirs = inspect.signature(getattr(ndimage, name)).parameters
    ours = inspect.signature(getattr(nsp, name)).parameters
    assert list(ours)[: len(theirs) - ("kwargs" in theirs)] == [p for p in theirs if p != "kwargs"]
    for key, parameter in theirs.items():
        assert key in ours
        assert ours[key].kind == parameter.kind, key
        assert ours[key].default == parameter.default, key
    for key, parameter in ours.items():
        if key not in theirs:
            assert parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD), key
    for key in ("method", "rtol", "workers", "device", "nan_policy", "mask", "cast"):
        assert key in ours
        assert ours[key].default == {"method": "auto", "nan_policy": "propagate", "cast": "truncate"}.get(key)
    if "gaussian" in name:
        assert ours["spacing"].default is None


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_have_runnable_examples(name: str) -> None:
    text = getattr(nsp, name).__doc__
    assert "Parameters\n" in text
    assert "Returns\n" in text
    assert "Examples\n" in text
    assert ">>>" in text


def test_swapping_needs_one_line() -> None:
    """`import numbasep as ndimage` runs an old script."""
    for module in (ndimage, nsp):
        image = np.arange(48, dtype=np.float32).reshape(6, 8)
        smooth = module.gaussian_filter(image, 1.0)
        edges = np.hypot(module.sobel(smooth, 0), module.sobel(smooth, 1))
        if module is ndimage:
            expected = edges
    np.testing.assert_allclose(edges, expected, rtol=1e-5)
