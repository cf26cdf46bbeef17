"""A pytest plugin that puts numbasep's functions into `scipy.ndimage` before SciPy's tests are collected.

Loaded with ``-p scipy_suite.plugin`` in a process of its own.  It keeps the tests that use the swapped
functions, counts the calls of each, and notes every SciPy C filter that runs inside one of them.  The outcome
goes, as JSON, to the file named by NUMBASEP_SCIPY_REPORT.
"""

import collections
import functools
import inspect
import json
import os
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from scipy import ndimage
from scipy.ndimage import _nd_image

NAMES = (
    "convolve",
    "correlate",
    "convolve1d",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "uniform_filter",
    "uniform_filter1d",
    "sobel",
    "prewitt",
    "laplace",
    "gaussian_laplace",
    "gaussian_gradient_magnitude",
    "generic_laplace",
    "generic_gradient_magnitude",
)
HELPERS = ("_validate_complex", "_complex_correlate")  # test methods that reach the functions through these


class Depth(threading.local):
    """How many swapped functions are running in this thread."""

    value = 0


class Record:
    """What happened."""

    def __init__(self) -> None:
        self.calls: collections.Counter[str] = collections.Counter()
        self.c_calls: list[str] = []
        self.outcomes: dict[str, str] = {}
        self.messages: dict[str, str] = {}
        self.idle: list[str] = []
        self.deselected = 0
        self.missing: list[str] = []


record, depth = Record(), Depth()


def swapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, counting its calls."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        record.calls[name] += 1
        depth.value += 1
        try:
            return function(*args, **kwargs)
        finally:
            depth.value -= 1

    return wrapper


def guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A SciPy C function that notes when it is called from inside a swapped one."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if depth.value:
            record.c_calls.append(name)
        return function(*args, **kwargs)

    return wrapper


def install() -> None:
    """Guard SciPy's C functions, then swap ours in."""
    for name, function in list(vars(_nd_image).items()):
        if callable(function) and not name.startswith("_") and not isinstance(function, type):
            setattr(_nd_image, name, guarded(name, function))
    import numbasep

    try:
        from scipy._lib._array_api import xp_capabilities_table as capabilities
    except ImportError:  # before SciPy 1.16
        capabilities = {}
    for name in NAMES:
        original = getattr(ndimage, name)
        try:
            wrapper = swapped(name, getattr(numbasep, name))
        except AttributeError:
            record.missing.append(name)
            continue
        if original in capabilities:
            capabilities[wrapper] = capabilities[original]
        setattr(ndimage, name, wrapper)


def uses_swapped(item: pytest.Item) -> bool:
    """Whether a test is about one of the swapped functions."""
    parameters = getattr(item, "callspec", None)
    names = set()
    for value in (parameters.params if parameters else {}).values():
        function = getattr(value, "func", value)
        if callable(function) and hasattr(ndimage, getattr(function, "__name__", "")):
            names.add(function.__name__)
    if names:
        return names <= set(NAMES)
    source = inspect.getsource(item.function)  # type: ignore[attr-defined]
    used = set(re.findall(r"ndimage\.(\w+)", source))
    return bool(used & set(NAMES)) or any(helper in source for helper in HELPERS)


def pytest_configure(config: pytest.Config) -> None:
    install()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = [item for item in items if uses_swapped(item)]
    dropped = [item for item in items if item not in set(kept)]
    record.deselected = len(dropped)
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    before = sum(record.calls.values())
    try:
        return (yield)
    finally:
        if sum(record.calls.values()) == before:
            record.idle.append(item.nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    name = report.nodeid.split("::", 1)[-1]
    if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
        record.outcomes[name] = report.outcome
    if report.failed:
        record.outcomes[name] = "failed"
        record.messages[name] = str(report.longrepr)[-1500:]


def pytest_sessionfinish(session: pytest.Session) -> None:
    with open(os.environ["NUMBASEP_SCIPY_REPORT"], "w") as stream:
        json.dump(
            {
                "calls": dict(record.calls),
                "c_calls": sorted(set(record.c_calls)),
                "outcomes": record.outcomes,
                "messages": record.messages,
                "idle": [name.split("::", 1)[-1] for name in record.idle],
                "deselected": record.deselected,
                "missing": record.missing,
            },
            stream,
        )
