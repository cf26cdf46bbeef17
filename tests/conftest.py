"""Options, markers and hypothesis profiles of the whole suite."""

from __future__ import annotations

import os

import hypothesis
import numpy as np
import pytest

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
