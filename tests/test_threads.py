"""Filters called from several threads and from other processes: right results, no abort, no hang."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import pytest
from processes import assert_succeeds

import numbasep as nsp
from numbasep.backends import threads

LAYERS = ["omp", "workqueue", "tbb"]
LIMIT = int(numba.config.NUMBA_NUM_THREADS)
NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
NEEDS_CORES = pytest.mark.skipif(LIMIT < 2, reason="needs two processors")

# The threading layer of a process is chosen once, and a failure here is an abort or a hang: each of these needs a
# process of its own. Two routes of two passes, and the channel-mixing kernels, all large enough for threads.
PRELUDE = """
import sys
import numba, numpy as np, numbasep as nsp
from numbasep import nn

rng = np.random.default_rng(0)
image, volume = rng.random((300, 310), dtype="f4"), rng.random((20, 60, 70), dtype="f4")
batch, taps = rng.random((1, 40, 40, 16), dtype="f4"), rng.random((3, 3, 16, 1), dtype="f4")
ring = np.hypot(*np.mgrid[-6:7, -6:7]) < 6.5
calls = [
    lambda **o: nsp.convolve(image, np.outer(np.hanning(11), np.hanning(11)), **o),
    lambda **o: nsp.correlate(image, ring / ring.sum(), method="direct", mode="wrap", **o),
    lambda **o: nsp.gaussian_filter(volume, 1.5, **o),
    lambda **o: nsp.convolve(image, ring / ring.sum(), method="fft", rtol=1e-3, **o),
    lambda **o: nn.depthwise_conv2d(batch, taps, (1, 1, 1, 1), "SAME", **o),
]
expected = [call(workers=1) for call in calls]

def is_right(i):
    i %= len(calls)
    return bool(np.array_equal(calls[i](), expected[i]))
"""
FOUR_THREADS = """
import concurrent.futures
def work(first):
    return all(is_right(first + i) for i in range(500))
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert all(pool.map(work, range(4)))
nsp.convolve(np.ones((2000, 500), "f4"), np.ones((3, 3)), workers=2)
assert numba.threading_layer() == sys.argv[1], numba.threading_layer()
"""
FORK = """
import multiprocessing, threading
assert all(map(is_right, range(5)))
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(pool.map(is_right, range(10)))
assert all(map(is_right, range(5)))
"""
# What gunicorn and pytest-xdist's forked workers do: fork and fork again while other threads are filtering.
FORK_WHILE_BUSY = """
import os, signal, threading
stop = threading.Event()
def filter_on():
    while not stop.is_set():
        assert is_right(0)
busy = [threading.Thread(target=filter_on) for _ in range(2)]
for thread in busy: thread.start()
for _ in range(15):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        if not is_right(0):
            os._exit(3)
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if all(map(is_right, range(5))) else 4)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) & 0xFF)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
for thread in busy: thread.join()
"""
# A server that imports before it forks: nothing has been started yet, so that the children may use threads.
FORK_BEFORE_THREADS = """
import os
nsp.convolve(np.ones((8, 8)), np.ones((3, 3)))
child = os.fork()
if child == 0:
    from numbasep.backends import threads
    assert threads.thread_count(None) == int(numba.config.NUMBA_NUM_THREADS), threads.thread_count(None)
    nsp.convolve(image, np.ones((9, 9)), method="direct", workers=2)
    os._exit(0 if all(map(is_right, range(5))) else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def needs_layer(layer: str) -> None:
    """Skip where Numba has no such layer."""
    if layer == "tbb" and importlib.util.find_spec("tbb") is None:
        pytest.skip("tbb is not installed")
    if importlib.util.find_spec(f"numba.np.ufunc.{'workqueue' if layer == 'workqueue' else layer + 'pool'}") is None:
        pytest.skip(f"this build of Numba has no threading layer {layer!r}")


@pytest.mark.parametrize("layer", LAYERS)
def test_four_threads_of_500_calls(layer: str) -> None:
    needs_layer(layer)
    assert_succeeds(PRELUDE + FOUR_THREADS, layer, NUMBA_THREADING_LAYER=layer)


@NEEDS_FORK
@pytest.mark.parametrize("layer", LAYERS)
def test_fork_after_parallel_calls(layer: str) -> None:
    needs_layer(layer)
    assert_succeeds(PRELUDE + FORK, NUMBA_THREADING_LAYER=layer)


@NEEDS_FORK
@pytest.mark.parametrize("layer", LAYERS)
def test_fork_while_other_threads_filter(layer: str) -> None:
    needs_layer(layer)
    assert_succeeds(PRELUDE + FORK_WHILE_BUSY, NUMBA_THREADING_LAYER=layer, timeout=120)


@NEEDS_FORK
def test_fork_before_the_first_thread() -> None:
    assert_succeeds(PRELUDE.split("expected")[0] + FORK_BEFORE_THREADS.replace("all(map(is_right, range(5)))", "True"))


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_other_ways_to_start_processes(start: str, tmp_path: Any) -> None:
    import multiprocessing

    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no start method {start!r} here")
    program = tmp_path / "program.py"
    program.write_text(
        PRELUDE
        + f"""
if __name__ == "__main__":
    import multiprocessing
    assert all(map(is_right, range(5)))
    with multiprocessing.get_context({start!r}).Pool(2) as pool:
        assert all(pool.map(is_right, range(10)))
"""
    )
    assert_succeeds(f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')", timeout=120)
