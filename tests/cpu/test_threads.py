"""Filters called from several threads and from other processes: right results, no abort, no hang."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import numbasep as nsp
from numbasep.cpu import plane_pass, threads, tiles
from tests.support.processes import assert_succeeds

LAYERS = {"omp": "omppool", "workqueue": "workqueue", "tbb": "tbbpool"}
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

def is_right(i, **options):
    i %= len(calls)
    return bool(np.array_equal(calls[i](**options), expected[i]))
"""
FOUR_THREADS = """
import concurrent.futures
def work(first):
    return all(is_right(first + i, workers=(None, 2)[i % 2]) for i in range(500))  # None: a share, perhaps 1
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
busy = [threading.Thread(target=filter_on, daemon=True) for _ in range(2)]
for thread in busy: thread.start()
for _ in range(15):
    child = os.fork()
    if child == 0:
        signal.alarm(240)
        if not is_right(0):
            os._exit(3)
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if all(map(is_right, range(5))) else 4)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) & 0xFF)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == 0, code
stop.set()
for thread in busy: thread.join()
"""
# A server that imports, and filters a little, before it forks: no thread was started, so the children may use some.
FORK_BEFORE_THREADS = """
import os
import numba, numpy as np, numbasep as nsp
from numbasep.cpu import threads
nsp.convolve(np.ones((8, 8)), np.ones((3, 3)))
child = os.fork()
if child == 0:
    assert threads.thread_count(None) == int(numba.config.NUMBA_NUM_THREADS), threads.thread_count(None)
    x, w = np.random.default_rng(0).random((400, 400)), np.ones((9, 9))
    one = nsp.convolve(x, w, method="direct", workers=1)
    os._exit(0 if np.array_equal(nsp.convolve(x, w, method="direct", workers=2), one) else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
# Every lock of numbasep held by another thread at the moment of the fork, and those of Numba for a while.
LOCKED = """
import os, signal, threading, time
from numba.core.compiler_lock import global_compiler_lock
from numbasep.plans import measure
from numbasep.system import storage
from numbasep.api import build
from numbasep.cpu import threads
from numbasep.cpu.fft.spectra import spectra
from numbasep.nn import routes
kept = [storage._lock, measure._lock, build.plans._lock, build.kernels._lock, spectra._lock, routes._lock,
        threads._lock, threads._pool._lock]
held, forked = threading.Event(), threading.Event()
compiling = threading.Event()
def compile_on():
    with global_compiler_lock:
        compiling.set()
        time.sleep(1)
def hold():
    with threads._starting:
        for lock in kept: lock.acquire()
        held.set()
        time.sleep(0.5)
    forked.wait()
    for lock in kept: lock.release()
threading.Thread(target=compile_on).start()
compiling.wait()
holder = threading.Thread(target=hold)
holder.start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(240)
    new = nsp.convolve(image.astype(np.int16), np.ones((3, 3)))
    os._exit(0 if all(map(is_right, range(5))) and not new.any() else 3)
forked.set()
holder.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert all(map(is_right, range(5)))
"""
OTHER_PROCESSES = """
if __name__ == "__main__":
    import multiprocessing
    assert all(map(is_right, range(5)))
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        assert all(pool.map(is_right, range(10)))
"""


def needs_layer(layer: str) -> None:
    """Skip where Numba has no such layer."""
    try:
        importlib.import_module(f"numba.np.ufunc.{LAYERS[layer]}")  # loads the library, starts nothing
    except ImportError as error:
        pytest.skip(f"Numba has no threading layer {layer!r} here: {error}")


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
    assert_succeeds(PRELUDE + FORK_WHILE_BUSY, NUMBA_THREADING_LAYER=layer)


@NEEDS_FORK
def test_fork_while_another_thread_holds_every_lock() -> None:
    assert_succeeds(PRELUDE + LOCKED)


@NEEDS_FORK
def test_fork_before_the_first_thread() -> None:
    assert_succeeds(FORK_BEFORE_THREADS)


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_other_ways_to_start_processes(start: str, tmp_path: Path) -> None:
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no start method {start!r} here")
    program = tmp_path / "program.py"  # a file, because the children import it
    program.write_text(PRELUDE + OTHER_PROCESSES)
    assert_succeeds(program, start)


# --------------------------------------------------------------------------- how many threads


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Threads of every pass that is run."""
    counts: list[int] = []
    run = plane_pass.PlanePass._run

    def recorded(self: plane_pass.PlanePass, *arguments: Any) -> None:
        counts.append(self.threads)
        run(self, *arguments)

    monkeypatch.setattr(plane_pass.PlanePass, "_run", recorded)
    return counts


X = np.ones((600, 500), np.float32)
W = np.ones((5, 5))


@NEEDS_CORES
def test_workers_and_num_threads_are_honoured_and_restored(launched: list[int]) -> None:
    before = numba.get_num_threads()
    nsp.convolve(X, W)
    nsp.convolve(X, W, workers=1)
    nsp.convolve(X, W, workers=2)
    with nsp.num_threads(1):
        nsp.convolve(X, W)
        nsp.convolve(X, W, workers=2)
        with nsp.num_threads(2):
            nsp.convolve(X, W)
        nsp.convolve(X, W)
    nsp.convolve(X, W, workers=LIMIT + 5)
    assert launched == [before, 1, 2, 1, 2, 2, 1, LIMIT]
    assert numba.get_num_threads() == before
    nsp.set_num_threads(1)
    try:
        nsp.convolve(X, W)
        assert launched[-1] == 1
    finally:
        threads._local.threads = None


@NEEDS_CORES
def test_numba_setting_is_respected_and_left_alone(launched: list[int]) -> None:
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        nsp.convolve(X, W)
        nsp.convolve(X, W, workers=2)
        assert numba.get_num_threads() == 1
    finally:
        numba.set_num_threads(before)
    nsp.convolve(X, W)
    assert launched == [1, 2, before]


@NEEDS_CORES
def test_setting_is_restored_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    before = numba.get_num_threads()
    during: list[int] = []

    def interrupted(*_: Any) -> None:
        during.append(numba.get_num_threads())
        raise KeyboardInterrupt

    nsp.convolve(X, W)
    numba.set_num_threads(1)  # other than that of the call
    try:
        with monkeypatch.context() as patch:
            patch.setattr(plane_pass.drivers, "run_parallel", interrupted)
            with nsp.num_threads(2), pytest.raises(KeyboardInterrupt):
                nsp.convolve(X, W)
        assert (during, numba.get_num_threads()) == ([2], 1)
    finally:
        numba.set_num_threads(before)
    assert not threads._busy
    np.testing.assert_array_equal(nsp.convolve(X, W), nsp.convolve(X, W, workers=1))


def test_num_threads_belongs_to_the_calling_thread() -> None:
    counts: dict[str, int] = {}

    def count(name: str) -> None:
        counts[name] = threads.thread_count(None)

    with nsp.num_threads(1):
        other = threading.Thread(target=count, args=("other",))
        other.start()
        other.join()
        count("own")
    assert counts == {"other": LIMIT, "own": 1}


@pytest.mark.parametrize("n", [0, -1, LIMIT + 1])
def test_num_threads_out_of_range(n: int) -> None:
    with pytest.raises(ValueError, match=f"n must be between 1 and {LIMIT}, got {n}"):
        nsp.set_num_threads(n)
    with pytest.raises(ValueError, match="n must be"), nsp.num_threads(n):
        pass
    with pytest.raises(TypeError, match="n must be"):
        nsp.set_num_threads(1.5)  # type: ignore[arg-type]


def test_concurrent_callers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of k Python threads that are filtering, each starts cores / k threads; alone, all."""
    monkeypatch.setattr(threads, "_get", lambda: 12)
    monkeypatch.setattr(threads.config, "NUMBA_NUM_THREADS", 12)
    barrier = threading.Barrier(4)

    def count(_: int) -> list[int]:
        with threads.occupied():
            barrier.wait()
            found = [threads.thread_count(None), threads.thread_count(7)]
            barrier.wait()
        return found

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(count, range(4))) == [[3, 7]] * 4  # a wish is a wish
    assert threads.thread_count(None) == 12


POOLS = {
    "concurrent.futures": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    assert all(pool.map(is_right, range(60)))
""",
    "joblib": """
import joblib
assert all(joblib.Parallel(n_jobs=4, prefer="threads")(joblib.delayed(is_right)(i) for i in range(60)))
""",
    "dask": """
import dask
assert all(dask.compute(*map(dask.delayed(is_right), range(60)), scheduler="threads", num_workers=4))
""",
}
# The sum of the threads of all passes under way: with k callers on n cores at most n + n/2 + ... + n/k, which is
# reached while one caller after another starts; n for each caller where nobody looks at the others.
COUNT_THREADS = """
import threading
from numbasep.cpu import plane_pass
lock, now, most = threading.Lock(), [0], [0]
run = plane_pass.PlanePass._run
def counted(self, *arguments):
    with lock:
        now[0] += self.threads
        most[0] = max(most[0], now[0])
    try:
        run(self, *arguments)
    finally:
        with lock:
            now[0] -= self.threads
plane_pass.PlanePass._run = counted
calls, expected = calls[:3], expected[:3]
"""


@pytest.mark.parametrize("pool", POOLS)
def test_no_oversubscription_inside_pools(pool: str) -> None:
    if importlib.util.find_spec(pool.partition(".")[0]) is None:
        pytest.skip(f"{pool} is not installed")
    check = "assert 4 <= most[0] <= 4 + 2 + 1 + 1, most"
    assert_succeeds(PRELUDE + COUNT_THREADS + POOLS[pool] + check, NUMBA_NUM_THREADS="4")


# --------------------------------------------------------------------------- what a thread costs


def test_numba_lock_is_not_taken_by_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shared with forked children: one that is killed while holding it stops every other process."""
    call: Callable[[], Any] = lambda: nsp.convolve(X, W)  # noqa: E731
    call()

    def taken() -> None:
        raise AssertionError("Numba's initialisation lock was taken")

    monkeypatch.setattr(threads._numba, "_launch_threads", taken)
    call()


@pytest.mark.parametrize("threads", [2, 3, 4, 7])
def test_strips_are_shared_evenly(threads):
    """Threads take as many strips each, so none waits for another; rows above a strip are not packed often."""
    for rows, taps, others, step in itertools.product(
        (8, 64, 120, 256, 5000), (1, 9, 41), (1, 2, 5), (4, 8, 14)
    ):
        strip = tiles.strip_rows(rows, taps, threads, others, step)
        assert strip % step == 0
        strips = -(-rows // strip)
        if rows >= 4 * threads * step:
            share = -(-strips * others // threads) * strip
            assert share <= 1.5 * rows * others / threads + 2 * step, (rows, taps, others, step)
